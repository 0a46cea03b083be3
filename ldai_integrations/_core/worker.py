"""One background thread for work that must not hold up a request, made when first needed."""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import Empty, Full, Queue

_IDLE_SECONDS = 5.0
_MAX_JOBS = 1_000


class Worker:
    """Run jobs one after the other off the caller's thread; thread-safe, and of no use in a forked child."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._jobs: Queue[Callable[[], None]] = Queue(_MAX_JOBS)
        self._thread: threading.Thread | None = None

    def submit(self, job: Callable[[], None]) -> bool:
        """Queue a job, which must not raise; return False if the queue is full or the process ends."""
        with self._lock:
            try:
                self._jobs.put_nowait(job)
            except Full:
                return False
            if self._thread is None:
                thread = threading.Thread(target=self._run, name="ldai-worker", daemon=True)
                try:
                    thread.start()
                except RuntimeError:  # the interpreter is ending and starts no more threads
                    self._jobs.get_nowait()
                    return False
                self._thread = thread
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
        return self.submit(done.set) and done.wait(timeout)

    def _run(self) -> None:
        while True:
            try:
                job = self._jobs.get(timeout=_IDLE_SECONDS)
            except Empty:
                with self._lock:
                    if self._jobs.empty():
                        self._thread = None
                        return
                continue
            job()
