"""What went wrong on our side: logged once with the remedy, counted every time, never raised."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

logger = logging.getLogger("ldai_integrations")

# Keys come from configuration (config keys, sink names), so this is a guard against surprises, not a working limit.
_MAX_REMEMBERED = 1_000


class Diagnostics:
    """Count failures by kind and log each (kind, subject) once.

    Thread-safe in the sense that matters: a race can log a line twice, it cannot raise or lose the process.
    """

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._seen: set[tuple[str, str]] = set()

    def note(
        self, kind: str, subject: str, message: str, *args: object, exc: BaseException | None = None, level: int = 30
    ) -> None:
        """Count one failure, and log it if this kind has not been seen for this subject.

        Args:
            kind: What failed, as :meth:`counts` shows it: ``"sink"``, ``"ld_context"``, …
            subject: What it failed for, usually the config key; a fixed name, never personal data.
            message: One sentence that says what happened and what to do, in ``logging`` format.
            args: Arguments of ``message``.
            exc: The exception behind it; its traceback is logged.
            level: A ``logging`` level; warning unless told.
        """
        self._counts[kind] += 1
        if (kind, subject) in self._seen or len(self._seen) >= _MAX_REMEMBERED:
            return
        self._seen.add((kind, subject))
        logger.log(level, message, *args, exc_info=exc, extra={"ldai_kind": kind, "ldai_subject": subject})

    def counts(self) -> dict[str, int]:
        """Return how often each kind has happened since start."""
        return dict(self._counts)

    @contextmanager
    def guard(self, kind: str, subject: str) -> Iterator[None]:
        """Keep an exception of our own statements, or of a callable we were given, away from the request."""
        try:
            yield
        except Exception as exc:
            self.failed(kind, subject, exc)

    def failed(self, kind: str, subject: str, exc: BaseException) -> None:
        """Note an exception that must not reach the request."""
        self.note(
            kind,
            subject,
            "%s failed for %r (%s); the request is not affected. The traceback shows which callable to mend.",
            kind,
            subject,
            type(exc).__name__,
            exc=exc,
        )
