"""Read a whole response, or a stream event by event, whoever the provider is."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from ..records import Usage
from ._dialects import DIALECTS, Dialect
from ._draft import Draft, Reading
from ._values import get, is_a, is_record, text

# What Bedrock appends to the last chunk of whatever body a model streams.
_METRICS = "amazon-bedrock-invocationMetrics"


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

    def feed(self, event: Any) -> bool:
        """Take one parsed event, an SDK object or dict.

        Returns:
            True where it carries a non-empty text, reasoning or tool delta. An event of an unknown shape is ignored.
        """
        return self.absorb(event) or False

    def absorb(self, event: Any) -> bool | None:
        """Take one parsed event as :meth:`feed` does; return ``None`` where its shape is unknown."""
        event = _unwrapped(event)
        if event is None or is_a(event, str, bytes):
            return None
        if type(event) is dict and _METRICS in event:
            self._draft.count(event[_METRICS])
        if self._dialect is not None:
            spoke = self._dialect(event, self._draft)
            if spoke is not None:
                return spoke
        for dialect in DIALECTS:
            spoke = dialect(event, self._draft)
            if spoke is not None:
                self._dialect = dialect
                return spoke
        return None

    def say(self, text: str) -> bool:
        """Take output text of a stream that has no provider's shape; tell whether there was any."""
        return self._draft.say(text)

    def fail(self) -> None:
        """Note that the stream carried an error of which no more is known."""
        self._draft.fail(None)

    def usage(self) -> Usage | None:
        """Return the provider's usage so far."""
        return self._draft.usage()

    def reading(self) -> Reading:
        """Return everything known so far; more events may follow."""
        return self._draft.reading()


def _unwrapped(event: Any) -> Any:
    """Take an event out of the envelope that AWS, openai-agents or LangGraph send it in."""
    if type(event) is dict:
        name, payload = text(event.get("event")), event.get("payload")
        if name and is_record(payload):  # an AWS event stream, decoded by hand
            return payload if name == "chunk" else {name: payload}
        chunk = event.get("chunk")
        return _json(get(chunk, "bytes")) if is_record(chunk) else event  # boto3: invoke_model_with_response_stream
    if type(event) is tuple and len(event) == 2:  # LangGraph: a message chunk and its metadata
        return event[0]
    if text(get(event, "type")) == "raw_response_event":  # openai-agents
        return get(event, "data")
    return event


def _json(data: Any) -> Any:
    try:
        return json.loads(data)
    except Exception:  # not JSON, not bytes, or nested too deep
        return None
