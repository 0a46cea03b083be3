"""The rest of provider streams: the usage that arrives after the finish reason, when the consumer has left.

Another thread or task of the application may still read a stream. The library then waits for it, and takes no item. A
stream that is its own iterator does not show whether its reader has left it: the library waits half of the time.
"""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Awaitable
from contextlib import suppress
from functools import partial
from typing import Any

from .background import call_off_loop, is_on_event_loop, sleep
from .context import Services
from .events import CallReader, find_worker
from .ledger import Ledger, ProviderCall

# How often it looks whether another thread or task has read the usage.
_POLL_SECONDS = 0.005


def read_rests(services: Services, ledger: Ledger, only: ProviderCall | None = None) -> None:
    """Read the rest of synchronous streams that their consumers left at the finish reason.

    All waits of a run together take at most ``Settings.usage_wait`` seconds. On an event loop, nothing is read.

    Args:
        services: The services of the run.
        ledger: The ledger of the run.
        only: The only call whose rest is read; ``None`` to read that of all calls.
    """
    if is_on_event_loop():
        return
    worker = find_worker()
    with ledger.waits.until(services.settings.usage_wait) as until:
        for call in ledger if only is None else (only,):
            _read_rest(services, call, until, worker)


async def aread_rests(services: Services, ledger: Ledger, only: ProviderCall | None = None) -> None:
    """Read the rest of streams that their consumers left at the finish reason, without blocking the event loop.

    The arguments and the limit are those of :func:`read_rests`.
    """
    worker = find_worker()
    with ledger.waits.until(services.settings.usage_wait) as until:
        for call in ledger if only is None else (only,):
            if call.rest is None:
                continue
            if hasattr(call.rest.stream, "__aiter__"):
                await _aread_rest(services, call, until, worker)
            else:  # a web framework consumed it on a thread
                await call_off_loop(partial(_read_rest, services, call, until, worker))


def _waits_for_another(services: Services, call: ProviderCall, until: float, worker: object) -> bool:
    """Return whether to wait for another thread or task, which may still read the usage."""
    rest = call.rest
    if rest is None:  # it has read the usage
        return False
    skipped = services.settings.usage_wait * (1 - rest.waiting_share(worker))
    return time.monotonic() < until - skipped


def _rest_of(call: ProviderCall, until: float) -> tuple[CallReader | None, float]:
    """Return what reads the rest of a call, and the seconds for it; give the rest up if the time is over."""
    seconds = until - time.monotonic()
    if seconds <= 0:
        call.rest = None
    return call.rest, seconds


def _read_rest(services: Services, call: ProviderCall, until: float, worker: object) -> None:
    while _waits_for_another(services, call, until, worker):
        time.sleep(_POLL_SECONDS)
    rest, seconds = _rest_of(call, until)
    if rest is None or not hasattr(rest.stream, "__iter__"):
        return

    def read_on() -> None:
        try:
            for item in rest.stream:
                rest.on_item(item)
                if call.rest is None:
                    return
        except Exception as exc:  # the connection may break, or be closed by the consumer
            _note_rest(services, exc)

    thread = threading.Thread(target=read_on, name="ldai-read-rest", daemon=True)
    with suppress(RuntimeError):  # the interpreter is shutting down and starts no more threads
        thread.start()
        thread.join(seconds)
        if thread.is_alive():
            _interrupt(rest.stream)
    call.rest = None


async def _aread_rest(services: Services, call: ProviderCall, until: float, worker: object) -> None:
    while _waits_for_another(services, call, until, worker):
        await sleep(_POLL_SECONDS)
    rest, seconds = _rest_of(call, until)
    if rest is None:
        return

    async def read_on() -> None:
        async for item in rest.stream:
            rest.on_item(item)
            if call.rest is None:
                return

    try:
        await _wait_at_most(seconds, read_on())
    except Exception as exc:  # the connection may break
        _note_rest(services, exc)
    call.rest = None


def _interrupt(stream: object) -> None:
    """End a read of botocore's stream on another thread; closing the stream would wait for it."""
    response: Any = getattr(stream, "_raw_stream", None)  # of urllib3, which has shutdown() since version 2.3
    with suppress(AttributeError, OSError, ValueError):  # the connection has just ended
        if hasattr(response, "shutdown"):
            response.shutdown()
        else:
            response.connection.sock.shutdown(socket.SHUT_RD)


def _note_rest(services: Services, exc: Exception) -> None:
    name = type(exc).__name__
    services.diagnostics.note(
        "rest", name, "The end of a provider's stream could not be read (%s); its usage is estimated.", name
    )


async def _wait_at_most(seconds: float, awaitable: Awaitable[object]) -> None:
    """Await something for a limited time, on asyncio or Trio; it is cancelled afterwards."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        import anyio

        with anyio.move_on_after(seconds):
            await awaitable
        return
    with suppress(asyncio.TimeoutError):
        await asyncio.wait_for(awaitable, seconds)
