"""SQLite files: only the user of this process may read a new one, and none has code."""

from __future__ import annotations

import os
import sqlite3
from contextlib import suppress
from pathlib import Path


def create_privately(path: str | Path) -> None:
    """Create an empty file that only the user of this process may read. A file that exists is not changed.

    The files that SQLite writes beside it get the same mode.
    """
    with suppress(OSError):  # the file exists; any other problem is SQLite's to report
        os.close(os.open(os.path.realpath(path), os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))


def refuse_code(connection: sqlite3.Connection) -> None:
    """Refuse a file with triggers or views, which run code of its author within our statements.

    Raises:
        sqlite3.DatabaseError: It has some, or is not a database.
    """
    (count,) = connection.execute("SELECT count(*) FROM sqlite_master WHERE type IN ('trigger', 'view')").fetchone()
    if count:
        raise sqlite3.DatabaseError("it has triggers or views, so something else has made it")
