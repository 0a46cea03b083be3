"""The SQLite schema of the events: tables, indexes, and the upgrade of older files."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing

# 0 is a file without tables. 1 had no runs. 2 had metric values of any size, and 3 the other values of any type. In 4,
# runs had no parent, and those of agent graphs no outcome. In 5, times and tokens could be negative.
VERSION = 6

# The largest integer that every JSON reader takes exactly. No real metric value, time, version or count is larger.
MAX_VALUE = 2**53
# Ten times as many events as the buffer of an SDK holds by default. To store them takes about two seconds.
MAX_EVENTS = 100_000
# So many events are stored at a time, in about 20 ms. Other threads read the database in between.
BATCH = 1000
# A shorter event than this is not nested deeper than Python reads. An event of our runs has about 320 characters.
LONG_EVENT = 1000
# The keys of times and tokens, whose values are 0 or more. Costs are computed from tokens.
NOT_NEGATIVE = (
    "$ld:ai:duration:total",
    "$ld:ai:graph:duration:total",
    "$ld:ai:tokens:ttf",
    "$ld:ai:tokens:input",
    "$ld:ai:tokens:output",
    "$ld:ai:tokens:total",
    "$ld:ai:graph:total_tokens",
)

_NAMES = ("events", "runs")
_TABLES = """
CREATE TABLE IF NOT EXISTS events (
    id            INTEGER PRIMARY KEY,
    payload_id    TEXT NOT NULL,
    position      INTEGER NOT NULL,   -- in the payload
    received_ms   INTEGER NOT NULL,   -- since the epoch, by the clock of this machine
    created_ms    INTEGER,            -- since the epoch, by the clock of the SDK
    kind          TEXT,
    key           TEXT,
    run_id        TEXT,
    config_key    TEXT,               -- of an agent graph in its events, which name nothing else
    variation_key TEXT NOT NULL,      -- empty if the caller's default was served
    version       INTEGER,
    metric_value  NUMERIC,
    raw           TEXT NOT NULL,      -- the event as received; contexts are stored here only
    UNIQUE (payload_id, position)
);
CREATE INDEX IF NOT EXISTS events_by_run ON events (run_id);
-- Contains all columns that figures over time need, so that SQLite reads the index only.
DROP INDEX IF EXISTS events_by_config;
CREATE INDEX IF NOT EXISTS events_in_time
    ON events (config_key, kind, key, created_ms, variation_key, metric_value);
-- The AI SDK sends an event for each evaluation of an AI Config. Its data is the config key.
CREATE INDEX IF NOT EXISTS events_of_reads
    ON events (key, json_extract(raw, '$.data')) WHERE key >= '$ld:ai:usage:' AND key < '$ld:ai:usage;';

