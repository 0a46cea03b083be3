"""Sum up the events of an AI Config over time, for the page.

Time is cut into buckets of equal length, counted from the epoch. A cell is what one variation has in one bucket: for
each event key how many values came and their sum, and for times also which values, to three significant digits: the
percentiles of any number of cells together are those of their values together. A cell is always told as a whole, so
that it may be told again.

Every statement reads a few thousand entries of one index, so that events go on being stored between any two.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ._events import EventStore

TIMES = ("$ld:ai:duration:total", "$ld:ai:tokens:ttf")
# A program that invents keys without end gets no figures for most of them.
MOST_KEYS = 64

# SQLite has no index scan that skips equal values: step from one key to the next.
_KEYS = """
WITH RECURSIVE keys (key) AS (
    SELECT min(key) FROM events WHERE config_key = :config_key AND kind = 'custom'
    UNION ALL
    SELECT (SELECT min(key) FROM events WHERE config_key = :config_key AND kind = 'custom' AND key > keys.key)
    FROM keys WHERE keys.key IS NOT NULL LIMIT :most
)
SELECT key FROM keys WHERE key IS NOT NULL
"""
_VALUES = """
FROM events
WHERE config_key = :config_key AND kind = 'custom' AND key = :key AND created_ms >= :since_ms AND created_ms < :until_ms
  AND metric_value IS NOT NULL
"""
_SUMS = f"SELECT variation_key, count(*), total(metric_value) {_VALUES} GROUP BY variation_key"
_TIMES = f"""
SELECT variation_key,
       CASE WHEN metric_value < 1000 THEN CAST(round(metric_value) AS INTEGER)
            WHEN metric_value < 10000 THEN 10 * CAST(round(metric_value / 10.0) AS INTEGER)
            WHEN metric_value < 100000 THEN 100 * CAST(round(metric_value / 100.0) AS INTEGER)
            ELSE 1000 * CAST(round(metric_value / 1000.0) AS INTEGER) END AS value,
       count(*)
{_VALUES} GROUP BY value, variation_key
"""
# By the order of arrival alone: what is new is little, whatever else an index offers.
_CHANGED = """
SELECT DISTINCT CAST(created_ms / :step_ms AS INTEGER) FROM events NOT INDEXED
WHERE id > :since AND config_key = :config_key AND created_ms >= :since_ms AND created_ms < :until_ms
"""


@dataclass(frozen=True)
class Span:
    """Say how time is cut.

    Attributes:
        step_ms: Length of a bucket.
        buckets: How many there are, the last of them around now.
    """

    step_ms: int
    buckets: int

    def numbers(self) -> range:
        """Return the numbers of the buckets: number n begins n steps after the epoch."""
        now = int(time.time() * 1000) // self.step_ms
        return range(now - self.buckets + 1, now + 1)


@dataclass
class _Cell:
    values: dict[str, tuple[int, float | None]] = field(default_factory=dict)
    times: dict[str, list[tuple[float, int]]] = field(default_factory=dict)


def cells(events: EventStore, config_key: str, *, step_ms: int, buckets: Iterable[int]) -> list[dict[str, Any]]:
    """Return what is in the buckets, variation by variation; what is empty is left out.

    Args:
        events: Where to look.
        config_key: Key of the AI Config.
        step_ms: Length of a bucket.
        buckets: Their numbers.

    Returns:
        For each cell ``variationKey``, ``bucket``, ``values`` (by event key: count and sum), and ``times`` (by event
        key: pairs of a value and its count).
    """
    keys = [key for (key,) in events.select(_KEYS, config_key=config_key, most=MOST_KEYS)]
    found = []
    for bucket in buckets:
        in_bucket = _in_bucket(events, config_key, keys, bucket, step_ms)
        found += [
            {"variationKey": variation, "bucket": bucket, "values": cell.values, "times": cell.times}
            for variation, cell in in_bucket.items()
        ]
    return found


def changed_buckets(events: EventStore, config_key: str, *, since: int, span: Span) -> list[int]:
    """Return the numbers of those buckets of a span that events above an id fall into."""
    numbers = span.numbers()
    window = {"since_ms": numbers.start * span.step_ms, "until_ms": numbers.stop * span.step_ms}
    rows = events.select(_CHANGED, config_key=config_key, since=since, step_ms=span.step_ms, **window)
    return sorted(number for (number,) in rows)


def finite(total: float) -> float | None:
    """Return a sum that JSON can carry: a whole number where it is one, ``None`` where it is past all numbers."""
    if not math.isfinite(total):
        return None
    return int(total) if total.is_integer() else total


def _in_bucket(events: EventStore, config_key: str, keys: list[str], bucket: int, step_ms: int) -> dict[str, _Cell]:
    window = {"since_ms": bucket * step_ms, "until_ms": (bucket + 1) * step_ms}
    found: dict[str, _Cell] = {}
    for key in keys:
        for variation, count, total in events.select(_SUMS, config_key=config_key, key=key, **window):
            found.setdefault(variation, _Cell()).values[key] = (count, finite(total))
        if key in TIMES:
            for variation, value, count in events.select(_TIMES, config_key=config_key, key=key, **window):
                found[variation].times.setdefault(key, []).append((value, count))
    return found
