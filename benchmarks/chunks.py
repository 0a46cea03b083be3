"""What a decorated generator adds to each chunk, against hand-written code."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextvars import ContextVar
from functools import partial

from ldclient import Context

from ldai_integrations import Tracking, track_ai

from ._launchdarkly import KEY, local_client
from ._measure import Figure, added_us, interleaved, per_unit, ratio

# Opening and reporting a run takes as long as a thousand chunks. With this many it is a small part.
_CHUNKS, _ROUNDS = 20_000, 20

_BOUND: ContextVar[float] = ContextVar("bound")

# Nothing here waits. In CPU time, other work on the machine does not count.
_timed = partial(per_unit, clock=time.thread_time)


def _words() -> Iterator[str]:
    for _ in range(_CHUNKS):
        yield "word "


async def _awords() -> AsyncIterator[str]:
    for _ in range(_CHUNKS):
        yield "word "


async def _drain(stream: AsyncIterator[str]) -> None:
    async for _ in stream:
        pass


def _by_hand() -> Iterator[str]:
    """Do the least for each chunk: set a ContextVar while it is produced, reset it, and read the clock."""
    steps, last = _words(), 0.0
    while True:
        token = _BOUND.set(last)
        try:
            word = next(steps)
        except StopIteration:
            return
        finally:
            _BOUND.reset(token)
        last = time.perf_counter()
        yield word


async def _aby_hand() -> AsyncIterator[str]:
    """Do the same for each chunk of an async generator."""
    steps, last = _awords(), 0.0
    while True:
        token = _BOUND.set(last)
        try:
            word = await anext(steps)
        except StopAsyncIteration:
            return
        finally:
            _BOUND.reset(token)
        last = time.perf_counter()
        yield word


def figures() -> list[Figure]:
    """Measure generators, sync and async: decorated, followed by hand, and bare."""
    with local_client() as (client, _events):
        decorate = track_ai(config_key=KEY, tracking=Tracking(client), ld_context=lambda: Context.create("ada"))
        words, awords = decorate(_words), decorate(_awords)
        sync = interleaved(
            {
                "bare": _timed(lambda: [None for _ in _words()], _CHUNKS),
                "followed": _timed(lambda: [None for _ in words()], _CHUNKS),
                "by hand": _timed(lambda: [None for _ in _by_hand()], _CHUNKS),
            },
            rounds=_ROUNDS,
        )
        asynchronous = interleaved(
            {
                "bare": _timed(lambda: asyncio.run(_drain(_awords())), _CHUNKS),
                "followed": _timed(lambda: asyncio.run(_drain(awords())), _CHUNKS),
                "by hand": _timed(lambda: asyncio.run(_drain(_aby_hand())), _CHUNKS),
            },
            rounds=_ROUNDS,
        )
    return [*_figures("sync", 0.3, sync), *_figures("async", 0.5, asynchronous)]


def _figures(kind: str, at_most_us: float, times: Mapping[str, list[float]]) -> list[Figure]:
    """Compare chunks with those of the bare generator, and of one that is followed by hand."""
    by_hand = added_us(times, "by hand", "bare")
    return [
        Figure(
            what=f"decorated chunk, {kind}, added",
            value=added_us(times, "followed", "bare"),
            unit="µs",
            at_most=at_most_us,
            note=f"by hand {by_hand:.2f} µs: a ContextVar is set and reset, and the clock is read",
        ),
        Figure(what=f"decorated chunk / by hand, {kind}", value=ratio(times, "followed", "by hand"), at_most=1.5),
    ]
