"""The errors of estimates, by category and contestant."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Mapping
from typing import TypeAlias

# By contestant, the error of each estimate as a share of the truth.
Errors: TypeAlias = "defaultdict[str, list[float]]"


def by_category() -> defaultdict[str, Errors]:
    """Return an empty table of errors by category and contestant."""
    return defaultdict(lambda: defaultdict(list))


def print_errors(errors: Mapping[str, Mapping[str, list[float]]]) -> None:
    """Print a line for each category, the largest first."""
    for category, rows in sorted(errors.items(), key=lambda item: -len(item[1]["ours"])):
        figures = "   ".join(_figures(name, found, len(rows["ours"])) for name, found in rows.items())
        print(f"  {category:24} {len(rows['ours']):5}   {figures}")


def _figures(name: str, found: list[float], of: int) -> str:
    """Return the figures of a contestant, with the number of its estimates if it could not count everything."""
    counted = f" (counts {len(found)})" if len(found) != of else ""
    return (
        f"{name}{counted} {statistics.median(found):.1%} / {_percentile(found, 95):.1%}, "
        f"{share([not error for error in found])}"
    )


def _percentile(values: list[float], percent: int) -> float:
    return sorted(values)[min(len(values) - 1, len(values) * percent // 100)]


def share(hits: list[bool]) -> str:
    """Return how many of them are true, in percent."""
    return f"{sum(hits) / len(hits):.1%}" if hits else "-"
