"""Compute the figures of an AI Config over time, for the page.

Time is divided into buckets of equal length, counted from the epoch. A cell contains the values of one variation in
one bucket: the count and the sum for each event key. For times, a cell also contains the values themselves, rounded to
three significant digits, so that percentiles of several cells can be computed. A cell is always sent as a whole, so
that it may be sent again.

Every statement reads a few thousand entries of one index only, so that events can be stored between two statements.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable
from typing import TYPE_CHECKING

from ._json import Json, shorten

if TYPE_CHECKING:
    from ._events import EventStore

TIMES = ("$ld:ai:duration:total", "$ld:ai:graph:duration:total", "$ld:ai:tokens:ttf")
# An application that creates a new key for each event gets figures for the first keys only.
MAX_KEYS = 64

# SQLite cannot skip equal values in an index scan. Therefore this goes from one key to the next.
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
# NOT INDEXED makes SQLite read the new events by their id. They are few.
_CHANGED = """
SELECT DISTINCT CAST(created_ms / :step_ms AS INTEGER) FROM events NOT INDEXED
WHERE id > :since AND config_key = :config_key AND created_ms >= :since_ms AND created_ms < :until_ms
"""


def current_buckets(step_ms: int, count: int) -> range:
    """Return the numbers of the newest buckets; the last one contains the present. Bucket n begins n steps after 1970.

    Args:
        step_ms: Length of a bucket.
        count: How many buckets.
    """
    now = int(time.time() * 1000) // step_ms
    return range(now - count + 1, now + 1)


def read_cells(events: EventStore, config_key: str, *, step_ms: int, buckets: Iterable[int]) -> list[Json]:
    """Return the cells of some buckets, without empty ones.

    Args:
        events: The events.
        config_key: Key of the AI Config.
        step_ms: Length of a bucket.
        buckets: Their numbers.

    Returns:
        For each cell ``variationKey``, ``bucket``, ``values`` (by event key: count and sum), and ``times`` (by event
        key: pairs of a value and its count).
    """
    keys = [key for (key,) in events.select(_KEYS, config_key=config_key, most=MAX_KEYS)]
    found: list[Json] = []
    for bucket in buckets:
        window = {"since_ms": bucket * step_ms, "until_ms": (bucket + 1) * step_ms}
        cells: defaultdict[str, Json] = defaultdict(lambda: {"values": {}, "times": defaultdict(list)})
        for key in keys:
            for variation, count, total in events.select(_SUMS, config_key=config_key, key=key, **window):
                cells[variation]["values"][key] = (count, shorten(total))
            if key in TIMES:
                for variation, value, count in events.select(_TIMES, config_key=config_key, key=key, **window):
                    # An event may have been stored since the sums were read.
                    cells[variation]["times"][key].append((value, count))
        found += [{"variationKey": variation, "bucket": bucket, **cell} for variation, cell in cells.items()]
    return found


def find_changed_buckets(events: EventStore, config_key: str, *, step_ms: int, buckets: range, since: int) -> list[int]:
    """Return the numbers of those buckets that have events with a greater id than ``since``."""
    window = {"since_ms": buckets.start * step_ms, "until_ms": buckets.stop * step_ms}
    rows = events.select(_CHANGED, config_key=config_key, since=since, step_ms=step_ms, **window)
    return sorted(number for (number,) in rows)
