"""The SQLite schema of the events: tables, indexes, and the upgrade of older files."""

from __future__ import annotations

import sqlite3

VERSION = 3
# 0 is a file without tables. 1 had no runs. 2 had metric values of any size.
OLDER = (0, 1, 2)

# The largest integer that every JSON reader takes exactly. No real metric value is larger.
MAX_VALUE = 2**53

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
    config_key    TEXT,
    variation_key TEXT NOT NULL,      -- empty if the caller's default was served
    version       INTEGER,
    metric_value  NUMERIC,            -- NULL if it is absent or out of range
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
    started_ms    INTEGER NOT NULL,   -- the creation time of its first event
    last_id       INTEGER NOT NULL,   -- the id of its newest event
    succeeded     INTEGER NOT NULL,   -- the number of success events
    failed        INTEGER NOT NULL    -- the number of error events
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS runs_by_config ON runs (config_key, last_id);
CREATE INDEX IF NOT EXISTS runs_to_warn_of ON runs (config_key, last_id)
    WHERE variation_key = '' OR (succeeded = 0 AND failed = 0);
"""

_IN_RANGE = f"BETWEEN -{MAX_VALUE} AND {MAX_VALUE}"

# SQLite parses the payload itself. It is several times faster than Python, and other threads can run meanwhile.
_INSERT_EVENTS = f"""
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
                 AND json_extract(event.value, '$.metricValue') {_IN_RANGE}
            THEN json_extract(event.value, '$.metricValue') END,
       event.value
FROM json_each(:body) AS event
WHERE event.type = 'object'
"""
_MERGE_RUNS = """
INSERT INTO runs
SELECT run_id, min(config_key), max(variation_key), max(version), min(coalesce(created_ms, received_ms)), max(id),
       count(CASE WHEN key = '$ld:ai:generation:success' THEN 1 END),
       count(CASE WHEN key = '$ld:ai:generation:error' THEN 1 END)
FROM events
WHERE id > :since AND kind = 'custom' AND run_id IS NOT NULL
GROUP BY run_id
ON CONFLICT (run_id) DO UPDATE SET
    config_key = coalesce(config_key, excluded.config_key),
    variation_key = max(variation_key, excluded.variation_key),
    started_ms = min(started_ms, excluded.started_ms),
    last_id = max(last_id, excluded.last_id),
    succeeded = succeeded + excluded.succeeded,
    failed = failed + excluded.failed
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
    if found not in (*OLDER, VERSION):
        raise sqlite3.DatabaseError(f"its schema has version {found}, this program supports up to {VERSION}")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.executescript(_TABLES)
    with connection:
        if found < 2:
            connection.execute(_MERGE_RUNS, {"since": 0})
        if found < 3:
            connection.execute(f"UPDATE events SET metric_value = NULL WHERE metric_value NOT {_IN_RANGE}")
        connection.execute(f"PRAGMA user_version = {VERSION}")


def insert(
    connection: sqlite3.Connection, payload_id: str, body: str, received_ms: int
) -> tuple[str | None, float] | None:
    """Store the events of one payload and update their runs; the caller opens the transaction.

    Returns:
        Key and value of an event whose metric value was out of range and not stored; ``None`` if there is none.
    """
    since = {"since": read_newest_id(connection)}
    connection.execute(_INSERT_EVENTS, {"payload_id": payload_id, "body": body, "received_ms": received_ms})
    connection.execute(_MERGE_RUNS, since)
    found: tuple[str | None, float] | None = connection.execute(_OUT_OF_RANGE, since).fetchone()
    return found


def read_newest_id(connection: sqlite3.Connection) -> int:
    """Return the id of the newest event; 0 if there is none."""
    (found,) = connection.execute("SELECT coalesce(max(id), 0) FROM events").fetchone()
    return int(found)
