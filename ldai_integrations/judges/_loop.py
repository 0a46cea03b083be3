"""An event loop of our own, on which a bounded number of jobs goes on and a bounded number waits."""

from __future__ import annotations

import asyncio
import threading
import weakref
from collections import deque
from collections.abc import Callable, Coroutine
from concurrent.futures import Future, wait
from contextlib import suppress
from contextvars import Context
from dataclasses import dataclass, field
from typing import Any

_SECONDS_TO_END = 1.0


@dataclass(eq=False, slots=True, kw_only=True)
class Job:
    """Something to do on the loop.

    Attributes:
        work: Makes the coroutine that does it.
        done: Takes its result, unless it came too late.
        failed: Takes its exception; a ``TimeoutError`` if it came too late.
        context: The contextvars that it sees.
    """

    work: Callable[[], Coroutine[Any, Any, Any]]
    done: Callable[[Any], None]
    failed: Callable[[BaseException], None]
    context: Context
    settled: Future[None] = field(default_factory=Future)


class BoundedLoop:
    """Run jobs on a thread with an event loop, begun with the first job; thread-safe, and of no use after a fork.

    Args:
        places: How many jobs may go on at a time. A job that cannot be stopped keeps its place until it ends.
        queue: How many may wait for a place.
        seconds: How long one may take.
        at_end: Called on the loop when it ends.
    """

    def __init__(self, *, places: int, queue: int, seconds: float, at_end: Callable[[], None]) -> None:
        self._places, self._queue, self._seconds, self._at_end = places, queue, seconds, at_end
        self._lock = threading.Lock()
        self._waiting: deque[Job] = deque()
        self._running = 0
        self._ended = False
        self._unsettled: set[Future[None]] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._over = asyncio.Event()

    def submit(self, job: Job) -> bool:
        """Take a job, or return False where too many wait already."""
        with self._lock:
            if self._running + len(self._waiting) >= self._places + self._queue:
                return False
            loop = self._loop = self._loop or self._begin()
            self._waiting.append(job)
            self._unsettled.add(job.settled)
            loop.call_soon_threadsafe(self._start_waiting)
        return True

    def join(self, timeout: float) -> bool:
        """Wait until the jobs taken so far are done, have failed or are late; return False if there was no time."""
        with self._lock:
            unsettled = tuple(self._unsettled)
        return not wait(unsettled, timeout).not_done if unsettled else True

    def end(self) -> int:
        """Let the thread end when nothing goes on any more; return how many jobs are not done."""
        with self._lock:
            self._ended = True
            if self._loop is not None:
                self._loop.call_soon_threadsafe(self._stop_if_idle)
            return len(self._unsettled)

    def _begin(self) -> asyncio.AbstractEventLoop:
        loop = asyncio.new_event_loop()
        threading.Thread(target=_serve, args=(loop, self._over, self._at_end), name="ldai-judges", daemon=True).start()
        # A loop that nobody submits to any more ends with us: jobs that go on hold a reference.
        weakref.finalize(self, _stop, loop, self._over).atexit = False
        return loop

    def _stop_if_idle(self) -> None:
        with self._lock:
            if self._ended and self._loop is not None and not self._running and not self._waiting:
                self._over.set()

    def _start_waiting(self) -> None:
        while True:
            with self._lock:
                if not self._waiting or self._running >= self._places:
                    return
                self._running += 1
                job = self._waiting.popleft()
            task = asyncio.ensure_future(self._hold(job))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _hold(self, job: Job) -> None:
        """Keep a place for a job while it really goes on, but wait for its result no longer than is allowed."""
        try:
            work = job.context.run(lambda: asyncio.ensure_future(job.work()))
            done, _ = await asyncio.wait({work}, timeout=self._seconds)
            self._settle(job, work if done else None)
            if not done:
                work.cancel()
                await asyncio.wait({work})
                _ = work.cancelled() or work.exception()  # it has been told of the timeout already
        finally:
            with self._lock:
                self._running -= 1
            self._start_waiting()
            self._stop_if_idle()

    def _settle(self, job: Job, work: asyncio.Future[Any] | None) -> None:
        try:
            if work is None:
                job.failed(asyncio.TimeoutError())
            elif work.cancelled():
                job.failed(asyncio.CancelledError())
            elif (exc := work.exception()) is not None:
                job.failed(exc)
            else:
                job.done(work.result())
        finally:
            with self._lock:
                self._unsettled.discard(job.settled)
            job.settled.set_result(None)


def _serve(loop: asyncio.AbstractEventLoop, over: asyncio.Event, at_end: Callable[[], None]) -> None:
    async def live() -> None:
        await over.wait()
        at_end()
        await asyncio.sleep(0)
        others = asyncio.all_tasks() - {asyncio.current_task()}
        if others:
            await asyncio.wait(others, timeout=_SECONDS_TO_END)

    try:
        loop.run_until_complete(live())
    finally:
        loop.close()


def _stop(loop: asyncio.AbstractEventLoop, over: asyncio.Event) -> None:
    with suppress(RuntimeError):  # it has ended already
        loop.call_soon_threadsafe(over.set)
