"""LLM frameworks: their provider calls are reported to the current run.

Each module connects one framework through its public hook. A framework is connected when Python imports it, so that one
that is never imported costs nothing, and nothing is imported early. If it has been imported before the Tracking is
created, it is connected then.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from functools import partial
from importlib import import_module
from types import ModuleType

from wrapt import register_post_import_hook

from .._diagnostics import Diagnostics
from ..settings import Framework
from ._calls import FrameworkCalls

# The module whose import connects a framework. It contains the hook, and is imported before the first call. It is ours,
# if the application has to use an object of ours.
_MODULES: Mapping[Framework, str] = {
    "langchain": "langchain_core.tracers.context",
    "openai_agents": "agents.models.openai_chatcompletions",  # applications have packages called ``agents``, too
    "pydantic_ai": f"{__name__}.pydantic_ai",
    "dspy": "dspy",
    "litellm": "litellm",
    "llama_index": "llama_index.core.llms.callbacks",
    "adk": f"{__name__}.adk",
    "crewai": "crewai.events.event_bus",
    "strands": f"{__name__}.strands",
}

_lock = threading.Lock()
_requested: set[Framework] = set()
_connected: list[Framework] = []


def connect(frameworks: Iterable[Framework], diagnostics: Diagnostics) -> None:
    """Connect frameworks now if they have been imported, otherwise when they are. Thread-safe.

    Args:
        frameworks: Their names. One that has been connected before is left alone.
        diagnostics: Receives failures of the connections, which belong to no Tracking.
    """
    with _lock:
        new = [name for name in frameworks if name in _MODULES and name not in _requested]
        _requested.update(new)
    for name in new:
        register_post_import_hook(partial(_connect, name, diagnostics), _MODULES[name])


def connected(frameworks: Iterable[Framework]) -> tuple[Framework, ...]:
    """Return which of some frameworks are connected, in the order of their imports."""
    chosen = set(frameworks)
    return tuple(name for name in _connected if name in chosen)


def _connect(name: Framework, diagnostics: Diagnostics, _module: ModuleType) -> None:
    with diagnostics.guard("framework", name):
        import_module(f"{__name__}.{name}").connect(FrameworkCalls(name, diagnostics))
        _connected.append(name)
