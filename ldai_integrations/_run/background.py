"""Work away from the caller: on a background thread, or off the event loop."""

from __future__ import annotations

import asyncio
import concurrent.futures.thread  # noqa: F401  # otherwise asyncio imports it in the first request
import sys
import threading
from collections.abc import Awaitable, Callable
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

from .._diagnostics import Diagnostics

T = TypeVar("T")

_IDLE_SECONDS = 5.0
_MOST_JOBS = 1_000
# How long a caller waits for another one that is about to start the thread. It is bounded, because a signal handler may
# interrupt that other one on its own thread.
_START_SECONDS = 0.1


class Worker:
    """A background thread that runs jobs one after the other. Thread-safe; not usable in a forked child.

    Args:
        diagnostics: Receives the exceptions of jobs.
    """

    def __init__(self, diagnostics: Diagnostics) -> None:
        self._diagnostics = diagnostics
        self._starting = threading.Lock()
        self._jobs: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._thread: threading.Thread | None = None

    def submit(self, job: Callable[[], None]) -> bool:
        """Queue a job; return False if so many wait that the caller should run it."""
        if self._jobs.qsize() >= _MOST_JOBS:
            return False
        self._jobs.put(job)
        self.start()
        return True

    def leave(self, job: Callable[[], None]) -> None:
        """Queue a job from a finalizer, which may interrupt any statement of this class.

        It takes no lock and starts no thread (``SimpleQueue.put`` is reentrant). If the thread is idle, the next call
        of :meth:`submit`, :meth:`start` or :meth:`join` starts it.
        """
        self._jobs.put(job)

    def join(self, timeout: float) -> bool:
        """Wait until every job queued so far is done.

        Args:
            timeout: The longest time to wait, in seconds.

        Returns:
            False if the time was not sufficient.
        """
        if self._thread is None and self._jobs.empty():
            return True
        done = threading.Event()
        self._jobs.put(done.set)
        self.start()
        return done.wait(timeout)

    def start(self) -> None:
        """Start the thread if there are jobs and it does not run."""
        if self._thread is not None or self._jobs.empty():
            return
        if not self._starting.acquire(timeout=_START_SECONDS):
            return
        try:
            if self._thread is None:
                thread = threading.Thread(target=self._run, name="ldai-worker", daemon=True)
                self._thread = thread
                thread.start()
        except RuntimeError:  # the interpreter is shutting down and starts no more threads
            self._thread = None
            self._run_waiting()
        finally:
            self._starting.release()

    def _run(self) -> None:
        while True:
            try:
                job = self._jobs.get(timeout=_IDLE_SECONDS)
            except Empty:
                self._thread = None
                if self._jobs.empty():
                    return
                with self._starting:  # a job came in between: go on, unless another thread was started for it
                    if self._thread is not None:
                        return
                    self._thread = threading.current_thread()
            else:
                self._do(job)

    def _do(self, job: Callable[[], None]) -> None:
        try:
            job()
        except BaseException as exc:  # a receiver of the application's may raise SystemExit, which would end the thread
            self._diagnostics.failed("report", type(exc).__name__, exc)

    def _run_waiting(self) -> None:
        while True:
            try:
                job = self._jobs.get_nowait()
            except Empty:
                return
            self._do(job)


def is_on_event_loop() -> bool:
    """Return whether this thread is running an event loop, asyncio's or Trio's, which must not be blocked."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        trio: Any = sys.modules.get("trio")
        return trio is not None and bool(trio.lowlevel.in_trio_run())
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


async def wait_at_most(seconds: float, awaitable: Awaitable[object]) -> None:
    """Await something for a limited time, on asyncio or Trio; it is cancelled afterwards."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        import anyio

        with anyio.move_on_after(seconds):
            await awaitable
        return
    try:
        await asyncio.wait_for(awaitable, seconds)
    except asyncio.TimeoutError:
        pass


def call_at_most(seconds: float, call: Callable[[], object]) -> bool:
    """Call a function on a thread and wait for it for a limited time; return whether it has returned."""
    done = threading.Event()
    thread = threading.Thread(target=partial(_call_and_set, call, done), name="ldai-read-rest", daemon=True)
    try:
        thread.start()
    except RuntimeError:  # the interpreter is shutting down and starts no more threads
        return False
    return done.wait(seconds)


def _call_and_set(call: Callable[[], object], done: threading.Event) -> None:
    try:
        call()
    finally:
        done.set()
