"""Readers of whole responses and of streams of events, for every provider."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any

from ..records import Usage
from ._calls import Draft
from ._dialects import DIALECTS, NESTED, Dialect
from ._envelopes import error_of_exception, events_of_line, held_responses, is_database_row, unwrap
from ._readings import Reading
from ._values import fields_of, is_a

# What Bedrock appends to the last chunk of any model's stream.
_METRICS = "amazon-bedrock-invocationMetrics"
# How many envelopes around a response are opened, how many entries of a list are read, and after how many unknown
# entries in a row the rest of a list is ignored. An unknown entry costs about 20 µs.
_DEPTH = 4
_MOST_ENTRIES = 20_000
_MOST_UNKNOWN = 64
_LANGGRAPH_MODES = ("values", "updates", "messages", "custom", "checkpoints", "tasks", "debug")


def read(response: Any) -> Reading | None:
    """Return everything that a whole response contains.

    Args:
        response: An SDK object, a dict, a list of responses, a framework's result, or an exception that carries a
            response (openai's ``LengthFinishReasonError``, instructor's errors) or a provider's error.

    Returns:
        The reading, or ``None`` if the response does not have the shape of any provider. Never raises.
    """
    reader = StreamReader()
    reader.feed(response)
    if is_a(response, BaseException) and reader.usage() is None:
        error = error_of_exception(response)
        if error is not None:
            reader.fail(error)
            return reader.reading()
    return reader.reading() if reader.recognised else None


def extract(response: object) -> Usage | None:
    """Return the provider's own usage of a whole response, or ``None`` if it has none.

    Args:
        response: As for :func:`read`. Never raises.
    """
    return extract_stream((response,))


def extract_stream(events: Iterable[Any]) -> Usage | None:
    """Return the provider's own usage of a stream, or ``None`` if it sent none.

    Args:
        events: The events of one stream, in order: SDK objects, dicts, or lines.
    """
    reader = StreamReader()
    for event in events:
        reader.feed(event)
    return reader.usage()


def is_response(value: Any) -> bool:
    """Return whether a JSON value is itself the response of a provider, or its error object.

    Use it to tell the answer of a proxy from a page that contains a stored response, or the text of an error.

    Args:
        value: The parsed JSON. Never raises.
    """
    event = unwrap(value)
    if type(event) is not dict:
        return False
    return is_a(event.get("error"), dict) or any(dialect(event, Draft()) for dialect in NESTED)


def is_provider_line(item: Any) -> bool:
    """Return whether a text or bytes is a line of a provider's stream: Server-Sent Events, or one JSON object a line.

    Use it to decide about the first item of a stream of strings. True if the line contains an event with a provider's
    shape, ``data: [DONE]``, or the name of an event that only providers use. Takes about 10 µs.

    Args:
        item: Anything.
    """
    if not is_a(item, str, bytes):
        return False
    events, known = events_of_line(item)
    if not events:
        return known
    reader = StreamReader()
    for event in events:
        reader.feed(event)
    return reader.recognised


def _has_langgraph_mode(event: object) -> bool:
    """Return whether an entry is a tuple that LangGraph yields for several stream modes, of which many have no call."""
    return type(event) is tuple and len(event) in (2, 3) and type(event[-2]) is str and event[-2] in _LANGGRAPH_MODES


class StreamReader:
    """A reader of the events of one stream.

    An event costs a few microseconds, and memory is bounded. Not for use from several threads at once.
    """

    def __init__(self) -> None:
        self._draft = Draft()
        # What has read the last event, and the class of that event; a dict may be an envelope.
        self._dialect: Dialect | None = None
        self._form: type | None = None
        #: Whether any event had a provider's shape.
        self.recognised: bool = False
        #: Whether the current call has a finish reason, and its usage has not arrived yet. False if the usage came with
        #: the finish reason. True until the end of a stream that never sends usage.
        self.awaits_usage: bool = False

    @property
    def answered(self) -> bool:
        """Whether any visible text was read. Reasoning and tool calls are not visible text."""
        return self._draft.has_text

    def feed(self, event: Any) -> bool | None:
        """Read one event: an SDK object, a dict, or a line of Server-Sent Events or NDJSON as text or bytes.

        Returns:
            Whether it contains a non-empty text, reasoning or tool delta. ``None`` if its shape is unknown; then it is
            ignored.
        """
        draft = self._draft
        draft.event += 1
        pieces = draft.pieces
        known = self._dialect is not None and type(event) is self._form and self._dialect(event, draft)
        if not known:
            is_line = type(event) is not dict and is_a(event, str, bytes)
            for one in events_of_line(event)[0] if is_line else (event,):
                known |= self._absorb(one, _DEPTH)
        call = draft.call
        self.awaits_usage = call.counted_at < call.finished_at and not call.closed
        return draft.pieces > pieces if known else None

    def _absorb(self, event: Any, depth: int) -> bool:
        """Read an event, or what it envelops; return whether anything has a provider's shape."""
        form = type(event)
        if form is not dict:
            if event is None or is_database_row(event):
                return False
            fields = fields_of(event)
            event = fields if type(fields) is dict else event
        event = unwrap(event)
        if type(event) is dict:
            if _METRICS in event:
                self._draft.count(event[_METRICS])
                if len(event) == 1:
                    return True
        elif type(event) in (list, tuple):
            return self._absorb_each(event, depth)
        elif event is None or is_a(event, str, bytes):
            return False
        dialects = DIALECTS if depth == _DEPTH else NESTED
        for dialect in dialects if self._dialect is None else chain((self._dialect,), dialects):
            if dialect(event, self._draft):
                self._dialect, self.recognised = dialect, True
                self._form = None if form is dict else form
                return True
        return depth > 0 and self._absorb_held(event, depth - 1)

    def _absorb_held(self, event: object, depth: int) -> bool:
        """Read the first response with usage that an unknown object holds, or else the first response."""
        known = False
        for inner in held_responses(event):
            known |= self._absorb(inner, depth)
            if known and self._draft.has_usage:
                break
        return known

    def _absorb_each(self, events: Sequence[Any], depth: int) -> bool:
        """Read a list of responses or events. A whole response without an id is a call of its own."""
        known, unknown = False, 0
        outer = self._draft.entry
        for position, event in enumerate(events[:_MOST_ENTRIES] if depth else ()):
            self._draft.entry = f"{outer} entry {position}"
            self._draft.event += 1
            if self._absorb(event, depth - 1):
                known, unknown = True, 0
            elif not _has_langgraph_mode(event) and (unknown := unknown + 1) == _MOST_UNKNOWN:
                break
        self._draft.entry = outer
        return known

    def add_text(self, text: str) -> bool:
        """Add output text of a stream that has no provider's shape; return whether there was any."""
        return self._draft.add_text(text)

    def fail(self, error: object = None) -> None:
        """Record that the stream contains an error, and the provider's error object if there is one."""
        self._draft.fail({} if error is None else error)

    def usage(self) -> Usage | None:
        """Return the provider's usage so far."""
        return self._draft.usage()

    def reading(self) -> Reading:
        """Return everything that is known so far; more events may follow."""
        return self._draft.reading()
