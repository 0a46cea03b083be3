"""One background thread for work that must not hold up a request, made when first needed."""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue

from .._diagnostics import Diagnostics

_IDLE_SECONDS = 5.0
_MAX_JOBS = 1_000


class Worker:
    """Run jobs one after the other off the caller's thread; thread-safe, and of no use in a forked child.

    Args:
        diagnostics: Where a job that raises is noted.
    """

    def __init__(self, diagnostics: Diagnostics) -> None:
        self._diagnostics = diagnostics
        self._lock = threading.Lock()
        self._jobs: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._thread: threading.Thread | None = None

    def submit(self, job: Callable[[], None]) -> bool:
        """Queue a job, which must not raise; return False if so many wait that the caller had better do it."""
        if self._jobs.qsize() >= _MAX_JOBS:
            return False
        self._put(job)
        return True

    def join(self, timeout: float) -> bool:
        """Wait until every job queued so far is done.

        Args:
            timeout: Seconds to wait at most.

        Returns:
            False if there was not time enough.
        """
        if self._thread is None:
            return True
        done = threading.Event()
        self._put(done.set)
        return done.wait(timeout)

    def _put(self, job: Callable[[], None]) -> None:
        self._jobs.put(job)  # before the look at the thread, which looks at the queue after it has signed off
        if self._thread is None:
            self._begin()

    def _begin(self) -> None:
        with self._lock:
            if self._thread is not None:
                return
            thread = threading.Thread(target=self._run, name="ldai-worker", daemon=True)
            try:
                thread.start()
            except RuntimeError:  # the interpreter is ending and starts no more threads
                self._run_waiting()
            else:
                self._thread = thread

    def _run(self) -> None:
        while True:
            try:
                job = self._jobs.get(timeout=_IDLE_SECONDS)
            except Empty:
                if self._signs_off():
                    return
            else:
                self._do(job)

    def _do(self, job: Callable[[], None]) -> None:
        """Do a job; a receiver of the application's may raise SystemExit, which would end this thread."""
        try:
            job()
        except BaseException as exc:
            self._diagnostics.failed("report", type(exc).__name__, exc)

    def _signs_off(self) -> bool:
        with self._lock:
            thread, self._thread = self._thread, None
            if self._jobs.empty():
                return True
            self._thread = thread
            return False

    def _run_waiting(self) -> None:
        while True:
            try:
                job = self._jobs.get_nowait()
            except Empty:
                return
            job()
