"""Our own failures: logged once with the remedy, counted every time, and kept away from the application."""

from __future__ import annotations

import functools
import logging
import signal
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, FrameType

from ._locks import ForkSafeLock

try:  # 1 µs for all signals: signal.getsignal tries to make an enum of each handler, which takes 80 µs
    from _signal import getsignal  # type: ignore[import-not-found]
except ImportError:
    from signal import getsignal

logger = logging.getLogger("ldai_integrations")
# These packages call functions of the application, so their lines come first in a traceback.
_CALLERS = (__name__.partition(".")[0], "ldclient", "ldai")

#: Functions of the kind and the text of each line that is logged. The page of the dev server is one.
receivers: list[Callable[[str, str], None]] = []

# Subjects come from the configuration, such as config keys. If they do not, the limits protect the log and the memory.
_MOST_SUBJECTS = 100
_LONGEST_TEXT = 500
# Asking for them takes longer than looking up their handlers.
_SIGNALS = tuple(signal.valid_signals())


class Diagnostics:
    """A counter of failures by kind that logs each pair of kind and subject once, up to 100 subjects of a kind.

    Thread-safe.
    """

    def __init__(self) -> None:
        self._lock = ForkSafeLock()
        self._counts: Counter[str] = Counter()
        self._seen: dict[str, set[str]] = {}

    def note(self, kind: str, subject: str, message: str, *args: object, exc: BaseException | None = None) -> None:
        """Count a failure, and log it if this kind is new for this subject.

        Args:
            kind: What failed, as :meth:`counts` shows it: ``"sink"``, ``"ld_context"``, …
            subject: What it failed for, usually the config key. It is a fixed name and never personal data.
            message: One sentence that says what happened and what to do, in ``logging`` format.
            args: The arguments of ``message``. Long texts are cut, and control characters are escaped.
            exc: The exception that caused the failure. Its traceback is logged.
        """
        subject = _shorten(subject)
        with self._lock:
            self._counts[kind] += 1
            seen = self._seen.setdefault(kind, set())
            if subject in seen or len(seen) >= _MOST_SUBJECTS:
                return
            seen.add(subject)
        args = tuple(_shorten(escape(arg)) if isinstance(arg, str) else arg for arg in args)
        logger.warning(message, *args, exc_info=exc, extra={"ldai_kind": kind, "ldai_subject": subject})
        for receive in tuple(receivers):
            receive(kind, message % args)

    def forget(self, kind: str) -> None:
        """Log the next failures of a kind again, because the former ones are over; their count stays."""
        with self._lock:
            self._seen.pop(kind, None)

    def counts(self) -> dict[str, int]:
        """Return how often each kind has failed since the start."""
        return dict(self._counts)

    def guard(self, kind: str, subject: str, *, is_private: bool = False) -> Guard:
        """Log and count an exception of our own statements, or of a callable that we were given, and suppress it.

        Put as few statements as possible into the block. An exception that a signal handler raises there, such as a
        time limit, belongs to the application and is raised again.

        Args:
            kind: What fails.
            subject: What it fails for.
            is_private: Whether the text of an exception may quote a prompt, an answer or a user.
        """
        return Guard(self, kind, subject, is_private)

    def failed(self, kind: str, subject: str, exc: BaseException, *, is_private: bool = False) -> None:
        """Log and count a caught exception.

        Args:
            kind: What failed.
            subject: What it failed for.
            exc: The exception. It is raised again if a signal handler raised it.
            is_private: Whether its text may quote a prompt, an answer or a user. Only its type and its place are logged
                then.
        """
        raise_if_from_signal(exc)
        if is_private:
            self.note(
                kind,
                subject,
                "%s failed for %r (%s). The request is not affected. Fix that line if it is yours, otherwise report it "
                "with the versions of both libraries.",
                kind,
                subject,
                describe(exc),
            )
            return
        self.note(
            kind,
            subject,
            "%s failed for %r (%s). The request is not affected. The traceback shows which callable to fix.",
            kind,
            subject,
            type(exc).__name__,
            exc=exc,
        )


def escape(text: str) -> str:
    """Return a text that a log or a terminal shows in one line, whoever wrote it, such as a key from a path."""
    return text if text.isprintable() else repr(text)[1:-1]


def _shorten(text: str) -> str:
    return text if len(text) <= _LONGEST_TEXT else f"{text[:_LONGEST_TEXT]}…"


@dataclass(slots=True, eq=False)
class Guard:
    """The context manager of :meth:`Diagnostics.guard`. Every run enters several, so it is not a generator."""

    diagnostics: Diagnostics
    kind: str
    subject: str
    is_private: bool

    def __enter__(self) -> None:
        pass

    def __exit__(self, _kind: object, exc: BaseException | None, _traceback: object) -> bool:
        if not isinstance(exc, Exception):
            return False
        self.diagnostics.failed(self.kind, self.subject, exc, is_private=self.is_private)
        return True


def describe(exc: BaseException) -> str:
    """Return the type of an exception and its line, but not its text, which may quote a prompt.

    The line is the last one in the file of the application's function, which may have called other packages.
    """
    frames = [*traceback.walk_tb(exc.__traceback__)]
    if not frames:
        return type(exc).__name__
    first = next((frame for frame, _ in frames if not _is_caller(frame)), frames[-1][0])
    file = first.f_code.co_filename
    line_number = next(number for frame, number in reversed(frames) if frame.f_code.co_filename == file)
    return f"{type(exc).__name__} at {Path(file).name}:{line_number}"


def _is_caller(frame: FrameType) -> bool:
    """Return whether a frame is ours or that of LaunchDarkly's SDKs."""
    return str(frame.f_globals.get("__name__")).partition(".")[0] in _CALLERS


def raise_if_from_signal(exc: BaseException) -> None:
    """Raise an exception again if a signal handler raised it."""
    if is_from_signal(exc):
        raise exc


def is_from_signal(exc: BaseException) -> bool:
    """Return whether a signal handler raised an exception, wherever the main thread was at that moment.

    The time limits of Celery (``SoftTimeLimitExceeded``), of RQ and of ``signal.alarm`` are such exceptions. One that
    ``PyThreadState_SetAsyncExc`` sets leaves no trace of its origin and cannot be recognised.
    """
    handlers = {_code_of(handler) for handler in map(getsignal, _SIGNALS) if callable(handler)}
    return any(frame.f_code in handlers for frame, _ in traceback.walk_tb(exc.__traceback__))


def _code_of(handler: object) -> CodeType | None:
    while isinstance(handler, functools.partial):
        handler = handler.func
    code = getattr(handler, "__code__", None) or getattr(type(handler).__call__, "__code__", None)
    return code if isinstance(code, CodeType) else None
