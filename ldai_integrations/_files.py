"""Files that others may have put in place."""

from __future__ import annotations

import os
import stat
from pathlib import Path


def read_regular_file(path: Path, *, most_bytes: int) -> bytes:
    """Return the data of a regular file of limited size. A pipe or a device is not read, and does not block.

    Raises:
        OSError: The file cannot be opened or read.
        ValueError: It is not a regular file, or larger.
    """
    with open(path, "rb", opener=_open_without_waiting) as file:
        found = os.fstat(file.fileno())
        if not stat.S_ISREG(found.st_mode) or found.st_size > most_bytes:
            raise ValueError(f"it is not a regular file of at most {most_bytes:,} bytes")
        return file.read(most_bytes)


def _open_without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))
