"""The warnings that applications have sent, for the page."""

from __future__ import annotations

import time

MOST = 100
MAX_CHARS = 1000


class Warnings:
    """The newest warnings, each once. Any thread may read them."""

    def __init__(self) -> None:
        """Start without warnings."""
        self._found: dict[str, dict[str, object]] = {}
        self.version = 0

    def add(self, content: object) -> None:
        """Add a warning, or the time at which it has arrived again.

        Args:
            content: An object with ``kind``, its name in ``Tracking.stats().diagnostics``, and ``text``, the line of
                the log.

        Raises:
            ValueError: It is something else.
        """
        match content:
            case {"kind": str(kind), "text": str(text)}:
                text = text[:MAX_CHARS]
                found = {key: one for key, one in self._found.items() if key != text}
                warning = {"kind": kind[:MAX_CHARS], "text": text, "receivedMs": int(time.time() * 1000)}
                self._found = {text: warning, **found}
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
        """Return the warnings, the newest one first, with the time at which each has arrived last."""
        return list(self._found.values())
