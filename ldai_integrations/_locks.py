"""Locks that are free in a forked child, a lock that delays forks, and a counter of forks."""

from __future__ import annotations

import os
import sys
import threading
import weakref

#: A value that ``forks.count`` never has.
NO_PROCESS = -1


class ForkSafeLock:
    """A lock that is free in a forked child, where the thread that held it in the parent does not exist.

    It is reentrant, because a signal handler or a finalizer may interrupt the thread that holds it. The data that it
    protects must be usable at any time, because a fork can happen at any time.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        _locks.add(self)

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *_exc: object) -> None:
        self._lock.release()

    def acquire(self, timeout: float) -> bool:
        """Acquire the lock; return False if that takes longer than ``timeout`` seconds."""
        return self._lock.acquire(timeout=timeout)

    def release(self) -> None:
        """Release the lock."""
        self._lock.release()

    def forked(self) -> None:
        """Replace the lock in a child."""
        self._lock = threading.RLock()


class _Forks:
    """A counter of the forks between the first process and this one.

    Every run reads ``count``, so it is a plain attribute. It is 0 in a process that was not forked since this import.
    """

    #: Whether Python cannot see the forks. A thread that works during such a fork blocks the child.
    are_silent = False

    def __init__(self) -> None:
        self.count: int = 0
        self.lock: threading.RLock = threading.RLock()

    def forked(self) -> None:
        """Count a fork, in the child. The parent may have held the lock."""
        self.count += 1
        self.lock = threading.RLock()


class _UwsgiForks(_Forks):
    """A counter for uWSGI, which forks without at-fork handlers: the process id takes the place of the count."""

    are_silent = True

    @property
    def count(self) -> int:
        return os.getpid()

    @count.setter
    def count(self, count: int) -> None:
        pass


def _forked() -> None:
    forks.forked()
    for lock in _locks:
        lock.forked()


# At-fork handlers cannot be removed, and a fork concerns the whole process. That is why these objects are global.
_locks = weakref.WeakSet[ForkSafeLock]()
forks: _Forks = _UwsgiForks() if "uwsgi" in sys.modules else _Forks()
#: A fork waits while another thread holds it. It protects calls of foreign code whose locks would stay held in a child.
no_fork: threading.RLock = threading.RLock()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
    os.register_at_fork(before=no_fork.acquire, after_in_parent=no_fork.release, after_in_child=no_fork.release)
