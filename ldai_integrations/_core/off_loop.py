"""Call something that blocks from a coroutine."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def on_event_loop() -> bool:
    """Tell whether this is called on a running asyncio event loop."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


async def off_loop(call: Callable[[], T]) -> T:
    """Call ``call`` on a thread and wait for it without blocking the event loop, asyncio's or Trio's."""
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        import anyio.to_thread  # Trio runs web applications through anyio only, which is there then

        return await anyio.to_thread.run_sync(call)
    return await loop.run_in_executor(None, call)
