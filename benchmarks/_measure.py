"""Fair comparisons: contestants take turns, and medians are compared, so that a slow moment of the machine hits all."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

#: Runs a contestant once and returns what it took per unit, in seconds.
Contestant = Callable[[], float]


@dataclass(frozen=True)
class Figure:
    """One line of the table.

    Attributes:
        what: What was measured.
        value: The figure, with its unit.
        bar: What it is held to, or the peer it stands beside.
    """

    what: str
    value: str
    bar: str = ""


def per_unit(work: Callable[[], object], units: int, *, clock: Callable[[], float] = time.perf_counter) -> Contestant:
    """Time ``work``, which does ``units`` of something."""

    def contestant() -> float:
        begun = clock()
        work()
        return (clock() - begun) / units

    return contestant


def interleaved(contestants: Mapping[str, Contestant], *, rounds: int) -> dict[str, list[float]]:
    """Let all contestants run in turn, ``rounds`` times after one that does not count; seconds per unit."""
    for contestant in contestants.values():
        contestant()
    times: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(rounds):
        for name, contestant in contestants.items():
            times[name].append(contestant())
    return times


def added_us(times: Mapping[str, list[float]], name: str, base: str) -> float:
    """Return what ``name`` takes longer than ``base``: the median of the rounds' differences, in µs."""
    return statistics.median(a - b for a, b in zip(times[name], times[base], strict=True)) * 1e6


def ratio(times: Mapping[str, list[float]], name: str, base: str) -> float:
    """Return how many times as long as ``base`` it takes: the median of the rounds' ratios."""
    return statistics.median(a / b for a, b in zip(times[name], times[base], strict=True))
