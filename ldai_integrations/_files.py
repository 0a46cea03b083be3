"""Files that others may have put in place, and their JSON; SQLite files that only the user of this process may read."""

from __future__ import annotations

import json
import math
import os
import sqlite3
import stat
import tempfile
from contextlib import suppress
from pathlib import Path

# No flag file is larger.
_MOST_FLAG_BYTES = 67_108_864


def read_flag_bytes(path: Path) -> bytes:
    """Return the data of a file with AI Configs.

    Raises:
        OSError: The file cannot be opened or read.
        ValueError: It is not a regular file, or too large.
    """
    return read_regular_file(path, most_bytes=_MOST_FLAG_BYTES)


def read_regular_file(path: Path, *, most_bytes: int) -> bytes:
    """Return the data of a regular file of limited size. A pipe or a device is not read, and does not block.

    Raises:
        OSError: The file cannot be opened or read.
        ValueError: It is not a regular file, or larger.
    """
    without_waiting = getattr(os, "O_NONBLOCK", 0)
    with open(path, "rb", opener=lambda name, flags: os.open(name, flags | without_waiting)) as file:
        found = os.fstat(file.fileno())
        if not stat.S_ISREG(found.st_mode) or found.st_size > most_bytes:
            raise ValueError(f"it is not a regular file of at most {most_bytes:,} bytes")
        return file.read(found.st_size)  # Python reserves memory for all that is asked for


def write_whole_file(path: Path, data: bytes) -> None:
    """Write a file so that nobody sees a part of it, and an old file stays if the disk is full.

    A symbolic link or a pipe of this name is replaced.

    Raises:
        OSError: The file cannot be written.
    """
    temporary = ""
    try:
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=path.name)
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        os.chmod(temporary, stat.S_IMODE(path.stat().st_mode) if path.is_file() else 0o644)
        os.replace(temporary, path)
    except BaseException as problem:
        if temporary:
            os.unlink(temporary)
        if isinstance(problem, OSError):
            raise OSError(problem.errno, problem.strerror, str(path)) from None
        raise


def parse_json(text: bytes) -> object:
    """Parse JSON from an untrusted source. A byte order mark is skipped.

    Raises:
        ValueError: It is not JSON, is nested too deeply, or contains a number that is not finite.
    """
    try:
        return json.loads(text, parse_constant=_read_number, parse_float=_read_number)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _read_number(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text[:40]} is not a finite number")
    return number


def create_privately(path: str | Path) -> None:
    """Create an empty file that only the user of this process may read. A file that exists is not changed.

    The files that SQLite writes beside it get the same mode.
    """
    with suppress(OSError):  # the file exists; any other problem is SQLite's to report
        os.close(os.open(os.path.realpath(path), os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))


def is_memory_or_uri(path: str | Path) -> bool:
    """Return whether SQLite takes the name of a file for a database in memory, or for a URI."""
    return str(path) == ":memory:" or str(path).startswith("file:")


def refuse_code(connection: sqlite3.Connection) -> None:
    """Refuse a file with triggers or views, which run code of its author within our statements.

    Raises:
        sqlite3.DatabaseError: It has some, or is not a database.
    """
    (count,) = connection.execute("SELECT count(*) FROM sqlite_master WHERE type IN ('trigger', 'view')").fetchone()
    if count:
        raise sqlite3.DatabaseError("it has triggers or views, so something else has made it")


def is_locked(problem: sqlite3.Error) -> bool:
    """Return whether a file could not be used because another process holds its lock. It can be used later."""
    return isinstance(problem, sqlite3.OperationalError) and "is locked" in str(problem)
