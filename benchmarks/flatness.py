"""What a run adds if many threads or tasks have runs at the same time: CPU time of all threads, per run."""

from __future__ import annotations

import asyncio
import statistics
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from ldclient import Context

from ldai_integrations import Tracking, current_run, track_ai

from ._launchdarkly import KEY, local_client
from ._measure import Contestant, Figure, interleaved

_THREADS, _TASKS = (1, 8, 64), (1, 100, 10_000)
_RUNS, _ROUNDS = 10_000, 5
_CONTEXT = Context.create("ada")


def figures() -> list[Figure]:
    """Measure threads and tasks; what they cost without tracking is subtracted."""
    with local_client() as (client, _events):
        tracking = Tracking(client)
        track = track_ai(config_key=KEY, tracking=tracking, ld_context=lambda: _CONTEXT)
        ways = {
            "threads": (_THREADS, _in_threads, _answer, track(_tracked)),
            "tasks": (_TASKS, _in_tasks, _answer_later, track(_tracked_later)),
        }
        return [
            _figure(kind, numbers, {True: partial(way, tracked), False: partial(way, bare)}, tracking)
            for kind, (numbers, way, bare, tracked) in ways.items()
        ]


def _figure(
    kind: str, numbers: tuple[int, ...], works: dict[bool, Callable[[int], None]], tracking: Tracking
) -> Figure:
    contestants = {
        f"{number} {is_tracked}": _contestant(partial(work, number), tracking)
        for number in numbers
        for is_tracked, work in works.items()
    }
    times = interleaved(contestants, rounds=_ROUNDS)
    added = [
        [a - b for a, b in zip(times[f"{number} True"], times[f"{number} False"], strict=True)] for number in numbers
    ]
    ratio = max(statistics.median(a / b for a, b in zip(one, added[0], strict=True)) for one in added[1:])
    costs = " / ".join(f"{statistics.median(one) * 1e6:.0f}" for one in added)
    which = " / ".join(f"{number:,}" for number in numbers)
    return Figure(
        what=f"run in {which} {kind}, most / one",
        value=ratio,
        at_most=1.3,
        note=f"{costs} µs per run, CPU time of all threads",
    )


def _contestant(work: Callable[[], None], tracking: Tracking) -> Contestant:
    def contestant() -> float:
        begun = time.process_time()
        work()
        tracking.flush()
        return (time.process_time() - begun) / _RUNS

    return contestant


def _in_threads(handler: Callable[[], str], number: int) -> None:
    def work() -> None:
        for _ in range(_RUNS // number):
            handler()

    threads = [threading.Thread(target=work) for _ in range(number)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _in_tasks(handler: Callable[[], Any], number: int) -> None:
    async def work() -> None:
        for _ in range(_RUNS // number):
            await asyncio.gather(*(handler() for _ in range(number)))

    asyncio.run(work())


def _answer() -> str:
    return "done"


def _tracked() -> str:
    run = current_run()
    run.add_usage(input_tokens=11, output_tokens=7)
    return run.model


async def _answer_later() -> str:
    await asyncio.sleep(0)
    return "done"


async def _tracked_later() -> str:
    run = current_run()
    run.add_usage(input_tokens=11, output_tokens=7)
    model = run.model
    await asyncio.sleep(0)
    return model
