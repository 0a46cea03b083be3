"""What the matrix needs of a framework."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from functools import cache
from typing import Any

#: Calls a model at an address, by the name of the model.
Use = Callable[[str, str], object]


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
        exceptions: The cells that differ, by the name of the pattern, with the framework's reason;
            ``docs/frameworks.md`` lists them too.
    """

    name: str
    package: str
    whole: Use
    stream: Use | None = None
    tools: Use | None = None
    leave: Use | None = None
    exceptions: dict[str, str] = field(default_factory=dict)


def wait(work: Coroutine[Any, Any, object]) -> object:
    """Run a coroutine on the one event loop of the tests: frameworks keep HTTP clients that belong to a loop."""
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
