"""Flush before the process ends, however it ends.

====================================  =================================================================
how the process ends                  which hook flushes
====================================  =================================================================
at its end, ``sys.exit``, exception   ``atexit``; also gunicorn's and uWSGI's workers, hypercorn, waitress
``SIGTERM`` without a handler         a handler of ours, which ends the runs that are open as well; the process
                                      dies by the same signal
``SIGTERM`` with a handler            ours first, then that one (Uvicorn re-raises the signal after
                                      shutting down, so that ``atexit`` does not run)
the same, below Python                that one alone; ``gevent.signal_handler`` sets such a one
``multiprocessing`` child             ``multiprocessing.util.Finalize``: children end by ``os._exit``
Celery's prefork child                its signal ``worker_process_shutdown``, for the same reason
``os._exit``, ``SIGKILL``             none can
====================================  =================================================================

ASGI lifespans flush before all of these; see ``asgi.py``.
"""

from __future__ import annotations

import atexit
import signal
import sys
import threading
import time
import weakref
from contextlib import suppress
from typing import Any, Protocol

from .._diagnostics import Diagnostics
from ._fork import NO_PROCESS, forks
from ._signals import ChainedHandler, chain

# The hooks of one ending follow each other; a lifespan that ended earlier (in tests) was another ending's.
_ENDING_SECONDS = 60.0
# How long runs have to end by themselves where a signal is deadly, or half of the time for the flush.
_LAST_SECONDS = 1.0


class Flushes(Protocol):
    """What has events that must not be lost with the process."""

    diagnostics: Diagnostics

    def expect_end(self) -> None:
        """Flush after each request from now on: a server goes on with those that it has begun."""

    def wait_for_open_runs(self, timeout: float) -> bool:
        """Wait until the runs that are open now have ended; False if that takes more than ``timeout`` seconds."""

    def abandon_open_runs(self) -> None:
        """End the runs that nobody is left to go on with."""

    def give_up(self) -> None:
        """Count what there was no time for."""

    def flush_at_end(self, seconds: float) -> None:
        """Wait until events are delivered, if it may; in a forked child that never used it, return at once."""


class Exits:
    """Hook into the ends of this process for all trackings in it, which it does not keep alive.

    The hooks that one ending sets off share the time of one flush, so that an endpoint that hangs is waited for once.
    """

    def __init__(self) -> None:
        self._watched: set[weakref.ref[Flushes]] = set()
        self._armed_in = NO_PROCESS
        self._handlers: list[ChainedHandler] = []
        self._seconds = 0.0
        self._waited = 0.0
        self._waited_at = 0.0

    def watch(self, tracking: Flushes, *, seconds: float) -> None:
        """Flush a tracking before the process ends; told again in a forked child.

        Args:
            tracking: What to flush.
            seconds: How long at most; 0 for not at all, which leaves signals alone.
        """
        self._seconds = max(self._seconds, seconds)
        self._watched.add(weakref.ref(tracking, self._watched.discard))
        if self._armed_in != forks.count:
            if self._armed_in == NO_PROCESS:
                atexit.register(self._at_exit)
            self._armed_in = forks.count
            self._arm_child()
        if seconds:
            handlers = (chain(number, self._before_signal) for number in (signal.SIGTERM, signal.SIGINT))
            self._handlers += filter(None, handlers)

    def seconds_left(self, seconds: float) -> float:
        """Return what is left of ``seconds`` after what this ending has waited already."""
        if time.monotonic() - self._waited_at > _ENDING_SECONDS:
            self._waited = 0.0
        return max(0.0, seconds - self._waited)

    def has_waited(self, seconds: float) -> None:
        """Note a wait that is part of the ending."""
        self._waited += seconds
        self._waited_at = time.monotonic()

    def end(self, *_args: object, **_details: object) -> None:
        """Flush for the last time, with the runs that are still open; takes what Celery tells its receivers."""
        self._abandon_open_runs()
        self._flush_all()
        for tracking in self._alive():
            with tracking.diagnostics.guard("run", "exit"):
                tracking.give_up()

    def _alive(self) -> list[Flushes]:
        return [tracking for reference in list(self._watched) if (tracking := reference()) is not None]

    def _flush_all(self) -> None:
        """Flush every tracking, all at once and within the time of one; never raises."""
        begun = time.monotonic()
        deadline = begun + self.seconds_left(self._seconds)
        trackings = self._alive()
        if len(trackings) > 1:
            for tracking in trackings:
                _flush(tracking, 0.0)  # begins to send, so that the first one's wait is also the others'
        for tracking in trackings:
            _flush(tracking, max(0.0, deadline - time.monotonic()))
        self.has_waited(time.monotonic() - begun)

    def _abandon_open_runs(self) -> None:
        for tracking in self._alive():
            with tracking.diagnostics.guard("run", "exit"):
                tracking.abandon_open_runs()

    def _end_open_runs(self) -> None:
        """Let open runs end by themselves, or else cancel them; what hangs meanwhile leaves time for the flush."""
        begun = time.monotonic()
        seconds = self.seconds_left(self._seconds)
        deadline = begun + min(_LAST_SECONDS, seconds / 2)
        for tracking in self._alive():
            tracking.wait_for_open_runs(deadline - time.monotonic())
        ending = threading.Thread(target=self._abandon_open_runs, name="ldai-ending", daemon=True)
        with suppress(RuntimeError):  # the interpreter is ending, and does it itself
            ending.start()
            ending.join(max(0.0, begun + seconds - time.monotonic()) / 2)
        self.has_waited(time.monotonic() - begun)

    def _before_signal(self, is_deadly: bool) -> None:
        if is_deadly:
            self._end_open_runs()
        for tracking in self._alive():
            tracking.expect_end()
        self._flush_all()

    def _at_exit(self) -> None:
        self.end()
        for handler in self._handlers:
            if handler.is_pending and handler.is_deadly:
                handler.take_effect()

    def _arm_child(self) -> None:
        """Hook into the end of a worker process that runs no ``atexit``."""
        multiprocessing: Any = sys.modules.get("multiprocessing")
        if multiprocessing is not None and multiprocessing.parent_process() is not None:
            from multiprocessing.util import Finalize

            Finalize(None, self.end, exitpriority=0)
        celery_signals: Any = sys.modules.get("celery.signals")
        if celery_signals is not None:
            celery_signals.worker_process_shutdown.connect(self.end, weak=False)


def _flush(tracking: Flushes, seconds: float) -> None:
    with tracking.diagnostics.guard("flush", "exit"):
        tracking.flush_at_end(seconds)


#: ``atexit``, signals and finalizers belong to the process: hence one for all trackings.
exits = Exits()
