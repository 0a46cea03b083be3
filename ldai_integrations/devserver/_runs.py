"""List runs, count those with warnings, and list the AI Configs with their problems."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from .._ai_configs import MODES
from ._checks import check_ai_config, list_ai_configs
from ._json import Json, shorten
from ._prices import ListPrices, read_prices

if TYPE_CHECKING:
    from ._events import EventStore

# An SDK sends its events every 5 s. After this time, the outcome of a run is not expected any more.
NO_OUTCOME_AFTER_MS = 60_000
MAX_CONFIGS = 200
MAX_TREE = 200

_WITHOUT_OUTCOME = "succeeded = 0 AND failed = 0 AND started_ms < :overdue_ms"
# This must equal the condition of the partial index. Otherwise SQLite does not use it.
_INDEXED = "(variation_key = '' OR (succeeded = 0 AND failed = 0))"
_LIST = """
SELECT run_id, variation_key, version, started_ms, last_id, succeeded, failed FROM runs
WHERE config_key = :config_key AND last_id > :after AND last_id < :before {condition}
ORDER BY last_id DESC LIMIT :limit
"""
_VALUES = """
SELECT run_id, key, count(metric_value), total(metric_value), max(json_extract(raw, '$.data.modelName')) FILTER (
    WHERE json_type(raw, '$.data.modelName') = 'text')
FROM events
WHERE run_id IN (SELECT value FROM json_each(:run_ids)) AND kind = 'custom' GROUP BY run_id, key
"""
# UNION, unlike UNION ALL, ends if runs name each other as their parents.
_TREE = """
WITH RECURSIVE ancestors (run_id, parent_run_id) AS (
    SELECT run_id, parent_run_id FROM runs WHERE run_id = :run_id
    UNION SELECT runs.run_id, runs.parent_run_id FROM runs JOIN ancestors ON runs.run_id = ancestors.parent_run_id
    LIMIT :most
), tree (run_id) AS (
    SELECT run_id FROM ancestors
    UNION SELECT runs.run_id FROM runs JOIN tree ON runs.parent_run_id = tree.run_id LIMIT :most
)
SELECT run_id, config_key, parent_run_id, started_ms, succeeded, failed FROM runs JOIN tree USING (run_id)
ORDER BY started_ms
"""
_COUNTS = """
SELECT config_key, count(*), max(last_id) FROM runs WHERE config_key IS NOT NULL
GROUP BY config_key ORDER BY max(last_id) DESC LIMIT :most
"""
_COUNTS_OF_SOME = f"""
SELECT config_key, count(CASE WHEN variation_key = '' THEN 1 END), count(CASE WHEN {_WITHOUT_OUTCOME} THEN 1 END)
FROM runs WHERE config_key IS NOT NULL AND {_INDEXED} AND (variation_key = '' OR ({_WITHOUT_OUTCOME}))
GROUP BY config_key
"""
_WITHOUT_OUTCOME_IN_TIME = f"""
SELECT variation_key, count(*) FROM runs
WHERE config_key = :config_key AND {_INDEXED} AND {_WITHOUT_OUTCOME}
  AND (:since_ms IS NULL OR started_ms >= :since_ms) AND (:until_ms IS NULL OR started_ms < :until_ms)
