"""Keep the events that SDKs send, as received, in SQLite."""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

Event = dict[str, Any]
Filters = Mapping[str, str | None]

SCHEMA_VERSION = 1
SCHEMA = """
CREATE TABLE IF NOT EXISTS events (
    id            INTEGER PRIMARY KEY,
    payload_id    TEXT NOT NULL,
    position      INTEGER NOT NULL,   -- in the payload
    received_ms   INTEGER NOT NULL,   -- since the epoch, by this machine's clock
    created_ms    INTEGER,            -- since the epoch, by the SDK's clock
    kind          TEXT,
    key           TEXT,
    run_id        TEXT,
    config_key    TEXT,
    variation_key TEXT NOT NULL,      -- empty where the caller's default was served
    version       INTEGER,
    metric_value  NUMERIC,
    raw           TEXT NOT NULL,      -- the event as it came; contexts are kept nowhere else
    UNIQUE (payload_id, position)
);
CREATE INDEX IF NOT EXISTS events_by_config ON events (config_key, created_ms);
CREATE INDEX IF NOT EXISTS events_by_run ON events (run_id);
"""
# SQLite takes the payload apart itself: several times faster than Python, and other threads go on meanwhile.
INSERT = """
INSERT INTO events (payload_id, position, received_ms, created_ms, kind, key,
                    run_id, config_key, variation_key, version, metric_value, raw)
SELECT :payload_id, event.key, :received_ms,
       json_extract(event.value, '$.creationDate'),
       json_extract(event.value, '$.kind'),
       json_extract(event.value, '$.key'),
       json_extract(event.value, '$.data.runId'),
       json_extract(event.value, '$.data.configKey'),
       coalesce(json_extract(event.value, '$.data.variationKey'), ''),
       json_extract(event.value, '$.data.version'),
       CASE WHEN json_type(event.value, '$.metricValue') IN ('integer', 'real')
            THEN json_extract(event.value, '$.metricValue') END,
       event.value
FROM json_each(:body) AS event
WHERE event.type = 'object'
"""
FILTERS = {
    "kind": "kind = :kind",
    "key": "key = :key",
    "config_key": "config_key = :config_key",
    "run_id": "run_id = :run_id",
}


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
            self._prepare()
        except sqlite3.Error:
            self._connection.close()
            raise
        self._duplicates = 0

    def _prepare(self) -> None:
        (found,) = self._connection.execute("PRAGMA user_version").fetchone()
        if found not in (0, SCHEMA_VERSION):
            raise sqlite3.DatabaseError(f"its layout has version {found}, this program writes {SCHEMA_VERSION}")
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.execute("PRAGMA synchronous = NORMAL")
        self._connection.executescript(f"{SCHEMA}PRAGMA user_version = {SCHEMA_VERSION};")

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
        values = {"payload_id": payload_id, "received_ms": int(time.time() * 1000), "body": text}
        with self._changed:
            if self._one("SELECT CASE WHEN json_valid(:body) THEN json_type(:body) END", body=text) != "array":
                raise InvalidPayloadError("the payload is not a JSON array of events")
            if self._one("SELECT 1 FROM events WHERE payload_id = :payload_id LIMIT 1", payload_id=payload_id):
                self._duplicates += 1
                return False
            with self._connection:
                self._connection.execute(INSERT, values)
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
            self._duplicates = 0

    def close(self) -> None:
        """Close the database; the store is of no use afterwards."""
        with self._changed:
            self._connection.close()

    def _one(self, statement: str, **values: str) -> Any:
        row = self._connection.execute(statement, values).fetchone()
        return row[0] if row else None


def _and(filters: Filters) -> str:
    if unknown := filters.keys() - FILTERS.keys():
        raise TypeError(f"events cannot be filtered by {', '.join(sorted(unknown))}, only by {', '.join(FILTERS)}")
    return "".join(f" AND {FILTERS[name]}" for name, value in filters.items() if value is not None)
