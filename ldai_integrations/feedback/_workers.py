"""Whether a server has several worker processes, as far as a worker can know before the first request."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import Any

# The kernel's PF_FORKNOEXEC, among the flags in /proc/PID/stat: the process was forked and runs its parent's program.
_FORKED = 0x40


def has_other_workers() -> bool:
    """Return whether other processes do the same as this one.

    The environment variable of servers says so, or uWSGI does, or the process table of Linux: it has another process
    with the same parent and the same command, and the parent has forked this one, or started it by multiprocessing.
    """
    concurrency = os.environ.get("WEB_CONCURRENCY", "")
    if concurrency.isdecimal() and int(concurrency) > 1:
        return True
    uwsgi: Any = sys.modules.get("uwsgi")
    if uwsgi is not None:
        return bool(uwsgi.numproc > 1)
    try:
        return _is_worker() and _processes_like_this() > 1
    except OSError:
        return False


def _is_worker() -> bool:
    multiprocessing: Any = sys.modules.get("multiprocessing")
    if multiprocessing is not None and multiprocessing.parent_process() is not None:
        return True
    state_and_more = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
    return bool(int(state_and_more[6]) & _FORKED)


def _processes_like_this() -> int:
    files = Path(f"/proc/{os.getppid()}/task").glob("*/children")
    commands = [_command(pid) for file in files for pid in file.read_text().split()]
    return commands.count(_command("self"))


def _command(pid: str) -> bytes:
    """Return the command line of a process without numbers; multiprocessing gives each child different ones."""
    try:
        return re.sub(rb"\d", b"", Path(f"/proc/{pid}/cmdline").read_bytes())
    except OSError:  # it has ended
        return b""
