"""The lifetime of an application: the wait at its start, forks, flushes, and its end."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

from ldclient import LDClient

from .._diagnostics import Diagnostics
from .._locks import forks
from ..delivery import Delivery, ensure_started, exits, has_answered, is_serverless, report_connection
from ..judges import Judges
from ..records import FlushReport
from ..settings import Settings
from .background import Worker, call_off_loop, is_on_event_loop, sleep
from .open_runs import OpenRuns

# Servers cancel requests that take too long, and report their shutdown at the same time. The requests need a moment to
# end.
_UNWINDING_SECONDS = 1.0
# The time for a thread to be scheduled, in addition to the time for the flush itself.
_GRACE_SECONDS = 1.0

_POLL_SECONDS = 0.01
# Each request that waits on an event loop looks this often; there may be many.
_LOOP_POLL_SECONDS = 0.05


class Start:
    """The time in which the runs of an application wait for the first AI Configs. Thread-safe."""

    def __init__(self) -> None:
        #: Whether nobody has to wait any more.
        self.is_over: bool = True

    def begin(self, client: LDClient, diagnostics: Diagnostics, seconds: float) -> None:
        """Let runs wait for a client that was just made, for a limited time. A failure is logged at once."""
        self._client, self._diagnostics = client, diagnostics
        self._deadline = time.monotonic() + seconds
        self.is_over = False

    def wait(self) -> None:
        """Wait for the end of the start. On an event loop it returns at once."""
        while not self._check() and not is_on_event_loop():
            time.sleep(_POLL_SECONDS)

    async def await_end(self) -> None:
        """Wait for the end of the start without blocking the event loop, and without a thread."""
        while not self._check():
            await sleep(_LOOP_POLL_SECONDS)

    def _check(self) -> bool:
        if not self.is_over and (has_answered(self._client) or time.monotonic() >= self._deadline):
            self.is_over = True
            report_connection(self._client, self._diagnostics)
        return self.is_over


class Flushing:
    """The flushes of one application. Thread-safe.

    Args:
        settings: The application's options.
        diagnostics: Receives failures.
        client: The LDClient.
        delivery: Sends the events.
    """

    def __init__(self, settings: Settings, diagnostics: Diagnostics, client: LDClient, delivery: Delivery) -> None:
        self.diagnostics: Diagnostics = diagnostics
        self.settings: Settings = settings
        self.worker: Worker = Worker(diagnostics)
        self.open_runs: OpenRuns = OpenRuns(diagnostics)
        #: Set once the judges exist.
        self.judges: Judges | None = None
        self._client = client
        self._delivery = delivery
        self._forks = forks.count
        self._pending_at_end = 0
        #: Whether a flush follows each request that had a run.
        self.follows_requests: bool = settings.flush == "request" or (settings.flush == "auto" and is_serverless())

    def watch_exit(self) -> None:
        """Flush before the process ends, unless the settings say never."""
        exits.watch(self, seconds=0.0 if self.settings.flush == "never" else self.settings.flush_timeout)

    @property
    def is_forked(self) -> bool:
        """Whether this process is a forked child that has not used the application's client."""
        return self._forks != forks.count

    def ensure_started(self) -> None:
        """Restart an inherited client in a forked child; in any other process there is nothing to do.

        The threads of the client and of this object belong to the parent process. Events are held until the client has
        threads of its own.
        """
        if not self.is_forked:
            return
        with forks.lock:
            if not self.is_forked:
                return
            self.worker = Worker(self.diagnostics)
            ensure_started(self._client, self.diagnostics)
            self._forks = forks.count
        self.watch_exit()

    # At the end of the process

    def expect_end(self) -> None:
        """Flush after each request from now on: the process was asked to end."""
        self.follows_requests = self.settings.flush != "never"

    def wait_for_open_runs(self, timeout: float) -> bool:
        """Wait until the runs that are open now have ended. Not for an event loop, whose tasks must end them.

        Args:
            timeout: The longest time to wait, in seconds.
        """
        return self.open_runs.wait(timeout)

    def abandon_open_runs(self) -> None:
        """End the open runs, because the process ends; one flush follows."""
        self.follows_requests = False
        self.open_runs.abandon()

    def give_up(self) -> None:
        """Log and count the evaluations and the events that were not done in time."""
        if self.judges is not None:
            self.judges.close()
        if self._pending_at_end:
            self.diagnostics.note(
                "flush",
                "exit",
                "The process ends before LaunchDarkly has accepted %d events, which may be lost. Check that it can "
                "be reached; if it can, but is slow, raise Settings.flush_timeout (%g seconds).",
                self._pending_at_end,
                self.settings.flush_timeout,
            )

    def flush_at_end(self, seconds: float) -> None:
        """Flush before the process ends, unless the settings say never."""
        if self.settings.flush != "never":
            self._pending_at_end = self.flush(seconds).pending or 0

    # Flushes

    def flush(self, timeout: float | None = None) -> FlushReport:
        """Wait for reports and evaluations, each for half of the remaining time, then send everything.

        Args:
            timeout: The longest time to wait, in seconds; ``settings.flush_timeout`` by default.
        """
        seconds = self.settings.flush_timeout if timeout is None else timeout
        deadline = time.monotonic() + seconds
        evaluations = 0
        if not self.is_forked:
            self.worker.join(seconds / 2)
            if self.judges is not None:
                is_done = self.judges.join(max(0.0, deadline - time.monotonic()) / 2)  # the rest is for their scores
                evaluations = 0 if is_done else self.judges.unfinished
        return _add_pending(self.flush_events(max(0.0, deadline - time.monotonic())), evaluations)

    def flush_events(self, timeout: float | None = None) -> FlushReport:
        """Send what is buffered without waiting for judges. Not for an event loop."""
        seconds = self.settings.flush_timeout if timeout is None else timeout
        deadline = time.monotonic() + seconds
        reports = 0
        # In a forked child the worker belongs to the parent process. A receiver of the application's may hang.
        if not self.is_forked and not self.worker.join(seconds / 2):
            reports = self.worker.unfinished  # before the flush, which does not see the events of a later report
        return _add_pending(self._delivery.flush(max(0.0, deadline - time.monotonic())), reports)

    def flush_after_request(self) -> None:
        """Flush after a request that had a run, if settings or platform ask for it. Not for an event loop."""
        if self.follows_requests and sys.is_finalizing():  # the threads that send events do not run any more
            self.diagnostics.note(
                "flush",
                "finalizing",
                "A run is lost, because it ended while Python was shutting down. If its code is in a __del__, register "
                "that code with atexit, which calls it earlier.",
            )
        elif self.follows_requests:
            with self.diagnostics.guard("flush", "request"):
                self.flush_events(0.0 if is_on_event_loop() else None)

    async def aflush_after_request(self) -> None:
        """Flush after a request that had a run, without blocking the event loop."""
        if self.follows_requests:
            with self.diagnostics.guard("flush", "request"):
                await _call_in_time(self.flush_events, self.settings.flush_timeout)

    async def aflush_at_shutdown(self) -> None:
        """Flush when an ASGI application shuts down, unless the settings say never.

        Streams that the server has just cancelled get a moment to end their runs: some servers end the process by a
        signal afterwards.
        """
        if self.settings.flush == "never":
            return
        seconds = exits.seconds_left(self.settings.flush_timeout)
        begun = time.monotonic()
        with self.diagnostics.guard("flush", "shutdown"):
            unwinding = min(seconds, _UNWINDING_SECONDS)
            with suppress(asyncio.TimeoutError):
                wait = self.wait_for_open_runs
                await call_off_loop(lambda: wait(unwinding), timeout=unwinding + _GRACE_SECONDS)
            await _call_in_time(self.flush, seconds)
        took = time.monotonic() - begun
        if took >= seconds:  # the time is used up; an endpoint that answers leaves all of it to other applications
            exits.note_wait(took)


def _add_pending(report: FlushReport, count: int) -> FlushReport:
    """Add what is not an event yet to the result of a flush."""
    return report if report.pending is None else replace(report, pending=report.pending + count)


async def _call_in_time(flush: Callable[[float], object], seconds: float) -> None:
    """Wait for a flush, but not longer for its thread: all threads of the loop's executor may be busy."""
    with suppress(asyncio.TimeoutError):
        await call_off_loop(lambda: flush(seconds), timeout=seconds + _GRACE_SECONDS)
