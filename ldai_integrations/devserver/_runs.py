"""List runs, newest first, and count those that somebody should look at."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

from ._figures import finite

if TYPE_CHECKING:
    from ._events import EventStore

# An SDK sends every 5 s; a run that has said nothing of its end for this long hardly will.
NO_OUTCOME_AFTER_MS = 60_000
MOST_CONFIGS = 200

_WITHOUT_OUTCOME = "succeeded = 0 AND failed = 0 AND started_ms < :overdue_ms"
# The first line is what the partial index stands for.
_TO_WARN_OF = f"""
(variation_key = '' OR (succeeded = 0 AND failed = 0))
AND (variation_key = '' OR ({_WITHOUT_OUTCOME}))
"""
_LIST = """
SELECT run_id, variation_key, version, started_ms, last_id, succeeded, failed FROM runs
WHERE config_key = :config_key AND last_id > :after AND last_id < :before {condition}
ORDER BY last_id DESC LIMIT :limit
"""
_VALUES = """
SELECT run_id, key, count(metric_value), total(metric_value), max(json_extract(raw, '$.data.modelName'))
FROM events
WHERE run_id IN (SELECT value FROM json_each(:run_ids)) AND kind = 'custom' GROUP BY run_id, key
"""
_COUNTS = """
SELECT config_key, count(*), max(last_id) FROM runs WHERE config_key IS NOT NULL
GROUP BY config_key ORDER BY max(last_id) DESC LIMIT :most
"""
_WARNINGS = f"""
SELECT config_key, count(CASE WHEN variation_key = '' THEN 1 END), count(CASE WHEN {_WITHOUT_OUTCOME} THEN 1 END)
FROM runs WHERE config_key IS NOT NULL AND {_TO_WARN_OF} GROUP BY config_key
"""


def runs(
    events: EventStore, config_key: str, *, after: int = 0, before: int = 2**62, limit: int, to_warn_of: bool = False
) -> list[dict[str, Any]]:
    """Return runs of an AI Config, the one with the newest event first.

    Args:
        events: Where to look.
        config_key: Key of the AI Config.
        after: Only runs with an event above this id.
        before: Only runs without an event from this id on: the ``lastId`` of the last one of the page before.
        limit: At most so many.
        to_warn_of: Only those that a default was served to, or that have no outcome long after their start.
    """
    condition = f"AND {_TO_WARN_OF}" if to_warn_of else ""
    overdue = {"overdue_ms": _overdue_ms()} if to_warn_of else {}
    names = "runId", "variationKey", "version", "startedMs", "lastId", "successes", "errors"
    rows = events.select(
        _LIST.format(condition=condition), config_key=config_key, after=after, before=before, limit=limit, **overdue
    )
    found = {row[0]: {**dict(zip(names, row, strict=True)), "modelName": "", "values": {}} for row in rows}
    for run_id, key, count, total, model in events.select(_VALUES, run_ids=json.dumps(list(found))):
        if run_id in found and key is not None:
            found[run_id]["values"][key] = (count, finite(total))
            found[run_id]["modelName"] = found[run_id]["modelName"] or model or ""
    return list(found.values())


def counts(events: EventStore) -> dict[str, dict[str, int]]:
    """Count the runs of each AI Config that events name, those of the newest event first: ``runs``, ``lastId``,
    ``defaults`` (a default was served), ``withoutOutcome``."""
    found = {
        key: {"runs": count, "lastId": last_id, "defaults": 0, "withoutOutcome": 0}
        for key, count, last_id in events.select(_COUNTS, most=MOST_CONFIGS)
    }
    for key, defaults, without_outcome in events.select(_WARNINGS, overdue_ms=_overdue_ms()):
        if key in found:
            found[key] |= {"defaults": defaults, "withoutOutcome": without_outcome}
    return found


def _overdue_ms() -> int:
    return int(time.time() * 1000) - NO_OUTCOME_AFTER_MS
