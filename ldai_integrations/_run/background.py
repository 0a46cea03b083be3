"""Work away from the caller: on a background thread, or off the event loop."""

from __future__ import annotations

import asyncio
import sys
import threading
import weakref
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from queue import SimpleQueue
from typing import Any, TypeVar

from .._diagnostics import Diagnostics
from .._locks import NO_PROCESS, forks
from ..delivery import start_thread

T = TypeVar("T")

_MOST_JOBS = 1_000
# How long a caller waits for another one that is about to start the thread. It is bounded, because a signal handler may
# interrupt that other one on its own thread.
_START_SECONDS = 0.1

_Job = Callable[[], None]


class Worker:
    """A background thread that runs jobs one after the other. Thread-safe; not usable in a forked child.

    The thread starts with the first job or the first call of :meth:`start`. It ends with :meth:`end`, or when the
    worker is collected.

    Args:
        diagnostics: Receives the exceptions of jobs.
    """

    def __init__(self, diagnostics: Diagnostics) -> None:
        self._diagnostics = diagnostics
        self._starting = threading.Lock()
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        # One entry for each job that is not done. Appending takes no lock, so a finalizer may do it.
        self._unfinished: deque[None] = deque()
        #: Whether the thread is started.
        self.is_started: bool = False
        weakref.finalize(self, self._jobs.put, None)

    @property
    def unfinished(self) -> int:
        """How many jobs wait or are being run."""
        return len(self._unfinished)

    def submit(self, job: _Job) -> bool:
        """Queue a job; return False if so many wait that the caller should run it."""
        if self._jobs.qsize() >= _MOST_JOBS:
            return False
        self.submit_from_finalizer(job)
        self.start()
        return True

    def submit_from_finalizer(self, job: _Job) -> None:
        """Queue a job from a finalizer, which may interrupt any statement of this class.

        It takes no lock and starts no thread; ``SimpleQueue.put`` is reentrant.
        """
        self._unfinished.append(None)
        self._jobs.put(partial(_run_counted, job, self._unfinished))

    def join(self, timeout: float) -> bool:
        """Wait until every job queued so far is done.

        Args:
            timeout: The longest time to wait, in seconds.

        Returns:
            False if the time was not sufficient.
        """
        if not self.is_started and self._jobs.empty():
            return True
        done = threading.Event()
        self._jobs.put(done.set)
        self.start()
        return done.wait(timeout)

    def end(self) -> None:
        """End the thread when the jobs queued so far are done; another job starts it again."""
        if self.is_started:
            self.is_started = False
            self._jobs.put(None)

    def start(self) -> None:
        """Start the thread, if it is not started."""
        if self.is_started or not self._starting.acquire(timeout=_START_SECONDS):
            return
        try:
            if not self.is_started:
                thread = start_thread(partial(_run_jobs, self._jobs, self._diagnostics), "ldai-worker")
                self.is_started = thread is not None
            while not self.is_started and not self._jobs.empty():
                _run(self._jobs.get(), self._diagnostics)
        finally:
            self._starting.release()


def _run_jobs(jobs: SimpleQueue[_Job | None], diagnostics: Diagnostics) -> None:
    while (job := jobs.get()) is not None:
        _run(job, diagnostics)
        del job  # it refers to a run


def _run_counted(job: _Job, unfinished: deque[None]) -> None:
    try:
        job()
    finally:
        unfinished.pop()


def _run(job: _Job | None, diagnostics: Diagnostics) -> None:
    try:
        if job is not None:
            job()
    except BaseException as exc:  # a receiver of the application's may raise SystemExit, which would end the thread
        diagnostics.failed("report", type(exc).__name__, exc)


def is_on_event_loop() -> bool:
    """Return whether this thread is running an event loop, asyncio's or Trio's, which must not be blocked."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return _is_in_trio(sys.modules.get("trio"))
    return True


def _is_in_trio(trio: Any) -> bool:
    """Return whether Trio runs on this thread; ``in_trio_run()`` is missing before Trio 0.23."""
    try:
        trio.lowlevel.current_trio_token()
    except (RuntimeError, AttributeError):  # it is not imported, or another thread has begun to import it
        return False
    return True


async def call_off_loop(call: Callable[[], T], *, timeout: float | None = None) -> T:
    """Call a blocking function on a thread and wait for it without blocking the event loop, asyncio's or Trio's.

    Raises:
        asyncio.TimeoutError: If it takes longer than ``timeout`` seconds; the thread goes on.
    """
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        import anyio  # Trio runs web applications through anyio only, so that it is installed then
        import anyio.to_thread

        with anyio.move_on_after(timeout):
            return await anyio.to_thread.run_sync(call, abandon_on_cancel=timeout is not None)
        raise asyncio.TimeoutError from None
    return await asyncio.wait_for(loop.run_in_executor(None, call), timeout)


class Threads:
    """A small pool of threads for blocking calls that may hang, unlike those of :func:`call_off_loop`.

    That function uses the threads of the application, which must not wait for them. The threads of this pool start when
    they are needed, and anew in a forked child. The process waits for the calls that run before it ends.

    Args:
        most: How many threads there may be. Further calls wait for their turn.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._made_in = NO_PROCESS

    async def call(self, call: Callable[[], T]) -> T:
        """Call a blocking function on a thread and wait for it without blocking the event loop, asyncio's or Trio's."""
        if self._made_in != forks.count:
            self._executor, self._limiter = ThreadPoolExecutor(self._most, "ldai-threads"), None
            self._made_in = forks.count
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            import anyio
            import anyio.to_thread

            self._limiter = self._limiter or anyio.CapacityLimiter(self._most)
            return await anyio.to_thread.run_sync(call, limiter=self._limiter)
        return await loop.run_in_executor(self._executor, call)


async def sleep(seconds: float) -> None:
    """Wait on asyncio or Trio."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        import anyio

        await anyio.sleep(seconds)
    else:
        await asyncio.sleep(seconds)
