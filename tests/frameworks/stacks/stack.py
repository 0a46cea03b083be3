"""What the matrix needs of a framework."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from importlib.util import find_spec
from typing import Any, Literal

from ldai_integrations import wrap_client

#: Calls a model at an address, by the name of the model.
Use = Callable[[str, str], object]

#: How an application uses a model.
Pattern = Literal["whole", "stream", "tool loop", "failure", "early end"]


@dataclass(frozen=True)
class Stack:
    """A framework, and how an application uses it. Every function waits until the work is done.

    Attributes:
        name: How the matrix calls it.
        package: The module that must be installed.
        whole: Calls a model once; an exception of the provider leaves it.
        stream: Reads a streamed response to its end.
        tools: Has the model call the tool ``lookup``, whose result makes it answer: two provider calls.
        leave: Closes a streamed response after its first text.
        takes_client: Whether an application can give it a client of the provider.
        exceptions: What is not exact, with the framework's reason: the names of patterns, ``"first token"``,
            ``"finish reason"`` and ``"model"``. ``docs/frameworks.md`` lists them too.
    """

    name: str
    package: str
    whole: Use
    stream: Use | None = None
    tools: Use | None = None
    leave: Use | None = None
    takes_client: bool = False
    exceptions: Mapping[str, str] = field(default_factory=dict)

    @property
    def module(self) -> str:
        """The name of the module that defines the stack."""
        return self.whole.__module__.rpartition(".")[2]

    @property
    def is_installed(self) -> bool:
        """Whether the framework is installed."""
        try:
            return find_spec(self.package) is not None
        except ModuleNotFoundError:  # of the package that contains it
            return False

    def use(self, pattern: Pattern) -> Use | None:
        """Return what an application does in a pattern; ``None`` if the framework cannot do it."""
        uses = {"stream": self.stream, "tool loop": self.tools, "early end": self.leave}
        return uses.get(pattern, self.whole)


_wraps = False


@contextmanager
def wrapping_clients() -> Iterator[None]:
    """Give each stack that takes a client a wrapped one."""
    global _wraps
    _wraps = True
    try:
        yield
    finally:
        _wraps = False


def openai_clients(url: str) -> tuple[Any, Any] | None:
    """Return a wrapped client of OpenAI and an asynchronous one; ``None`` if the framework makes its own."""
    if not _wraps:
        return None
    from openai import AsyncOpenAI, OpenAI

    options: Any = {"base_url": f"{url}/v1", "api_key": "none", "max_retries": 0}
    return wrap_client(OpenAI(**options)), wrap_client(AsyncOpenAI(**options))


def given(client: Any) -> Any:
    """Return a client that a stack takes, wrapped if the test wants that."""
    return wrap_client(client) if _wraps else client


def wait(work: Coroutine[Any, Any, object]) -> object:
    """Run a coroutine on the one event loop of the tests: frameworks keep HTTP clients that belong to a loop.

    On a thread of a pool, the main thread runs this loop meanwhile.
    """
    if threading.current_thread() is not threading.main_thread():
        return asyncio.run_coroutine_threadsafe(work, _loop()).result()
    return _loop().run_until_complete(work)


def wait_on_running_loop(work: Coroutine[Any, Any, object]) -> object:
    """Run a coroutine on a loop that goes on running, as a server's does, in the context of the caller."""
    return asyncio.run_coroutine_threadsafe(work, _running_loop()).result()


@cache
def _running_loop() -> asyncio.AbstractEventLoop:
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="event loop", daemon=True).start()
    return loop


@cache
def _loop() -> asyncio.AbstractEventLoop:
    return asyncio.new_event_loop()
