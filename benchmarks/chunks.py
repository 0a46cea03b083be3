"""What following a stream adds to each of its chunks."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextvars import ContextVar
from functools import partial

from ldclient import Context

from ldai_integrations import Tracking, track_ai

from ._launchdarkly import KEY, local_client
from ._measure import Figure, added_us, interleaved, per_unit

# Opening and reporting a run takes as long as a thousand chunks: of so many, it is a small part.
_CHUNKS, _ROUNDS = 20_000, 20

_BOUND: ContextVar[float] = ContextVar("bound")

# Nothing here waits: processor time tells the same as the clock, and other work on the machine does not count.
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
    """Do for each chunk the least that can be done: be in the run while it is made, and know when it came."""
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
    """Measure generators, sync and async, against the same ones undecorated."""
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
    return [
        _figure("streamed chunk, sync", "0.3", sync),
        _figure("streamed chunk, async", "0.5", asynchronous),
    ]


def _figure(what: str, bar: str, times: Mapping[str, list[float]]) -> Figure:
    by_hand = f"{added_us(times, 'by hand', 'bare'):.2f} for a ContextVar's set and reset and a look at the clock"
    return Figure(what, f"+{added_us(times, 'followed', 'bare'):.2f} µs", f"at most {bar} µs; {by_hand}")
