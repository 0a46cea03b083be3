"""Read a whole response, or a stream event by event, whoever the provider is."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from ..records import Usage
from ._dialects import DIALECTS, NESTED, Dialect
from ._draft import Draft
from ._envelopes import held, is_database_row, unwrapped
from ._readings import Reading
from ._values import is_a

# What Bedrock appends to the last chunk of whatever body a model streams.
_METRICS = "amazon-bedrock-invocationMetrics"
# How many envelopes are opened around one response, how many responses a list may have, and how many of its entries
# may be something else before the rest is taken to be so too.
_DEPTH = 4
_MOST_RESPONSES = 1_000
_MOST_STRANGERS = 3


def read(response: Any) -> Reading | None:
    """Return everything a run wants from one whole response.

    Args:
        response: An SDK object or dict, of any provider known by shape.

    Returns:
        What was found, or ``None`` if the response has no provider's shape. Never raises.
    """
    reader = StreamReader()
    reader.feed(response)
    return reader.reading() if reader.recognised else None


def extract(response: Any) -> Usage | None:
    """Return the provider's own usage of a whole response, or ``None`` where it has none.

    Args:
        response: An SDK object or dict, of any provider known by shape. Never raises.
    """
    return extract_stream((response,))


def extract_stream(events: Iterable[Any]) -> Usage | None:
    """Return the provider's own usage of a stream, or ``None`` where it sent none.

    Args:
        events: The parsed events of one stream, in order: SDK objects or dicts.
    """
    reader = StreamReader()
    for event in events:
        reader.feed(event)
    return reader.usage()


class StreamReader:
    """Read the events of one stream as they pass.

    Memory is bounded and an event costs a few microseconds. Not for use from two threads at once.
    """

    def __init__(self) -> None:
        self._draft = Draft()
        self._dialect: Dialect | None = None

    @property
    def recognised(self) -> bool:
        """Whether any event had a provider's shape."""
        return self._dialect is not None

    @property
    def answered(self) -> bool:
        """Whether any visible text has passed; reasoning and tool calls are none."""
        return bool(self._draft.text)

    def feed(self, event: Any) -> bool:
        """Take one parsed event, an SDK object or dict.

        Returns:
            True where it carries a non-empty text, reasoning or tool delta. An event of an unknown shape is ignored.
        """
        return self.absorb(event) or False

    def absorb(self, event: Any) -> bool | None:
        """Take one parsed event as :meth:`feed` does; return ``None`` where its shape is unknown."""
        return self._absorb(event, _DEPTH)

    def _absorb(self, event: Any, depth: int) -> bool | None:
        if type(event) is not dict and is_database_row(event):
            return None
        event = unwrapped(event)
        if event is None or is_a(event, str, bytes):
            return None
        if type(event) in (list, tuple):
            return self._absorb_each(event, depth)
        if type(event) is dict and _METRICS in event:
            self._draft.count(event[_METRICS])
            if len(event) == 1:
                return False
        if self._dialect is not None:
            spoke = self._dialect(event, self._draft)
            if spoke is not None:
                return spoke
        for dialect in DIALECTS if depth == _DEPTH else NESTED:
            spoke = dialect(event, self._draft)
            if spoke is not None:
                self._dialect = dialect
                return spoke
        return self._absorb_held(event, depth - 1) if depth else None

    def _absorb_held(self, event: Any, depth: int) -> bool | None:
        """Take the first response with usage that an unknown record holds, or else the first response."""
        recognised = None
        for inner in held(event):
            spoke = self._absorb(inner, depth)
            if spoke is not None:
                recognised = spoke or recognised or False
                if self._draft.meter.has_usage:
                    break
        return recognised

    def _absorb_each(self, events: Sequence[Any], depth: int) -> bool | None:
        """Take a list of responses, each a call of its own unless ids say otherwise."""
        recognised, strangers = None, 0
        for position, event in enumerate(events[:_MOST_RESPONSES]):
            self._draft.begin(f"entry {position}")
            spoke = self._absorb(event, depth - 1) if depth else None
            if spoke is not None:
                recognised = spoke or recognised or False
            elif (strangers := strangers + 1) == _MOST_STRANGERS:
                break
        return recognised

    def say(self, text: str) -> bool:
        """Take output text of a stream that has no provider's shape; tell whether there was any."""
        return self._draft.say(text)

    def fail(self) -> None:
        """Note that the stream carried an error of which no more is known."""
        self._draft.fail(None)

    def usage(self) -> Usage | None:
        """Return the provider's usage so far."""
        return self._draft.meter.usage()

    def reading(self) -> Reading:
        """Return everything known so far; more events may follow."""
        return self._draft.reading()
