"""Signal handlers that let events go first, and then do what would have happened without them."""

from __future__ import annotations

import _thread
import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

from ._fork import NO_PROCESS, forks


class ChainedHandler:
    """Flush on a thread, then let the signal have the effect that it had before.

    The handler itself returns at once: it runs on the main thread, between any two steps of it, where an event loop
    may be running, and locks may be held that a flush needs. When the thread is done, it sends the signal again. Who
    cannot wait and sends a second one is obeyed at once.

    Until then the signal comes here first: a handler that was put in front, and has called this one, has been told.

    Args:
        number: The signal.
        previous: Its handler until now, or ``SIG_DFL``.
        flush: Called on a thread, and told whether the signal is deadly; bounded, never raises.
    """

    def __init__(self, number: int, previous: Any, flush: Callable[[bool], None]) -> None:
        self._number = number
        self._previous = previous
        self._flush = flush
        self._in_front: Any = self
        self._begun_in = NO_PROCESS
        self._done = False

    @property
    def is_deadly(self) -> bool:
        """Whether the signal ends the process without running any more of it; the first of a container never does."""
        return self._previous is signal.SIG_DFL and os.getpid() != 1

    @property
    def is_pending(self) -> bool:
        """Whether the signal has come, and not had its effect."""
        return self._begun_in == forks.count and not self._done

    def __call__(self, _number: int, frame: FrameType | None) -> None:
        """Handle the signal."""
        if self._begun_in == forks.count:
            self.take_effect(frame)
            return
        self._begun_in, self._done = forks.count, False
        self._in_front = signal.signal(self._number, self)
        try:
            # Not a Thread: its start() waits, which gevent allows no signal handler.
            _thread.start_new_thread(self._flush_first, ())
        except RuntimeError:  # the interpreter is ending
            self.take_effect(frame)
        if _is_told_otherwise(self._previous):
            self.take_effect(frame)

    def take_effect(self, frame: FrameType | None = None) -> None:
        """Do what the signal did before; on the main thread."""
        self._done = True
        current: Any = signal.getsignal(self._number)
        if current is self:
            signal.signal(self._number, self._in_front)
        if self.is_deadly:
            signal.signal(self._number, signal.SIG_DFL)
            os.kill(os.getpid(), self._number)  # to the process: this thread may have blocked it
        elif self._previous is not signal.SIG_DFL:
            self._previous(self._number, frame)

    def _flush_first(self) -> None:
        self._flush(self.is_deadly)
        if not self._done:
            os.kill(os.getpid(), self._number)


def chain(number: int, flush: Callable[[bool], None]) -> ChainedHandler | None:
    """Put a :class:`ChainedHandler` in front of the handler of a signal, where that helps and nobody's is lost.

    Handlers can be set on the main thread only. What is ignored stays ignored, a handler that was not set from Python
    (``gevent.signal_handler``) could not be called, and ``SIGINT`` mostly raises ``KeyboardInterrupt``, so that
    ``atexit`` runs.
    """
    if threading.current_thread() is not threading.main_thread():
        return None
    previous = signal.getsignal(number)
    if isinstance(previous, ChainedHandler) or previous in (None, signal.SIG_IGN):
        return None
    if number == signal.SIGINT and previous is not signal.SIG_DFL:
        return None
    if previous is signal.SIG_DFL and _is_caught_below(number):
        return None
    handler = ChainedHandler(number, previous, flush)
    signal.signal(number, handler)
    return handler


def _is_told_otherwise(previous: Any) -> bool:
    """Tell whether an event loop learns of the signal through a file descriptor, and would learn of it twice.

    ``loop.add_signal_handler`` of asyncio and uvloop sets a handler of this name, which does nothing.
    """
    return getattr(previous, "__name__", "") == "_sighandler_noop"


def _is_caught_below(number: int) -> bool:
    """Tell whether a handler was set that Python does not know of; where there is no ``/proc``, none is seen."""
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return False
    caught = next((line.split()[1] for line in status.splitlines() if line.startswith("SigCgt:")), "0")
    return bool(int(caught, 16) >> (number - 1) & 1)
