"""A flush before the process ends, in whatever way it ends.

====================================  =================================================================
how the process ends                  which hook flushes
====================================  =================================================================
at its end, ``sys.exit``, exception   ``atexit``; also workers of gunicorn and uWSGI, hypercorn, waitress
``SIGTERM`` without a handler         our handler, which also ends the open runs; the process then dies of
                                      the same signal
``SIGHUP`` without a handler          the same; a handler of the application, which often means a reload, is
                                      left alone
``SIGTERM`` with a handler            our handler first, then that one (Uvicorn raises the signal again
                                      after its shutdown, so that ``atexit`` does not run)
the same, below Python                that handler alone; ``gevent.signal_handler`` sets such a one
``multiprocessing`` child             ``multiprocessing.util.Finalize``: children end with ``os._exit``
Celery's prefork child                its signal ``worker_process_shutdown``, for the same reason
``os._exit``, ``SIGKILL``             no hook can
====================================  =================================================================

A tracking that is made on another thread than the main one gets its signal handlers as soon as the main thread takes
its next step. In a sub-interpreter there are none, which is logged. ASGI's lifespan comes before all of these hooks.
"""

from __future__ import annotations

import atexit
import sys
import threading
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from .._diagnostics import Diagnostics
from .._locks import NO_PROCESS, forks
from ._signals import ENDING_SIGNALS, ChainedHandler, UnsupportedError, call_on_main_thread, chain
from ._threads import start_thread

# The hooks of one shutdown follow each other. A lifespan that ended earlier (in tests) belongs to another shutdown.
_ENDING_SECONDS = 60.0
# After a deadly signal: how long open runs may take to end, and how long a run that ends may take to be reported.
_OPEN_RUN_SECONDS, _REPORT_SECONDS = 1.0, 0.5
_POLL_SECONDS = 0.002
# How much longer than all flushes a thread waits for the end of the process.
_MARGIN_SECONDS = 1.0


class Flushes(Protocol):
    """An object with events that must not be lost with the process."""

    diagnostics: Diagnostics

    def expect_end(self) -> None:
        """Flush after each request from now on: a server finishes the requests that it has begun."""

    def wait_for_open_runs(self, timeout: float) -> bool:
        """Wait until the runs that are open now have ended; return False after ``timeout`` seconds."""

    def abandon_open_runs(self) -> None:
        """End the runs that nothing will continue."""

    def give_up(self) -> None:
        """Log and count what could not be done in time."""

    def flush_at_end(self, seconds: float) -> None:
        """Deliver the events within this time; return at once in a forked child that did not use it."""


