"""An event loop that measures what each of its callbacks takes."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Callable, Coroutine
from contextvars import Context
from typing import Any

#: Nothing of ours may use the thread of an event loop longer than this, in seconds.
MOST = 0.005


class WatchedLoop(asyncio.SelectorEventLoop):
    """An event loop that notes the longest callback: in CPU time, which does not depend on the load of the machine.

    A wait is noted in real time, because it uses no CPU.
    """

    def __init__(self) -> None:
        super().__init__()
        #: The CPU time of the longest callback, in seconds.
        self.longest: float = 0.0
        #: The time of the longest callback that was not using the CPU, in seconds.
        self.longest_wait: float = 0.0

    # typeshed has a type variable for the arguments, which Python 3.10 cannot write.
    def call_soon(  # type: ignore[override]
        self, callback: Callable[..., Any], *args: Any, context: Context | None = None
    ) -> asyncio.Handle:
        """Arrange for a measured call."""
        return super().call_soon(self._measure, callback, *args, context=context)

    def call_soon_threadsafe(  # type: ignore[override]
        self, callback: Callable[..., Any], *args: Any, context: Context | None = None
    ) -> asyncio.Handle:
        """Arrange for a measured call from another thread."""
        return super().call_soon_threadsafe(self._measure, callback, *args, context=context)

    def call_at(  # type: ignore[override]
        self, when: float, callback: Callable[..., Any], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """Arrange for a measured call at a time."""
        return super().call_at(when, self._measure, callback, *args, context=context)

    def _measure(self, callback: Callable[..., Any], *args: Any) -> None:
        began, began_cpu = time.monotonic(), time.thread_time()
        try:
            callback(*args)
        finally:
            used = time.thread_time() - began_cpu
            self.longest = max(self.longest, used)
            self.longest_wait = max(self.longest_wait, time.monotonic() - began - used)


def watch(coroutine: Coroutine[Any, Any, Any]) -> WatchedLoop:
    """Run a coroutine on a watched loop and return the loop; the garbage collector pauses meanwhile."""
    loop = WatchedLoop()
    gc.collect()
    gc.disable()
    try:
        loop.run_until_complete(coroutine)
        loop.run_until_complete(loop.shutdown_default_executor())
    finally:
        gc.enable()
        loop.close()
    return loop