CREATE TABLE IF NOT EXISTS runs (
    run_id        TEXT PRIMARY KEY,
    config_key    TEXT,
    variation_key TEXT NOT NULL,
    version       INTEGER,
    started_ms    INTEGER NOT NULL,   -- the creation time of its first event, or its end less its duration
    last_id       INTEGER NOT NULL,   -- the id of its newest event
    succeeded     INTEGER NOT NULL,   -- the number of success events
    failed        INTEGER NOT NULL,   -- the number of error events
    parent_run_id TEXT                -- the run in which it was opened
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS runs_by_parent ON runs (parent_run_id) WHERE parent_run_id IS NOT NULL;
CREATE INDEX IF NOT EXISTS runs_by_config ON runs (config_key, last_id);
CREATE INDEX IF NOT EXISTS runs_to_warn_of ON runs (config_key, last_id)
    WHERE variation_key = '' OR (succeeded = 0 AND failed = 0);
"""


def _number(path: str, least: int = 0) -> str:
    """Return the SQL expression of a number in an event; NULL if it has another type or is out of range."""
    value = f"json_extract(event.value, '{path}')"
    is_number = f"json_type(event.value, '{path}') IN ('integer', 'real')"
    return f"CASE WHEN {is_number} AND {value} BETWEEN {least} AND {MAX_VALUE} THEN {value} END"


def _text(path: str) -> str:
    """Return the SQL expression of a text in an event; NULL if it has another type."""
    return f"CASE WHEN json_type(event.value, '{path}') = 'text' THEN json_extract(event.value, '{path}') END"


_VALUES = f"""
CAST({_number("$.creationDate")} AS INTEGER), {_text("$.kind")}, {_text("$.key")}, {_text("$.data.runId")},
coalesce({_text("$.data.configKey")}, {_text("$.data.graphKey")}), coalesce({_text("$.data.variationKey")}, ''),
CAST({_number("$.data.version")} AS INTEGER),
CASE WHEN {_text("$.key")} IN {NOT_NEGATIVE} THEN {_number("$.metricValue")}
     ELSE {_number("$.metricValue", -MAX_VALUE)} END
"""
_COLUMNS = "created_ms, kind, key, run_id, config_key, variation_key, version, metric_value"
# A value of a wrong type or out of range is stored in the raw event only.
_INSERT_EVENT = f"""
INSERT INTO events (payload_id, position, received_ms, raw, {_COLUMNS})
SELECT ?, event.position, ?, event.value, {_VALUES} FROM (SELECT ? AS position, ? AS value) AS event
"""
_COUNT = """
SELECT CASE WHEN json_valid(:body) THEN CASE json_type(:body) WHEN 'array' THEN json_array_length(:body) END END
"""
_READ_AGAIN = f"UPDATE events SET ({_COLUMNS}) = (SELECT {_VALUES} FROM (SELECT events.raw AS value) AS event)"
# The library and the AI SDKs send the events of a run at its end, with its duration. A longer one cannot be true.
_LONGEST_MS = 86_400_000
_START = f"""
coalesce(created_ms, received_ms) - CASE WHEN key IN ('$ld:ai:duration:total', '$ld:ai:graph:duration:total')
    AND metric_value BETWEEN 0 AND {_LONGEST_MS} THEN CAST(metric_value AS INTEGER) ELSE 0 END
"""
# Events of the application's own metrics do not make a run: it may have been discarded.
_MERGE_RUNS = f"""
INSERT INTO runs
SELECT run_id, min(config_key), max(variation_key), max(version), min(max(0, {_START})), max(id),
       count(CASE WHEN key IN ('$ld:ai:generation:success', '$ld:ai:graph:invocation_success') THEN 1 END),
       count(CASE WHEN key IN ('$ld:ai:generation:error', '$ld:ai:graph:invocation_failure') THEN 1 END),
       max(CASE WHEN instr(raw, '"parentRunId"') AND json_type(raw, '$.data.parentRunId') = 'text'
           THEN json_extract(raw, '$.data.parentRunId') END)
FROM events
WHERE id > :since AND kind = 'custom' AND run_id IS NOT NULL
GROUP BY run_id
HAVING max(key >= '$ld:ai:' AND key < '$ld:ai;') OR run_id IN (SELECT run_id FROM runs)
ON CONFLICT (run_id) DO UPDATE SET
    config_key = coalesce(config_key, excluded.config_key),
    variation_key = max(variation_key, excluded.variation_key),
    started_ms = min(started_ms, excluded.started_ms),
    last_id = max(last_id, excluded.last_id),
    succeeded = succeeded + excluded.succeeded,
    failed = failed + excluded.failed,
    parent_run_id = coalesce(parent_run_id, excluded.parent_run_id)
"""
_OUT_OF_RANGE = """
SELECT key, json_extract(raw, '$.metricValue') FROM events
WHERE id > :since AND metric_value IS NULL AND json_type(raw, '$.metricValue') IN ('integer', 'real') LIMIT 1
"""


def prepare(connection: sqlite3.Connection) -> None:
    """Create the tables, or upgrade those of an older file.

    Raises:
        sqlite3.Error: The file is not a database of this server, or a newer version wrote it.
    """
    (found,) = connection.execute("PRAGMA user_version").fetchone()
    if not 0 <= found <= VERSION:
        raise sqlite3.DatabaseError(f"its schema has version {found}, this program supports up to {VERSION}")
    names = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if any(name not in _NAMES and not name.startswith("sqlite_") for name in names):
        raise sqlite3.DatabaseError("it has other tables, so another program has made it")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")
    if found < VERSION:
        connection.execute("DROP TABLE IF EXISTS runs")
    connection.executescript(_TABLES)
    with connection:
        if found < VERSION:  # read every event again, by the rules of this version
            connection.execute(_READ_AGAIN)
            connection.execute(_MERGE_RUNS, {"since": 0})
        connection.execute(f"PRAGMA user_version = {VERSION}")


def split(body: str) -> Iterator[list[tuple[int, str]]]:
    """Yield position and raw JSON of the events of a payload, in batches.

    SQLite parses the payload. It is several times faster than Python, and other threads can run meanwhile.

    Raises:
        ValueError: The payload is not a JSON array, or has too many elements.
    """
    with closing(sqlite3.connect(":memory:")) as parser:
        parser.text_factory = decode
        [(count,)] = parser.execute(_COUNT, {"body": body})
        if count is None:
            raise ValueError("the payload is not a JSON array of events")
        if count > MAX_EVENTS:
            raise ValueError(f"the payload has {count:,} events; at most {MAX_EVENTS:,} are stored at once")
        found = parser.execute("SELECT key, value FROM json_each(?) WHERE type = 'object'", (body,))
        while batch := found.fetchmany(BATCH):
            yield batch


def decode(text: bytes) -> str:
    """Decode a text of SQLite. A lone surrogate, which JSON may contain, is shown as a replacement character."""
    return text.decode(errors="replace")


def insert(
    connection: sqlite3.Connection, payload_id: str, events: Sequence[tuple[int, str]], received_ms: int
) -> tuple[str | None, float] | None:
    """Store events of one payload and update their runs; the caller ends the transaction.

    Args:
        connection: The database.
        payload_id: The SDK's id of the payload.
        events: Position and raw JSON of each event.
        received_ms: When the payload has arrived.

    Returns:
        Key and value of an event whose metric value was out of range and not stored; ``None`` if there is none.
    """
    since = {"since": read_newest_id(connection)}
    connection.executemany(_INSERT_EVENT, [(payload_id, received_ms, position, raw) for position, raw in events])
    connection.execute(_MERGE_RUNS, since)
    found: tuple[str | None, float] | None = connection.execute(_OUT_OF_RANGE, since).fetchone()
    return found


def read_newest_id(connection: sqlite3.Connection) -> int:
    """Return the id of the newest event; 0 if there is none."""
    (found,) = connection.execute("SELECT coalesce(max(id), 0) FROM events").fetchone()
    return int(found)
