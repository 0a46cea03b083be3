"""Keep the events that SDKs send, as received, in SQLite."""

from __future__ import annotations

import json
import sqlite3
import threading
import time
import uuid
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from . import _schema as schema

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

Event = dict[str, Any]
Filters = Mapping[str, str | None]

FILTERS = {
    "kind": "kind = :kind",
    "key": "key = :key",
    "config_key": "config_key = :config_key",
    "run_id": "run_id = :run_id",
}


class Cursor(NamedTuple):
    """Name a point in the flow of events.

    Attributes:
        era: Changes when events are forgotten, as their ids may then come again.
        id: Id of the newest event; 0 where there is none.
    """

    era: str
    id: int


class InvalidPayloadError(ValueError):
    """Say that a payload is no JSON array."""


class EventStore:
    """Hold every event once, however often its payload is sent. Safe to use from any thread."""

    def __init__(self, path: Path | None = None) -> None:
        """Open the database.

        Args:
            path: The SQLite file, created where absent; ``None`` keeps the events in memory.

        Raises:
            sqlite3.Error: The file cannot be opened, or is something else.
        """
        self._changed = threading.Condition()
        self._connection = sqlite3.connect(path or ":memory:", check_same_thread=False)
        # A lone surrogate is legal in JSON and has no UTF-8: show it as a replacement character.
        self._connection.text_factory = lambda text: text.decode(errors="replace")
        try:
            schema.prepare(self._connection)
        except sqlite3.Error:
            self._connection.close()
            raise
        self._duplicates = 0
        self._cursor = self._new_era()

    @property
    def cursor(self) -> Cursor:
        """Tell how far the events go by now."""
        return self._cursor

    def add(self, payload_id: str, body: bytes) -> bool:
        """Store the events of one payload.

        Args:
            payload_id: The SDK's id of the payload; a retry carries the same.
            body: A JSON array of events.

        Returns:
            False where the payload had been stored before.

        Raises:
            InvalidPayloadError: The body is no JSON array; nothing is stored.
        """
        text = body.decode(errors="replace")
        with self._changed:
            if self._one("SELECT CASE WHEN json_valid(:body) THEN json_type(:body) END", body=text) != "array":
                raise InvalidPayloadError("the payload is not a JSON array of events")
            if self._one("SELECT 1 FROM events WHERE payload_id = :payload_id LIMIT 1", payload_id=payload_id):
                self._duplicates += 1
                return False
            with self._connection:
                schema.insert(self._connection, payload_id, text, int(time.time() * 1000))
            self._cursor = Cursor(self._cursor.era, schema.newest(self._connection))
            self._changed.notify_all()
        return True

    def events(self, filters: Filters) -> list[Event]:
        """Return the events as they came, oldest first.

        Args:
            filters: What ``kind``, ``key``, ``config_key`` or ``run_id`` must be; ``None`` does not filter.
        """
        return [json.loads(raw) for _, raw in self.rows(filters)]

    def rows(self, filters: Filters, *, since: int = 0, limit: int = -1) -> list[tuple[int, str]]:
        """Return (id, raw JSON) of events, oldest first.

        Args:
            filters: As for :meth:`events`.
            since: Only ids above this one.
            limit: At most so many; -1 for all.
        """
        statement = f"SELECT id, raw FROM events WHERE id > :since {_and(filters)} ORDER BY id LIMIT :limit"
        return self.select(statement, since=since, limit=limit, **filters)

    def count(self, filters: Filters) -> int:
        """Count events; filters as for :meth:`events`."""
        return int(self.select(f"SELECT count(*) FROM events WHERE true {_and(filters)}", **filters)[0][0])

    def select(self, statement: str, **values: str | int | None) -> list[tuple[Any, ...]]:
        """Return all rows of a SELECT statement."""
        with self._changed:
            return self._connection.execute(statement, values).fetchall()

    def wait_until(self, condition: Callable[[], bool], timeout: float) -> bool:
        """Wait until a condition on the stored events holds.

        Args:
            condition: Asked again after each payload.
            timeout: Seconds.

        Returns:
            False where it still does not hold after that time.
        """
        with self._changed:
            return self._changed.wait_for(condition, timeout)

    def totals(self) -> list[dict[str, Any]]:
        """Count and sum the custom events, per AI Config, variation and event key."""
        columns = "configKey", "variationKey", "key", "count", "sum"
        rows = self.select(
            "SELECT config_key, variation_key, key, count(*), sum(metric_value) FROM events"
            " WHERE kind = 'custom' GROUP BY 1, 2, 3 ORDER BY 1, 2, 3"
        )
        return [dict(zip(columns, row, strict=True)) for row in rows]

    def status(self) -> dict[str, int]:
        """Count events, payloads, and payloads that came more than once."""
        [(events, payloads)] = self.select("SELECT count(*), count(DISTINCT payload_id) FROM events")
        return {"events": events, "payloads": payloads, "duplicatePayloads": self._duplicates}

    def clear(self) -> None:
        """Forget every event and duplicate."""
        with self._changed:
            with self._connection:
                self._connection.execute("DELETE FROM events")
                self._connection.execute("DELETE FROM runs")
            self._duplicates = 0
            self._cursor = self._new_era()

    def close(self) -> None:
        """Close the database; the store is of no use afterwards."""
        with self._changed:
            self._connection.close()

    def _new_era(self) -> Cursor:
        return Cursor(uuid.uuid4().hex, schema.newest(self._connection))

    def _one(self, statement: str, **values: str) -> Any:
        row = self._connection.execute(statement, values).fetchone()
        return row[0] if row else None


def _and(filters: Filters) -> str:
    if unknown := filters.keys() - FILTERS.keys():
        raise TypeError(f"events cannot be filtered by {', '.join(sorted(unknown))}, only by {', '.join(FILTERS)}")
    return "".join(f" AND {FILTERS[name]}" for name, value in filters.items() if value is not None)
