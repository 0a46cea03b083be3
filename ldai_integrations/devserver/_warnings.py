"""The warnings that applications have sent, for the page."""

from __future__ import annotations

import time
from dataclasses import dataclass

MOST = 100
MAX_CHARS = 1000


@dataclass(frozen=True)
class ApplicationWarning:
    """A warning of an application's library.

    Attributes:
        kind: Its name in ``Tracking.stats().diagnostics``.
        text: The line of the log.
        received_ms: When it has arrived last, in milliseconds since the epoch.
    """

    kind: str
    text: str
    received_ms: int


class Warnings:
    """The newest warnings, each once. Any thread may read them."""

    def __init__(self) -> None:
        """Start without warnings."""
        self._found: dict[str, ApplicationWarning] = {}
        self.version = 0

    def add(self, content: object) -> None:
        """Add a warning, or the time at which it has arrived again.

        Args:
            content: An object with ``kind`` and ``text``.

        Raises:
            ValueError: It is something else.
        """
        match content:
            case {"kind": str(kind), "text": str(text)}:
                text = text[:MAX_CHARS]
                found = {key: one for key, one in self._found.items() if key != text}
                self._found = {text: ApplicationWarning(kind[:MAX_CHARS], text, int(time.time() * 1000)), **found}
            case _:
                raise ValueError('a warning has the form {"kind": …, "text": …}')
        while len(self._found) > MOST:
            del self._found[next(reversed(self._found))]
        self.version += 1

    def clear(self) -> None:
        """Delete all warnings."""
        self._found = {}
        self.version += 1

    def to_json(self) -> list[dict[str, object]]:
        """Return the warnings, the newest one first."""
        return [
            {"kind": one.kind, "text": one.text, "receivedMs": one.received_ms} for one in list(self._found.values())
        ]
