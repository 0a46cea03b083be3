"""A flush when a request is over, where the settings or the platform ask for one, or the process is ending."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from ..delivery import exits
from .off_loop import off_loop

if TYPE_CHECKING:
    from .current import Frame
    from .run import Run
    from .tracking import Tracking

# Servers cancel what goes on too long and say at once that they shut down; unwinding takes a few turns of the loop.
_UNWINDING_SECONDS = 1.0
# For the thread to be scheduled, on top of the time for the flush itself.
_GRACE_SECONDS = 1.0


def flush_after(frame: Frame) -> None:
    """Flush when a request that had a run is over; not for an event loop."""
    tracking = frame.tracking
    if frame.had_runs and tracking.flushes_requests:
        with tracking.diagnostics.guard("flush", "request"):
            tracking.flush_events()


async def aflush_after(frame: Frame) -> None:
    """Do the same from a coroutine."""
    tracking = frame.tracking
    if frame.had_runs and tracking.flushes_requests:
        with tracking.diagnostics.guard("flush", "request"):
            await _in_time(tracking.flush_events, tracking.settings.flush_timeout)


async def aflush_after_run(run: Run, exc: BaseException | None = None) -> None:
    """Flush when the last run of code without a request is over, as in a function of a serverless platform.

    Outside coroutines :meth:`Tracking.report` does it, which may not wait on an event loop. Nor may a coroutine that is
    being closed, which ``exc`` tells.
    """
    if isinstance(exc, GeneratorExit):
        return
    if run.finished and not (run.frame.is_request or run.frame.open_runs):
        await aflush_after(run.frame)


async def flush_at_shutdown(tracking: Tracking) -> None:
    """Flush when an application shuts down, unless the settings say never; it counts as an end of the process.

    Streams that the server has just broken off are given time to end their runs: some servers end the process by a
    signal afterwards, and what is reported later is lost.
    """
    if tracking.settings.flush == "never":
        return
    seconds = exits.seconds_left(tracking.settings.flush_timeout)
    begun = time.monotonic()
    with tracking.diagnostics.guard("flush", "shutdown"):
        unwinding = min(seconds, _UNWINDING_SECONDS)
        with suppress(asyncio.TimeoutError):
            await off_loop(lambda: tracking.wait_for_open_runs(unwinding), timeout=unwinding + _GRACE_SECONDS)
        await _in_time(tracking.flush, seconds)
    took = time.monotonic() - begun
    if took >= seconds:  # an endpoint that answers takes nothing from what comes after: another application's lifespan
        exits.has_waited(took)


async def _in_time(flush: Callable[[float], object], seconds: float) -> None:
    """Wait for a flush, but no longer for the thread it runs on: those of the loop may all be busy, or frozen."""
    with suppress(asyncio.TimeoutError):
        await off_loop(lambda: flush(seconds), timeout=seconds + _GRACE_SECONDS)
