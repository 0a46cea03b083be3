"""The sinks of a Tracking: what each is shown where a run opens, and the record at its end."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from .._diagnostics import Diagnostics
from ..exceptions import ConfigurationError

if TYPE_CHECKING:
    from ..records import RunRecord
    from ..typing import Sink

#: Where a record goes in place of ``emit``, by the position of the sink.
Emitters = Mapping[int, "Callable[[RunRecord], object]"]
NO_EMITTERS: Emitters = {}


class Outlets:
    """Hand records to sinks; one that raises costs neither the request nor the next sink anything.

    Raises:
        ConfigurationError: If a sink has no ``emit``.
    """

    def __init__(self, sinks: tuple[Sink, ...], diagnostics: Diagnostics) -> None:
        for sink in sinks:
            if not callable(getattr(sink, "emit", None)):
                raise ConfigurationError(f"sink {sink!r} has no emit(record) method; see ldai_integrations.typing.Sink")
        self._sinks = sinks
        self._diagnostics = diagnostics
        self._openers: list[tuple[int, Any]] = [
            (index, sink) for index, sink in enumerate(sinks) if callable(getattr(sink, "opened", None))
        ]
        #: Whether the application gave any, besides LaunchDarkly's.
        self.are_own = len(sinks) > 1

    def opened(self, config_key: str) -> Emitters:
        """Let the sinks that ask for it look around where a run opens."""
        if not self._openers:
            return NO_EMITTERS
        emitters: dict[int, Callable[[RunRecord], object]] = {}
        for index, sink in self._openers:
            with self._diagnostics.guard(_name(sink), config_key):
                emitters[index] = sink.opened()
        return emitters

    def emit(self, record: RunRecord, emitters: Emitters) -> None:
        """Hand over a record."""
        for index, sink in enumerate(self._sinks):
            try:
                emitters.get(index, sink.emit)(record)
            except Exception as exc:
                self._diagnostics.failed(_name(sink), record.config_key, exc)


def _name(sink: object) -> str:
    return f"sink {type(sink).__name__}"