GROUP BY variation_key
"""
_READS = """
SELECT count(*) FROM events
WHERE key = :key AND key >= '$ld:ai:usage:' AND key < '$ld:ai:usage;' AND json_extract(raw, '$.data') = :config_key
"""


def list_runs(
    events: EventStore, config_key: str, *, after: int = 0, before: int = 2**62, limit: int, only_warnings: bool = False
) -> list[Json]:
    """Return runs of an AI Config; the run with the newest event comes first.

    Args:
        events: The events.
        config_key: Key of the AI Config.
        after: Only runs with an event above this id.
        before: Only runs without an event from this id on: the ``lastId`` of the last run of the previous page.
        limit: The maximum number.
        only_warnings: Only runs that got a default.
    """
    condition = f"AND {_INDEXED} AND variation_key = ''" if only_warnings else ""
    names = "runId", "variationKey", "version", "startedMs", "lastId", "successes", "errors"
    rows = events.select(
        _LIST.format(condition=condition), config_key=config_key, after=after, before=before, limit=limit
    )
    found = {row[0]: {**dict(zip(names, row, strict=True)), "modelName": "", "values": {}} for row in rows}
    for run_id, key, count, total, model in events.select(_VALUES, run_ids=json.dumps(list(found))):
        if run_id in found and key is not None:
            found[run_id]["values"][key] = (count, shorten(total))
            found[run_id]["modelName"] = found[run_id]["modelName"] or model or ""
    return list(found.values())


def list_tree(events: EventStore, run_id: str) -> list[Json]:
    """Return a run with the runs around it and in it, in the order of their start."""
    names = "runId", "configKey", "parentRunId", "startedMs", "successes", "errors"
    return [dict(zip(names, row, strict=True)) for row in events.select(_TREE, run_id=run_id, most=MAX_TREE)]


def list_configs(events: EventStore, flags: Json, list_prices: ListPrices | None) -> list[Json]:
    """Return the AI Configs that are served or that events name; those of the flag file come first.

    Returns:
        For each ``configKey``, ``mode`` (``None`` if no flag has it), ``runs``, ``lastId`` (of its newest event),
        ``defaults`` (runs that got a default), ``withoutOutcome`` (cancelled, or without an outcome a minute after
        their start) and ``problems``. ``prices`` are USD per token, by variation; ``listPriced`` names the variations
        whose prices come from the price list.
    """
    no_runs = {"runs": 0, "lastId": 0, "defaults": 0, "withoutOutcome": 0}
    counts = {
        key: {**no_runs, "runs": count, "lastId": last_id}
        for key, count, last_id in events.select(_COUNTS, most=MAX_CONFIGS)
    }
    for key, defaults, without_outcome in events.select(_COUNTS_OF_SOME, overdue_ms=_overdue_ms()):
        if key in counts:
            counts[key] |= {"defaults": defaults, "withoutOutcome": without_outcome}
    modes = {config.key: config.mode for config in list_ai_configs(flags)}
    found = []
    for key in dict.fromkeys([*modes, *counts]):
        prices = read_prices(flags.get(key), list_prices)
        found.append(
            {
                "configKey": key,
                "mode": modes.get(key),
                **counts.get(key, no_runs),
                "prices": {
                    variation: {side: float(price) for side, price in known.by_side.items()}
                    for variation, known in prices.items()
                },
                "listPriced": [variation for variation, known in prices.items() if known.are_listed],
                "problems": list(_find_problems(events, flags, key, modes.get(key))),
            }
        )
    return found


def count_without_outcome(
    events: EventStore, config_key: str, since_ms: int | None, until_ms: int | None
) -> list[tuple[str, int]]:
    """Return how many runs of each variation were cancelled, or have no outcome a minute after their start.

    Args:
        events: The events.
        config_key: Key of the AI Config.
        since_ms: Earlier runs do not count, in milliseconds since the epoch; ``None`` for all.
        until_ms: Runs from this time on do not count; ``None`` for all.
    """
    window = {"since_ms": since_ms, "until_ms": until_ms, "overdue_ms": _overdue_ms()}
    return events.select(_WITHOUT_OUTCOME_IN_TIME, config_key=config_key, **window)


def _find_problems(events: EventStore, flags: Json, key: str, mode: str | None) -> Iterator[str]:
    """Yield the problems in the flag file, and one if the application reads the AI Config with the wrong mode."""
    if key in flags:
        yield from map(str, check_ai_config(key, flags[key]))
    for other in MODES if mode in MODES else ():
        if other == mode:
            continue
        [(reads,)] = events.select(_READS, key=f"$ld:ai:usage:{other}-config", config_key=key)
        if reads:
            yield (
                f"Read with the wrong mode: {other}_config() was called ({reads} so far), but the mode of the AI Config"
                f" is '{mode}'. The result has no text. Call {mode}_config(), or change the mode."
            )


def _overdue_ms() -> int:
    return int(time.time() * 1000) - NO_OUTCOME_AFTER_MS
