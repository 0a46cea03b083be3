"""Store the events that SDKs send, as received, in SQLite."""

from __future__ import annotations

import logging
import os
import sqlite3
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from .._files import create_privately, refuse_code
from . import _schema as schema
from ._json import Json, is_nested_too_deeply, parse_event, shorten

logger = logging.getLogger("ldai_integrations.devserver")

Event = Json
Filters = Mapping[str, str | None]

#: The text of the error for a database file that is not the one that was opened any more.
DELETED = "the file was deleted or replaced"
FILTERS = ("kind", "key", "config_key", "run_id")


class Cursor(NamedTuple):
    """A position in the sequence of events.

    Attributes:
        era: Changes when events are deleted, because their ids may be used again.
        id: Id of the newest event; 0 if there is none.
    """

    era: str
    id: int


class EventStore:
    """The received events. Each is stored once, even if its payload is sent again. Any thread may use it.

    Args:
        path: The SQLite file, created if it does not exist; ``None`` keeps the events in memory.

    Raises:
        sqlite3.Error: The file cannot be opened, is not a database of this server, or has triggers or views.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._changed = threading.Condition()
        self._writing = threading.Lock()  # held by one payload until all of its events are stored
        if path is not None:
            create_privately(path)
        self._connection = sqlite3.connect(path or ":memory:", check_same_thread=False)
        self._connection.text_factory = schema.decode
        try:
            refuse_code(self._connection)
            schema.prepare(self._connection)
        except sqlite3.Error:
            self._connection.close()
            raise
        # An absolute path: the working directory may change.
        self._file = (path.absolute(), path.stat()) if path is not None else None
        self._duplicates = 0
        #: The position of the newest event.
        self.cursor = self._start_era()

    def add(self, payload_id: str, body: bytes) -> bool:
        """Store the events of one payload.

        Args:
            payload_id: The SDK's id of the payload; a retry has the same id.
            body: A JSON array of events.

        Returns:
            False if the payload was already stored.

        Raises:
            ValueError: The body is not a JSON array, is nested too deeply, or has too many events; nothing is stored.
            sqlite3.Error: The database cannot be written, or its file was deleted.
        """
        with self._writing:
            self._check_file()
            if self.select("SELECT 1 FROM events WHERE payload_id = :payload_id LIMIT 1", payload_id=payload_id):
                self._duplicates += 1
                return False
            try:
                out_of_range = self._insert(payload_id, body.decode(errors="replace"))
            except BaseException:
                with self._changed:
                    self._connection.rollback()
                raise
            with self._changed:
                self._connection.commit()
                self.cursor = Cursor(self.cursor.era, schema.read_newest_id(self._connection))
                self._changed.notify_all()
        if out_of_range is not None:
            logger.warning(
                "Refused the metric value %g of an event %r, because it is not between %s and 2**53. The event is"
                " stored, but does not count in the figures. Check the code that tracks it.",
                out_of_range[1],
                out_of_range[0],
                "0" if out_of_range[0] in schema.NOT_NEGATIVE else "-2**53",
            )
        return True

    def _check_file(self) -> None:
        """Refuse to store events in a file that nobody can open any more."""
        if self._file is None:
            return
        path, opened = self._file
        try:
            is_deleted = not os.path.samestat(path.stat(), opened)
        except OSError:
            is_deleted = True
        if is_deleted:
            raise sqlite3.OperationalError(DELETED)

    def _insert(self, payload_id: str, body: str) -> tuple[str | None, float] | None:
        """Store events, and let others read in between; return one whose metric value is out of range."""
        received_ms, out_of_range = int(time.time() * 1000), None
        for events in schema.split(body):
            if any(is_nested_too_deeply(raw) for _, raw in events if len(raw) > schema.LONG_EVENT):
                raise ValueError("an event is nested too deeply")
            with self._changed:
                out_of_range = schema.insert(self._connection, payload_id, events, received_ms) or out_of_range
        return out_of_range

    def events(self, filters: Filters) -> list[Event]:
        """Return the events as received, oldest first.

        Args:
            filters: The values of ``kind``, ``key``, ``config_key`` or ``run_id``; ``None`` does not filter.
        """
        return [parse_event(raw) for _, raw in self.rows(filters)]

    def rows(self, filters: Filters, *, since: int = 0, limit: int = -1) -> list[tuple[int, str]]:
        """Return id and raw JSON of events, oldest first.

        Args:
            filters: As for :meth:`events`.
            since: Only greater ids.
            limit: The maximum number; -1 for all.
        """
        statement = (
            f"SELECT id, raw FROM events WHERE id > :since {_write_conditions(filters)} ORDER BY id LIMIT :limit"
        )
        return self.select(statement, since=since, limit=limit, **filters)

    def count(self, filters: Filters) -> int:
        """Count events; filters as for :meth:`events`."""
        return int(self.select(f"SELECT count(*) FROM events WHERE true {_write_conditions(filters)}", **filters)[0][0])

    def select(self, statement: str, **values: str | int | None) -> list[tuple[Any, ...]]:
        """Return all rows of a SELECT statement."""
        with self._changed:
            return self._connection.execute(statement, values).fetchall()

    def wait_until(self, condition: Callable[[], bool], timeout: float) -> bool:
        """Wait until a condition on the stored events is true.

        Args:
            condition: Evaluated again after each payload.
            timeout: Seconds.

        Returns:
            False if the condition is still false after that time.
        """
        with self._changed:
            return self._changed.wait_for(condition, timeout)

    def totals(self) -> list[dict[str, object]]:
        """Return count and sum of the custom events, per AI Config, variation and event key."""
        rows = self.select(
            "SELECT config_key, variation_key, key, count(*), count(metric_value), total(metric_value) FROM events"
            " WHERE kind = 'custom' GROUP BY 1, 2, 3 ORDER BY 1, 2, 3"
        )
        return [
            {
                "configKey": config_key,
                "variationKey": variation_key,
                "key": key,
                "count": count,
                "sum": shorten(total) if values else None,
            }
            for config_key, variation_key, key, count, values, total in rows
        ]

    def status(self) -> dict[str, int]:
        """Return the numbers of events, payloads, and payloads that were sent again."""
        [(events, payloads)] = self.select("SELECT count(*), count(DISTINCT payload_id) FROM events")
        return {"events": events, "payloads": payloads, "duplicatePayloads": self._duplicates}

    def clear(self) -> None:
        """Delete every event and reset the number of duplicates."""
        with self._writing, self._changed:
            with self._connection:
                self._connection.execute("DELETE FROM events")
                self._connection.execute("DELETE FROM runs")
            self._duplicates = 0
            self.cursor = self._start_era()

    def close(self) -> None:
        """Close the database. The store cannot be used afterwards."""
        with self._changed:
            self._connection.close()

    def _start_era(self) -> Cursor:
        return Cursor(uuid.uuid4().hex, schema.read_newest_id(self._connection))


def _write_conditions(filters: Filters) -> str:
    """Return the filters as SQL."""
    if unknown := filters.keys() - set(FILTERS):
        raise TypeError(f"events cannot be filtered by {', '.join(sorted(unknown))}, only by {', '.join(FILTERS)}")
    return "".join(f" AND {name} = :{name}" for name, value in filters.items() if value is not None)
