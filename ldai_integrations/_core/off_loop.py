"""Call something that blocks from a coroutine."""

from __future__ import annotations

import asyncio
import concurrent.futures.thread  # noqa: F401  # else asyncio imports it in the first request
import sys
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")


def on_event_loop() -> bool:
    """Tell whether this thread is running an event loop, asyncio's or Trio's, which must not be blocked."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        trio: Any = sys.modules.get("trio")
        return trio is not None and bool(trio.lowlevel.in_trio_run())
    return True


async def off_loop(call: Callable[[], T], *, timeout: float | None = None) -> T:
    """Call ``call`` on a thread and wait for it without blocking the event loop, asyncio's or Trio's.

    Raises:
        asyncio.TimeoutError: If it takes longer than ``timeout`` seconds; the thread goes on.
    """
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        import anyio  # Trio runs web applications through anyio only, which is there then
        import anyio.to_thread

        with anyio.move_on_after(timeout):
            return await anyio.to_thread.run_sync(call, abandon_on_cancel=timeout is not None)
        raise asyncio.TimeoutError from None
    return await asyncio.wait_for(loop.run_in_executor(None, call), timeout)
