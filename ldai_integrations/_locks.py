"""Locks that no thread of a parent process holds in its forked child."""

from __future__ import annotations

import os
import threading
import weakref


class ForkSafeLock:
    """Be a lock that is free in a forked child: the thread that held it in the parent is not there to release it.

    Not reentrant. What it protects must stay usable whenever the fork happens.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        _locks.add(self)

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *_exc: object) -> None:
        self._lock.release()

    def forked(self) -> None:
        """Begin anew, in a child."""
        self._lock = threading.Lock()


def _forked() -> None:
    for lock in _locks:
        lock.forked()


# An at-fork handler cannot be taken back: hence one for all locks.
_locks = weakref.WeakSet[ForkSafeLock]()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
