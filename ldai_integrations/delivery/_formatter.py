"""From what an LDClient tells to the events that LaunchDarkly takes, whatever one of them holds."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from .._diagnostics import Diagnostics
from ._payload import safe_context
from ._sdk import Engine

Event = dict[str, Any]

# After so many inputs other threads get their turn; all of a batch would hold up an event loop for 20 ms.
_SLICE = 50


class Formatter:
    """Format inputs with the SDK's engine; one that cannot be formatted costs no other. For one thread."""

    def __init__(self, engine: Engine, diagnostics: Diagnostics, drop: Callable[[int, str], None]) -> None:
        self._engine, self._diagnostics, self._drop = engine, diagnostics, drop

    def events_of(self, inputs: list[Any]) -> list[Event]:
        """Return the events, the summary last."""
        for position, event in enumerate(inputs):
            try:
                self._engine.process(event)
            except Exception as exc:
                self.lost(1, exc)
            if position % _SLICE == 0:
                time.sleep(0)
        events, summary = self._engine.take()
        made: list[Event] = []
        for start in range(0, len(events), _SLICE):
            made += self._formatted(events[start : start + _SLICE])
            time.sleep(0)
        return made + self._engine.format((), summary)

    def _formatted(self, events: list[Any]) -> list[Event]:
        try:
            return self._engine.format(events)
        except Exception:
            return [made for event in events for made in self._formatted_alone(event)]

    def _formatted_alone(self, event: Any) -> list[Event]:
        """Format an event that may be the one which cannot be: one whose context contains itself."""
        source = getattr(event, "original_input", event)
        try:
            source.context = safe_context(source.context, self._diagnostics)
            return self._engine.format([event])
        except Exception as exc:
            self.lost(1, exc)
            return []

    def lost(self, events: int, exc: Exception) -> None:
        """Count events that could not be formatted."""
        self._drop(events, "unserialisable")
        kind = type(exc).__name__
        self._diagnostics.note(
            "payload",
            kind,
            "An event for LaunchDarkly could not be formatted (%s) and is lost; the traceback shows why.",
            kind,
            exc=exc,
        )
