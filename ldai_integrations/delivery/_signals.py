"""Signal handlers that flush events first and then do what would have happened without them."""

from __future__ import annotations

import _thread
import os
import signal
import threading
from collections import deque
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import FrameType
from typing import Any

from .._locks import NO_PROCESS, forks

#: The signals that end a process or ask for its end. Windows has no SIGHUP, which is the end of a terminal.
ENDING_SIGNALS: tuple[int, ...] = tuple(
    getattr(signal, name) for name in ("SIGTERM", "SIGINT", "SIGHUP") if hasattr(signal, name)
)

_ONLY_MAIN = (
    "only the main thread of the main interpreter can set signal handlers; create the Tracking there, when the "
    "application is imported (mod_wsgi: WSGIApplicationGroup %{GLOBAL})"
)


class UnsupportedError(Exception):
    """An explanation of why this process cannot set signal handlers, and the remedy."""


class ChainedHandler:
    """A signal handler that flushes on a thread and then lets the signal have its previous effect.

    The handler returns at once: it runs on the main thread between any two steps of it, where an event loop may be
    running and where a lock may be held that a flush needs. When the flush is done, the thread sends the signal again.

    A second signal during the flush does not end the process earlier: gunicorn sends SIGTERM every second to a worker
    that it replaces, and uvicorn passes on each of these. A handler of the application gets it at once.

    During the flush, this handler is in front of all others. One that the application has set in front of it, and that
    called it, has seen the signal already.

    Args:
        number: The signal.
        previous: Its handler until now, or ``SIG_DFL``.
        flush: Called on a thread with the value of ``is_deadly``. It is bounded in time and never raises.
    """

    def __init__(self, number: int, previous: Any, flush: Callable[[bool], None]) -> None:
        self._number = number
        self._previous = previous
        self._flush = flush
        self._in_front: Any = self
        self._begun_in = NO_PROCESS
        self._flushed = False
        self._done = False

    @property
    def is_deadly(self) -> bool:
        """Whether the signal ends the process at once. It never does for the first process of a container."""
        return self._previous is signal.SIG_DFL and os.getpid() != 1

    @property
    def is_pending(self) -> bool:
        """Whether the signal has arrived and has not had its effect yet."""
        return self._begun_in == forks.count and not self._done

    def __call__(self, _number: int, frame: FrameType | None) -> None:
        """Handle the signal."""
        if self._begun_in == forks.count:
            if self._flushed or not self.is_deadly:
                self.take_effect(frame)
            return
        self._begun_in, self._flushed, self._done = forks.count, False, False
        self._in_front = signal.signal(self._number, self)
        try:
            # Not a Thread: its start() waits, and gevent allows no signal handler to wait.
            _thread.start_new_thread(self._flush_first, ())
        except RuntimeError:  # the interpreter is shutting down
            self.take_effect(frame)
        # asyncio and uvloop set a handler of this name, which does nothing: they read the signal from a file
        # descriptor, so a second signal would count twice.
        if getattr(self._previous, "__name__", "") == "_sighandler_noop":
            self.take_effect(frame)

    def take_effect(self, frame: FrameType | None = None) -> None:
        """Do what the signal did before. Call it on the main thread."""
        self._done = True
        current: Any = signal.getsignal(self._number)
        if current is self:
            signal.signal(self._number, self._in_front)
        if self.is_deadly:
            signal.signal(self._number, signal.SIG_DFL)
            os.kill(os.getpid(), self._number)  # to the process: this thread may have blocked the signal
        elif self._previous is not signal.SIG_DFL:
            self._previous(self._number, frame)

    def _flush_first(self) -> None:
        self._flush(self.is_deadly)
        self._flushed = True
        if not self._done:
            os.kill(os.getpid(), self._number)


def chain(number: int, flush: Callable[[bool], None]) -> ChainedHandler | None:
    """Set a :class:`ChainedHandler` in front of the current handler of a signal; call it on the main thread.

    Return ``None`` where the signal is better left alone: it is ignored; its handler was not set from Python and could
    not be called (``gevent.signal_handler``); ``SIGINT`` raises ``KeyboardInterrupt``, so that ``atexit`` runs; or the
    application has a handler of ``SIGHUP``, which then asks for something else, such as a reload.

    Raises:
        UnsupportedError: If this interpreter cannot set signal handlers.
    """
    if not _is_main_interpreter():  # mod_wsgi accepts handlers here, and never calls them
        raise UnsupportedError(_ONLY_MAIN)
    previous = signal.getsignal(number)
    if isinstance(previous, ChainedHandler) or previous in (None, signal.SIG_IGN):
        return None
    if number != signal.SIGTERM and previous is not signal.SIG_DFL:
        return None
    if previous is signal.SIG_DFL and _has_foreign_handler(number):
        return None
    handler = ChainedHandler(number, previous, flush)
    try:
        signal.signal(number, handler)
    except ValueError:
        raise UnsupportedError(_ONLY_MAIN) from None
    return handler


def call_on_main_thread(call: Callable[[], None]) -> None:
    """Call a function on the main thread: now if this is it, else between two of its next steps.

    Only the main thread may set signal handlers. A main thread that waits in C code makes the call when it returns to
    Python; an event loop does so to deliver the response of the thread that is here.

    Raises:
        UnsupportedError: If the main thread cannot be reached.
    """
    if threading.current_thread() is threading.main_thread():
        call()
        return
    pending = _find_pending_call()
    if pending is None:
        raise UnsupportedError(_ONLY_MAIN)
    _calls.append(call)
    if pending() != 0:
        raise UnsupportedError("the main thread has too many pending calls; create the Tracking on the main thread")


_calls: deque[Callable[[], None]] = deque()


@cache
def _is_main_interpreter() -> bool:
    """Return whether this is the main interpreter of the process; True where that is unknown."""
    try:
        import ctypes

        current, number = ctypes.pythonapi.PyInterpreterState_Get, ctypes.pythonapi.PyInterpreterState_GetID
    except (ImportError, AttributeError):
        return True
    current.restype, number.argtypes, number.restype = ctypes.c_void_p, [ctypes.c_void_p], ctypes.c_int64
    return bool(number(current()) == 0)


@cache
def _find_pending_call() -> Callable[[], int] | None:
    """Return a function that asks for a pending call of the main thread, or ``None`` where there is no such thing.

    ``Py_AddPendingCall`` is part of CPython's documented C API (docs.python.org/3/c-api/init.html). It always
    addresses the main interpreter, so a sub-interpreter must not use it.
    """
    if not _is_main_interpreter():
        return None
    try:
        import ctypes

        add = ctypes.pythonapi.Py_AddPendingCall
    except (ImportError, AttributeError):
        return None

    def make_calls(_argument: Any) -> int:
        while _calls:
            _calls.popleft()()
        return 0

    callback = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.c_void_p)(make_calls)
    return lambda: int(add(callback, None))


def _has_foreign_handler(number: int) -> bool:
    """Return whether a handler is set that Python does not know; without ``/proc``, assume that there is none."""
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return False
    caught = next((line.split()[1] for line in status.splitlines() if line.startswith("SigCgt:")), "0")
    return bool(int(caught, 16) >> (number - 1) & 1)
