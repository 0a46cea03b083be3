"""What one page looks at, and what it is told: everything at first, then what has changed."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

from ._figures import Span, cells, changed_buckets
from ._overview import overview
from ._runs import runs

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ._events import Cursor
    from ._stores import Stores

RUNS = 50
MOST_BUCKETS = 200
MOST_STEP_MS = 7 * 24 * 3600 * 1000


class News(NamedTuple):
    """Hold an answer, written as JSON already, and the cursor to go on from."""

    cursor: str
    body: bytes


class View:
    """What one page looks at: an AI Config in a span of time; where none is named, the one heard of last."""

    def __init__(self, stores: Stores, query: Mapping[str, str]) -> None:
        """Read the query.

        Args:
            stores: What to tell of.
            query: ``config_key``, ``step_ms`` and ``buckets``.

        Raises:
            ValueError: A value in it is no number, or out of range.
        """
        self._stores = stores
        self._config_key = query.get("config_key", "")
        self._span = Span(
            whole(query, "step_ms", 60_000, least=1000, most=MOST_STEP_MS),
            whole(query, "buckets", 60, most=MOST_BUCKETS),
        )

    def since(self, known: str | None) -> News:
        """Return what has changed since a cursor, or everything where it is unknown; may take a second."""
        events, flags = self._stores.events, self._stores.flags.payload["flags"]
        now = events.cursor
        configs = overview(events, flags)
        since = _id_in(known, now) if self._config_key else 0
        config_key = self._config_key or _latest(configs)
        if any(config["runs"] for config in configs):  # before that, what comes first is to be looked at
            self._config_key = config_key
        numbers = self._span.numbers()
        changed = changed_buckets(events, config_key, since=since, span=self._span) if since else numbers
        newest = runs(events, config_key, after=since, limit=RUNS)
        cursor = f"{now.era}.{now.id}"
        news = {
            "cursor": cursor,
            "complete": not since,
            "configKey": config_key,
            "stepMs": self._span.step_ms,
            "firstBucket": numbers.start,
            "buckets": len(numbers),
            "configs": configs,
            "cells": cells(events, config_key, step_ms=self._span.step_ms, buckets=changed),
            "runs": newest,
            "allRuns": len(newest) < RUNS,
        }
        return News(cursor, json.dumps(news, separators=(",", ":"), allow_nan=False).encode())


def whole(query: Mapping[str, str], name: str, default: int, *, least: int = 1, most: int) -> int:
    """Return a number in a query.

    Raises:
        ValueError: It is none, or out of range.
    """
    text = query.get(name, str(default))
    if not text.isdecimal() or not least <= int(text[:20]) <= most:
        raise ValueError(f"{name} must be a whole number from {least} to {most}")
    return int(text)


def _latest(configs: list[dict[str, Any]]) -> str:
    latest = max(configs, key=lambda config: int(config["lastId"]), default={"configKey": ""})
    return str(latest["configKey"])


def _id_in(cursor: str | None, now: Cursor) -> int:
    """Return the event id that a cursor of this era names, else 0."""
    era, _, number = (cursor or "").partition(".")
    return int(number) if era == now.era and number.isdecimal() and len(number) < 20 and int(number) <= now.id else 0
