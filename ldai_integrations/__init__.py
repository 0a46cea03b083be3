"""Track LaunchDarkly AI Configs in Python web applications with one line.

The integrations are modules of their own, so that importing the package imports no framework:
``ldai_integrations.flask``, ``ldai_integrations.starlette``, ``ldai_integrations.django``, ``ldai_integrations.asgi``
and ``ldai_integrations.wsgi``.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ._version import __version__

if TYPE_CHECKING:
    from ._run.current import current_run
    from ._run.run import Run
    from .clients import wrap_client
    from .decorator import track_ai
    from .exceptions import ConfigurationError, LDAIIntegrationError, TrackingNotConfiguredError
    from .graph import track_graph
    from .records import FlushReport, RunRecord, Stats, Usage
    from .settings import Settings
    from .signals import default_served, run_finished, run_opened
    from .tracking import Tracking

__all__ = [
    "ConfigurationError",
    "FlushReport",
    "LDAIIntegrationError",
    "Run",
    "RunRecord",
    "Settings",
    "Stats",
    "Tracking",
    "TrackingNotConfiguredError",
    "Usage",
    "__version__",
    "current_run",
    "default_served",
    "run_finished",
    "run_opened",
    "track_ai",
    "track_graph",
    "wrap_client",
]

_MODULES = {
    "._run.current": ("current_run",),
    "._run.run": ("Run",),
    ".settings": ("Settings",),
    ".tracking": ("Tracking",),
    ".clients": ("wrap_client",),
    ".decorator": ("track_ai",),
    ".exceptions": ("ConfigurationError", "LDAIIntegrationError", "TrackingNotConfiguredError"),
    ".graph": ("track_graph",),
    ".records": ("FlushReport", "RunRecord", "Stats", "Usage"),
    ".signals": ("default_served", "run_finished", "run_opened"),
}
_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    """Import a public name, and with it LaunchDarkly's SDKs, when it is first used (PEP 562)."""
    module = _MODULE_OF.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(module, __name__), name)
    return value


def __dir__() -> list[str]:
    return __all__
