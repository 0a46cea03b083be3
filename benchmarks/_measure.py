"""Comparisons of contestants that take turns, so that a slow moment of the machine affects all of them."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

#: Runs a contestant once and returns what it took per unit, in seconds.
Contestant = Callable[[], float]


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One line of the table.

    Attributes:
        what: What was measured.
        value: The figure.
        unit: ``""`` for a ratio to other code, ``"µs"``, ``"ms"`` or ``"s"`` for a time.
        at_most: The largest value that is allowed; ``None`` if there is no such bar.
        at_least: The smallest value that is allowed; ``None`` if there is no such bar.
        note: What else is known, such as the figures of other libraries.
    """

    what: str
    value: float
    unit: str = ""
    at_most: float | None = None
    at_least: float | None = None
    note: str = ""

    @property
    def holds(self) -> bool:
        """Whether the figure is within its bar; true if it has none."""
        return (self.at_most is None or self.value <= self.at_most) and (
            self.at_least is None or self.value >= self.at_least
        )

    def __str__(self) -> str:
        bar = "no bar"
        if self.at_most is not None:
            bar = f"at most {self.at_most:g} {self.unit}"
        elif self.at_least is not None:
            bar = f"at least {self.at_least:g} {self.unit}"
        mark = "" if self.holds else "MISSED"
        return f"{self.what:44} {self.value:8.2f} {self.unit:2}   {bar:16} {mark:6}   {self.note}".rstrip()


def per_unit(work: Callable[[], object], units: int, *, clock: Callable[[], float] = time.perf_counter) -> Contestant:
    """Return a contestant that times ``work``, which does ``units`` of something."""

    def contestant() -> float:
        begun = clock()
        work()
        return (clock() - begun) / units

    return contestant


def interleaved(contestants: Mapping[str, Contestant], *, rounds: int) -> dict[str, list[float]]:
    """Run all contestants in turn, ``rounds`` times after one that does not count; return seconds per unit."""
    for contestant in contestants.values():
        contestant()
    times: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(rounds):
        for name, contestant in contestants.items():
            times[name].append(contestant())
    return times


def added_us(times: Mapping[str, list[float]], name: str, base: str) -> float:
    """Return how much longer than ``base`` it takes: the median of the differences in each round, in µs."""
    return statistics.median(a - b for a, b in zip(times[name], times[base], strict=True)) * 1e6


def ratio(times: Mapping[str, list[float]], name: str, base: str) -> float:
    """Return how many times as long as ``base`` it takes: the median of the ratios in each round."""
    return statistics.median(a / b for a, b in zip(times[name], times[base], strict=True))
