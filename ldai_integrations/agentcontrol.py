"""Support for LaunchDarkly's newer AI SDK, ``launchdarkly-ai-server``: the extra ``[agentcontrol]``.

That SDK is asynchronous only, and its HTTP clients belong to one event loop. :func:`call` and :func:`iterate` run it on
one background event loop per process, so that it works in Flask views and other synchronous code.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Coroutine, Iterator
from concurrent.futures import Future
from contextvars import Context, copy_context
from typing import Any, TypeVar

from ._locks import ForkSafeLock, forks
from ._run.background import is_on_event_loop
from .exceptions import ConfigurationError
from .tracking import Tracking, process_tracking

__all__ = ["call", "connect", "iterate"]

T = TypeVar("T")
_END = object()


def connect(tracking: Tracking | None = None, **options: Any) -> None:
    """Make the SDK send its events through a Tracking.

    Events of ``config(key=…)`` inside a run of the same key then belong to that run, and it is reported once.

    Args:
        tracking: The Tracking; that of the process by default.
        options: Options of ``init_client``, such as ``serviceName``.

    Raises:
        ConfigurationError: If the SDK is not installed, or is connected to another client already.
        TrackingNotConfiguredError: If there is no Tracking and none can be created.
    """
    try:
        from launchdarkly_ai_server import init_client
    except ImportError:
        raise ConfigurationError(
            "launchdarkly-ai-server, which needs Python 3.12, is not installed: "
            "pip install 'ldai-integrations[agentcontrol]'"
        ) from None
    ld_client = process_tracking(tracking).ld_client
    connected = call(init_client({"sdkKey": "ldai-integrations", **options}, client=ld_client))
    if connected is not ld_client:
        raise ConfigurationError("init_client() was called before with another client; call connect() first")


def call(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine on the background event loop and return its result.

    The coroutine sees the current run. In coroutines of your own, ``await`` it instead.

    Args:
        work: For example ``config(key="support-bot", handler=handler).invoke(question, context)``.

    Raises:
        ConfigurationError: If the calling thread runs an event loop, which this would block.
        Exception: What the coroutine raises.
    """
    if not asyncio.iscoroutine(work):
        raise ConfigurationError(
            f"call() was given an object of type {type(work).__name__}; give a coroutine, or use iterate()"
        )
    _refuse_event_loop(work)
    return _loop().run(work, copy_context())


def iterate(events: AsyncIterator[T]) -> Iterator[T]:
    """Iterate over an asynchronous iterator on the background event loop.

    If the iteration ends early, the asynchronous iterator is closed.

    Args:
        events: For example ``config(key="support-bot", handler=handler).stream(question, context)``.

    Raises:
        ConfigurationError: If the calling thread runs an event loop, which this would block.
        Exception: What the iterator raises.
    """
    loop, context = _loop(), copy_context()
    is_done = False
    try:
        while True:
            _refuse_event_loop(None)
            event: Any = loop.run(_next(events), context)
            if event is _END:
                is_done = True
                return
            yield event
    finally:  # maybe in a finalizer, or on the event loop itself: nobody may wait here
        if not is_done and hasattr(events, "aclose"):
            loop.start(_close(events), context)


class _Loop:
    """An event loop on a daemon thread."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self.forks: int = forks.count
        threading.Thread(target=self._loop.run_forever, name="ldai-agentcontrol", daemon=True).start()

    def run(self, work: Coroutine[Any, Any, T], context: Context) -> T:
        """Run a coroutine and wait for its result. An exception that interrupts the wait cancels it."""
        result = self.start(work, context)
        try:
            return result.result()
        except BaseException:
            result.cancel()
            raise

    def start(self, work: Coroutine[Any, Any, T], context: Context) -> Future[T]:
        """Start a coroutine, which sees the variables of a context, and do not wait."""
        return asyncio.run_coroutine_threadsafe(_run_in(context, work), self._loop)


_starting = ForkSafeLock()
_current: list[_Loop] = []


def _loop() -> _Loop:
    """Return the event loop of this process; threads do not survive a fork."""
    with _starting:
        if not _current or _current[-1].forks != forks.count:
            _current[:] = [_Loop()]
        return _current[-1]


def _refuse_event_loop(work: Coroutine[Any, Any, object] | None) -> None:
    if is_on_event_loop():
        if work is not None:
            work.close()
        raise ConfigurationError("call() and iterate() would block this event loop; use await or async for instead")


async def _run_in(context: Context, work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine in a context; all steps of a generator need the same one."""
    return await asyncio.create_task(work, context=context)  # type: ignore[call-arg,unused-ignore]  # Python 3.11


async def _next(events: AsyncIterator[object]) -> object:
    return await anext(events, _END)


async def _close(events: Any) -> None:
    await events.aclose()
