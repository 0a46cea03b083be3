"""How the events lie in SQLite: the tables, their indexes, and how an older file is brought up to date."""

from __future__ import annotations

import sqlite3

VERSION = 2
OLDER = (0, 1)  # 0 is a file without tables, 1 had no runs

_TABLES = """
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
CREATE INDEX IF NOT EXISTS events_by_run ON events (run_id);
-- Holds all that figures over time are made of, so that no event has to be looked up for them.
DROP INDEX IF EXISTS events_by_config;
CREATE INDEX IF NOT EXISTS events_in_time
    ON events (config_key, kind, key, created_ms, variation_key, metric_value);
-- The AI SDK notes each read of an AI Config as an event whose data is nothing but its key.
CREATE INDEX IF NOT EXISTS events_of_reads
    ON events (key, json_extract(raw, '$.data')) WHERE key >= '$ld:ai:usage:' AND key < '$ld:ai:usage;';

CREATE TABLE IF NOT EXISTS runs (
    run_id        TEXT PRIMARY KEY,
    config_key    TEXT,
    variation_key TEXT NOT NULL,
    version       INTEGER,
    started_ms    INTEGER NOT NULL,   -- when its first event was created
    last_id       INTEGER NOT NULL,   -- its newest event
    succeeded     INTEGER NOT NULL,   -- how many events say so
    failed        INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS runs_by_config ON runs (config_key, last_id);
CREATE INDEX IF NOT EXISTS runs_to_warn_of ON runs (config_key, last_id)
    WHERE variation_key = '' OR (succeeded = 0 AND failed = 0);
"""

# SQLite takes the payload apart itself: several times faster than Python, and other threads go on meanwhile.
_INSERT_EVENTS = """
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


def prepare(connection: sqlite3.Connection) -> None:
    """Create what is not there yet.

    Raises:
        sqlite3.Error: The file is something else, or of a newer program.
    """
    (found,) = connection.execute("PRAGMA user_version").fetchone()
    if found not in (*OLDER, VERSION):
        raise sqlite3.DatabaseError(f"its layout has version {found}, this program writes {VERSION}")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.executescript(_TABLES)
    with connection:
        if found != VERSION:
            connection.execute(_MERGE_RUNS, {"since": 0})
        connection.execute(f"PRAGMA user_version = {VERSION}")


def insert(connection: sqlite3.Connection, payload_id: str, body: str, received_ms: int) -> None:
    """Store the events of one payload, and what they say about runs; the transaction is the caller's."""
    since = newest(connection)
    connection.execute(_INSERT_EVENTS, {"payload_id": payload_id, "body": body, "received_ms": received_ms})
    connection.execute(_MERGE_RUNS, {"since": since})


def newest(connection: sqlite3.Connection) -> int:
    """Return the id of the newest event; 0 where there is none."""
    (found,) = connection.execute("SELECT coalesce(max(id), 0) FROM events").fetchone()
    return int(found)
