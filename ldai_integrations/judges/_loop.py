"""An event loop on its own thread that runs a limited number of jobs and queues a limited number of others."""

from __future__ import annotations

import asyncio
import threading
import weakref
from collections.abc import Callable, Coroutine
from concurrent.futures import Future, wait
from contextlib import suppress
from contextvars import Context
from dataclasses import dataclass, field
from typing import Any

_SECONDS_TO_END = 1.0


@dataclass(eq=False, slots=True, kw_only=True)
class Job:
    """A piece of work for the loop.

    Attributes:
        work: Returns the coroutine that does it.
        done: Called with its result, unless it took too long.
        failed: Called with its exception; a ``TimeoutError`` if it took too long.
        context: The context variables that it sees.
    """

    work: Callable[[], Coroutine[Any, Any, Any]]
    done: Callable[[Any], None]
    failed: Callable[[BaseException], None]
    context: Context
    settled: Future[None] = field(default_factory=Future)


class BoundedLoop:
    """A thread with an event loop that starts with the first job. Thread-safe; of no use after a fork.

    Args:
        places: How many jobs may run at a time. A job that cannot be stopped occupies its place until it ends.
        queue: How many jobs may wait for a place.
        seconds: How long a job may take.
        at_end: Called on the loop when it ends.
    """

    def __init__(self, *, places: int, queue: int, seconds: float, at_end: Callable[[], None]) -> None:
        self._most, self._seconds, self._at_end = places + queue, seconds, at_end
        self._places = asyncio.Semaphore(places)
        self._lock = threading.Lock()
        self._jobs = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._unsettled: set[Future[None]] = set()
        self._ended = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._over = threading.Event()

    def submit(self, job: Job) -> bool:
        """Queue a job; return False if too many wait already."""
        with self._lock:
            if self._jobs >= self._most:
                return False
            if self._loop is None:
                self._loop = self._begin()
            self._jobs += 1
            self._unsettled.add(job.settled)
            self._loop.call_soon_threadsafe(self._start, job)
        return True

    @property
    def unfinished(self) -> int:
        """How many jobs are not done."""
        return len(self._unsettled)

    def join(self, timeout: float) -> bool:
        """Wait until the jobs so far are done, have failed or took too long; return False if that takes too long."""
        with self._lock:
            unsettled = tuple(self._unsettled)
        return not wait(unsettled, timeout).not_done

    def end(self) -> int:
        """Let the thread end when no job runs any more; return how many jobs are not done."""
        with self._lock:
            self._ended = True
            if self._loop is not None:
                self._loop.call_soon_threadsafe(self._stop_if_idle)
            return len(self._unsettled)

    def _begin(self) -> asyncio.AbstractEventLoop:
        loop = asyncio.new_event_loop()
        threading.Thread(
            target=_run_loop, args=(loop, self._over, self._at_end), name="ldai-judges", daemon=True
        ).start()
        # The loop ends when this object is gone. Jobs that still run hold a reference to it.
        weakref.finalize(self, _stop, loop, self._over).atexit = False
        return loop

    def _stop_if_idle(self) -> None:
        with self._lock:
            if self._ended and not self._jobs and self._loop is not None:
                _stop(self._loop, self._over)

    def _start(self, job: Job) -> None:
        task = asyncio.ensure_future(self._run(job))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run(self, job: Job) -> None:
        """Run a job, which occupies a place until it ends, but wait for its result only as long as allowed."""
        work: asyncio.Future[Any] | None = None
        try:
            async with self._places:
                work = job.context.run(lambda: asyncio.ensure_future(job.work()))
                done, _ = await asyncio.wait({work}, timeout=self._seconds)
                if done:
                    exc = asyncio.CancelledError() if work.cancelled() else work.exception()
                    self._settle(job, work, exc)
                else:
                    self._settle(job, work, asyncio.TimeoutError())
                    work.cancel()
                    await asyncio.wait({work})
                    _ = work.cancelled() or work.exception()  # the timeout is reported already
        finally:
            if not job.settled.done():  # a job has cancelled all tasks of the loop
                self._settle(job, work, asyncio.CancelledError())
            with self._lock:
                self._jobs -= 1
            self._stop_if_idle()

    def _settle(self, job: Job, work: asyncio.Future[Any] | None, exc: BaseException | None) -> None:
        """Pass on the exception of a job, or else its result."""
        try:
            if exc is not None:
                job.failed(exc)
            elif work is not None:
                job.done(work.result())
        finally:
            with self._lock:
                self._unsettled.discard(job.settled)
            job.settled.set_result(None)


def _run_loop(loop: asyncio.AbstractEventLoop, over: threading.Event, at_end: Callable[[], None]) -> None:
    """Run a loop until it is over. The application's functions may stop it, or cancel all of its tasks."""

    async def end() -> None:
        at_end()
        await asyncio.sleep(0)
        others = asyncio.all_tasks() - {asyncio.current_task()}
        if others:
            await asyncio.wait(others, timeout=_SECONDS_TO_END)

    try:
        while not over.is_set():
            loop.run_forever()
        loop.run_until_complete(end())
    finally:
        loop.close()


def _stop(loop: asyncio.AbstractEventLoop, over: threading.Event) -> None:
    over.set()
    with suppress(RuntimeError):  # the loop has ended already
        loop.call_soon_threadsafe(loop.stop)