class Exits:
    """The hooks into the end of this process, for all its trackings, which they do not keep alive.

    The hooks of one shutdown share the time of one flush, so that an endpoint that hangs delays it only once. A signal
    is deadly if the application does not handle it, so that it kills the process. The last moment of the process is the
    time between the last flush before such a signal and its effect.
    """

    def __init__(self) -> None:
        self._watched: set[weakref.ref[Flushes]] = set()
        self._handlers: list[ChainedHandler] = []
        # How long the hooks may take together, how long they have taken so far, and when that was noted.
        self._seconds, self._waited, self._waited_at = 0.0, 0.0, 0.0
        # The threads that end a run or take a vote now.
        self._reporting: set[int] = set()
        # In which process, by its number of forks, the hooks are set, and in which the last moment has begun.
        self._armed_in, self._last_moment_in = NO_PROCESS, NO_PROCESS

    def watch(self, tracking: Flushes, *, seconds: float) -> None:
        """Flush a tracking before the process ends. Call it again in a forked child.

        Args:
            tracking: The object to flush.
            seconds: The maximum time; 0 for no flush, which leaves signals alone.
        """
        self._seconds = max(self._seconds, seconds)
        self._watched.add(weakref.ref(tracking, self._watched.discard))
        self.arm()
        if seconds:
            try:
                call_on_main_thread(lambda: self._handle_signals(tracking.diagnostics))
            except UnsupportedError as exc:
                _report_unsupported(tracking.diagnostics, exc)

    def arm(self) -> None:
        """Set the hooks that are not signal handlers, once in each process that has something to flush."""
        if self._armed_in == forks.count:
            return
        if self._armed_in == NO_PROCESS:
            atexit.register(self._at_exit)
        self._armed_in = forks.count
        self._reporting = set()
        multiprocessing: Any = sys.modules.get("multiprocessing")
        if multiprocessing is not None and multiprocessing.parent_process() is not None:
            from multiprocessing.util import Finalize

            Finalize(None, self.end, exitpriority=0)
        celery_signals: Any = sys.modules.get("celery.signals")
        if celery_signals is not None:
            celery_signals.worker_process_shutdown.connect(self.end, weak=False)

    def seconds_left(self, seconds: float) -> float:
        """Return what is left of ``seconds`` after the waits of this shutdown so far."""
        if time.monotonic() - self._waited_at > _ENDING_SECONDS:
            self._waited = 0.0
        return max(0.0, seconds - self._waited)

    def note_wait(self, seconds: float) -> None:
        """Note a wait that is part of the shutdown."""
        self._waited += seconds
        self._waited_at = time.monotonic()

    def end(self, *_args: object, **_details: object) -> None:
        """End the open runs and flush for the last time. The arguments are those of Celery's signal.

        Daemon threads may make runs meanwhile: each of these flushes before its thread goes on.
        """
        self._abandon_open_runs()
        self._expect_end()
        self._flush_all()
        self._give_up()

    def begin_report(self) -> None:
        """Note that this thread begins to end a run, or to take a vote, until :meth:`end_report`.

        In the last moment of the process, the thread waits here until the process ends: its run is being cancelled, and
        its vote could not be sent any more. So its request gets no answer, as it would get none without this library.
        """
        self._reporting.add(threading.get_ident())
        if self._last_moment_in == forks.count:
            self._reporting.discard(threading.get_ident())
            time.sleep(self._seconds + _MARGIN_SECONDS)

    def end_report(self) -> None:
        """Note that this thread has ended its run, or taken its vote."""
        self._reporting.discard(threading.get_ident())

    def _alive(self) -> list[Flushes]:
        return [tracking for reference in list(self._watched) if (tracking := reference()) is not None]

    @contextmanager
    def _waiting(self, share: float = 1.0) -> Iterator[float]:
        """Give a step of the shutdown its deadline, after this share of the time that is left, and note the wait."""
        begun = time.monotonic()
        yield begun + share * self.seconds_left(self._seconds)
        self.note_wait(time.monotonic() - begun)

    def _flush_all(self, share: float = 1.0) -> None:
        """Flush all trackings at the same time, within the time of one; never raise."""
        trackings = self._alive()
        with self._waiting(share) as deadline:
            # With several, a first round starts them all, so that the wait for the first is also one for the others.
            for is_last in (False, True) if len(trackings) > 1 else (True,):
                for tracking in trackings:
                    with tracking.diagnostics.guard("flush", "exit"):
                        tracking.flush_at_end(_until(deadline) if is_last else 0.0)

    def _expect_end(self) -> None:
        for tracking in self._alive():
            tracking.expect_end()

    def _abandon_open_runs(self) -> None:
        for tracking in self._alive():
            with tracking.diagnostics.guard("run", "exit"):
                tracking.abandon_open_runs()

    def _give_up(self) -> None:
        for tracking in self._alive():
            with tracking.diagnostics.guard("flush", "exit"):
                tracking.give_up()

    def _handle_signals(self, diagnostics: Diagnostics) -> None:
        try:
            for number in ENDING_SIGNALS:
                handler = chain(number, self._before_signal)
                if handler is not None:
                    self._handlers.append(handler)
        except UnsupportedError as exc:
            _report_unsupported(diagnostics, exc)

    def _before_signal(self, is_deadly: bool) -> None:
        """Flush before a signal has its effect. Before a deadly one, end the open runs too, and log what is lost.

        Each step before the last flush leaves half of the time to the steps that follow.
        """
        if not is_deadly:
            self._expect_end()
            self._flush_all()
            return
        self._wait_for_open_runs()
        self._flush_all(0.5)  # most events, while requests are still answered
        self._begin_last_moment()
        self._flush_all()
        self._give_up()

    def _wait_for_open_runs(self) -> None:
        """Let the runs end by themselves that are open now."""
        with self._waiting(0.5) as deadline:
            deadline = min(deadline, time.monotonic() + _OPEN_RUN_SECONDS)
            for tracking in self._alive():
                tracking.wait_for_open_runs(_until(deadline))

    def _begin_last_moment(self) -> None:
        """Cancel the open runs. A thread that begins to end a run from now on waits in :meth:`begin_report`."""
        self._last_moment_in = forks.count
        with self._waiting(0.5) as deadline:
            reported = min(deadline, time.monotonic() + _REPORT_SECONDS)
            while self._reporting and time.monotonic() < reported:
                time.sleep(_POLL_SECONDS)
            # On a thread, because a receiver of the application's may hang.
            ending = start_thread(self._abandon_open_runs, "ldai-ending")
            if ending is not None:  # otherwise atexit does it
                ending.join(_until(deadline))

    def _at_exit(self) -> None:
        self.end()
        for handler in self._handlers:
            if handler.is_pending and handler.is_deadly:
                handler.take_effect()


def _until(deadline: float) -> float:
    return max(0.0, deadline - time.monotonic())


def _report_unsupported(diagnostics: Diagnostics, exc: UnsupportedError) -> None:
    diagnostics.note(
        "exit",
        "signals",
        "Events may be lost when a signal ends this process (%s). Or call tracking.flush() before it ends.",
        exc,
    )


#: ``atexit``, signals and finalizers belong to the process. That is why this object is global.
exits: Exits = Exits()
