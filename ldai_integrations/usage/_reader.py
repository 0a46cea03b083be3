"""Readers of whole responses and of streams of events, for every provider and in every envelope."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import chain
from typing import Any

from ..records import Usage
from ._draft import Draft
from ._fields import MOST_CLASSES, fields_of, fields_stored_in, get, is_a, is_record, number, text
from ._formats import FORMATS, NESTED, OF_PROVIDERS, Format
from ._readings import Reading

# What Bedrock appends to the last chunk of any model's stream.
_METRICS = "amazon-bedrock-invocationMetrics"
# How many envelopes around a response are opened, how many entries of a list are read, and after how many unknown
# entries in a row the rest of a list is ignored. An unknown entry costs about 20 µs.
_DEPTH = 4
_MOST_ENTRIES = 20_000
_MOST_UNKNOWN = 64
_LANGGRAPH_MODES = ("values", "updates", "messages", "custom", "checkpoints", "tasks", "debug")
# Fields that hold a provider's response in another object, in the order in which they are searched. Exceptions:
# ``completion`` of openai's LengthFinishReasonError, ``last_completion`` of instructor, ``run_data`` of openai-agents.
_HOLDERS = (
    "response",
    "data",
    "result",
    "message",
    "body",
    "raw",
    "raw_response",
    "raw_output",
    "completion",
    "last_completion",
    "chat_completion",
    "llm_response",
    "output",
    "chunk",
    "event",
    "payload",
    "modelOutput",
    "value",
    "kwargs",
    "run_data",
)
# Lines of Server-Sent Events that only providers send.
_MARK = re.compile(r"data: ?\[DONE\]|event: ?(response\.|message_|content_block_|ping)")
# The line that ends a stream of chat completions.
_DONE = "[DONE]"
# Fields of which an envelope that is a dict has at least one.
_ENVELOPE = frozenset(("event", "chunk", "bytes"))
# Fields that hold a list of responses: Haystack's replies, openai-agents' and others' lists.
_LISTS = ("replies", "responses", "raw_responses", "meta")
# The fields of a provider's error. Those of JSON-RPC and of applications have others.
_OF_ERRORS = frozenset(("error", "type", "id", "request_id", "user_id"))
# Longest JSON text that is parsed, in characters or bytes.
_LONGEST_JSON = 4_194_304


def read(response: object) -> Reading | None:
    """Return everything that a whole response contains.

    Args:
        response: An SDK object, a dict, a list of responses, of events or of lines, a framework's result, or an
            exception that carries a response (openai's ``LengthFinishReasonError``, instructor's errors) or a
            provider's error.

    Returns:
        The reading, or ``None`` if the response does not have the format of any provider. Never raises.
    """
    reader = StreamReader()
    reader.feed(response)
    if is_a(response, BaseException) and reader.usage() is None:
        error = _error_of_exception(response)
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


def extract_stream(events: Iterable[object]) -> Usage | None:
    """Return the provider's own usage of a stream, or ``None`` if it sent none.

    Args:
        events: The events of one stream, in order: SDK objects, dicts, or lines.
    """
    reader = StreamReader()
    for event in events:
        reader.feed(event)
    return reader.usage()


def is_response(value: object) -> bool:
    """Return whether a JSON value is itself the response of a provider, or its error object.

    Use it to tell the answer of a proxy from a page that contains a stored response or the state of an agent, and from
    the text of an error.

    Args:
        value: The parsed JSON. Never raises.
    """
    event = _unwrap(value)
    if type(event) is list and len(event) > 1 and is_response(event[0]):  # Gemini's stream, which may be an array
        reading = read(event)
        return reading is not None and len(reading.calls) == 1
    if type(event) is not dict:
        return False
    is_error = is_a(event.get("error"), dict) and event.keys() <= _OF_ERRORS
    return is_error or any(read_format(event, Draft()) for read_format in OF_PROVIDERS)


def is_provider_line(item: object) -> bool:
    """Return whether a text or bytes is a line of a provider's stream: Server-Sent Events, or one JSON object a line.

    Use it to decide about the first item of a stream of strings. True if the line contains an event with a provider's
    format, ``data: [DONE]``, or the name of an event that only providers use. Takes about 10 µs.

    Args:
        item: Anything.
    """
    if not is_a(item, str, bytes):
        return False
    reader = StreamReader()
    reader.feed(item)
    return reader.recognised or _MARK.match(_decoded(item)) is not None


class StreamReader:
    """A reader of the events of one stream.

    An event costs a few microseconds, and memory is bounded. Not for use from several threads at once.
    """

    def __init__(self) -> None:
        self._draft = Draft()
        # What read the last event, and the class of that event; ``None`` after a dict: the next may be an envelope.
        self._format: Format | None = None
        self._event_type: type | None = None
        #: Whether any event had a provider's format.
        self.recognised: bool = False
        #: Whether the current call has a finish reason.
        self.is_finished: bool = False
        #: Whether the current call has a finish reason, and its usage has not arrived yet. False if the usage came with
        #: the finish reason. True until the end of a stream that never sends usage.
        self.awaits_usage: bool = False

    @property
    def answered(self) -> bool:
        """Whether any visible text was read. Reasoning and tool calls are not visible text."""
        return self._draft.has_text

    @property
    def size(self) -> int:
        """How many characters of text, reasoning and arguments of tool calls were read, as far as they are kept."""
        return self._draft.size

    def feed(self, event: object) -> bool | None:
        """Read one event: an SDK object, a dict, or a line of Server-Sent Events or NDJSON as text or bytes.

        Returns:
            Whether it contains a non-empty text, reasoning or tool delta. ``None`` if its format is unknown; then it is
            ignored.
        """
        draft = self._draft
        draft.event += 1
        pieces = draft.pieces
        known = self._format is not None and type(event) is self._event_type and self._format(event, draft)
        if not known:
            known = self._read_lines(event, _DEPTH)
        call = draft.call
        self.is_finished = call.finished_at > 0
        self.awaits_usage = call.counted_at < call.finished_at and not call.no_usage_follows
        return draft.pieces > pieces if known else None

    def _read_lines(self, event: object, depth: int) -> bool:
        """Read an event, or the events in a text; return whether any of them has a provider's format."""
        if type(event) is dict or not is_a(event, str, bytes):
            return self._read(event, depth)
        known = False
        for one in _events_in_lines(event):
            if one == _DONE:
                self._draft.call.is_done = True
            else:
                known |= self._read(one, depth)
        return known

    def _read(self, event: Any, depth: int) -> bool:
        """Read an event, or what it envelops; return whether anything has a provider's format."""
        event_type = type(event)
        if event_type is not dict:
            if event is None or _is_database_row(event):
                return False
            fields = fields_of(event)
            event = fields if type(fields) is dict else event
        event = _unwrap(event)
        if type(event) is dict:
            if _METRICS in event:
                self._draft.count(event[_METRICS])
                if len(event) == 1:
                    return True
        elif type(event) in (list, tuple):
            return self._read_each(event, depth)
        elif event is None or is_a(event, str, bytes):
            return False
        formats = FORMATS if depth == _DEPTH else NESTED
        for read_format in formats if self._format is None else chain((self._format,), formats):
            if read_format(event, self._draft):
                self._format, self.recognised = read_format, True
                self._event_type = None if event_type is dict else event_type
                return True
        return depth > 0 and self._read_held(event, depth - 1)

    def _read_held(self, event: object, depth: int) -> bool:
        """Read the first response with usage that an unknown object holds, or else the first response."""
        known = False
        for inner in _held_responses(event):
            known |= self._read(inner, depth)
            if known and self._draft.has_usage:
                break
        return known

    def _read_each(self, events: Sequence[object], depth: int) -> bool:
        """Read a list of responses, events or lines. A whole response without an id is a call of its own."""
        known, unknown = False, 0
        outer = self._draft.entry
        for position, event in enumerate(events[:_MOST_ENTRIES] if depth else ()):
            self._draft.entry = f"{outer} entry {position}"
            self._draft.event += 1
            if self._read_lines(event, depth - 1):
                known, unknown = True, 0
                continue
            # LangGraph yields tuples for several stream modes, of which many have no call.
            is_mode = type(event) is tuple and len(event) in (2, 3) and text(event[-2]) in _LANGGRAPH_MODES
            unknown += not is_mode
            if unknown == _MOST_UNKNOWN:
                break
        self._draft.entry = outer
        return known

    def add_text(self, text: str) -> bool:
        """Add output text of a stream that is not in the format of a provider; return whether there was any."""
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


# Envelopes


def _unwrap(event: object) -> Any:
    """Return the event inside a known envelope: that of AWS, Server-Sent Events, LangChain, openai-agents."""
    if type(event) is dict:
        if _ENVELOPE.isdisjoint(event):
            return event
        name, payload = text(event.get("event")), event.get("payload")
        if name and is_record(payload):  # an event of an AWS stream that the application decoded
            return payload if name == "chunk" else {name: payload}
        data = event.get("data")
        if name and data is not None and not is_a(data, str, bytes):
            # At the end of a stream LangChain repeats the chunks, joined to one message.
            repeats = name.endswith("_end") and text(get(get(data, "output"), "type")) == "AIMessageChunk"
            return None if repeats else data
        chunk = event.get("chunk")
        if is_record(chunk):  # boto3's invoke_model_with_response_stream
            return _parse_json(get(chunk, "bytes"))
        return _parse_json(event["bytes"]) if len(event) == 1 and "bytes" in event else event
    if text(get(event, "type")) == "raw_response_event":
        return get(event, "data")
    return event


def _held_responses(event: object) -> Iterator[object]:
    """Yield the values of the fields that may hold a provider's response.

    Only stored attributes are read. A property may do anything, for example read a body that is still to be sent.
    """
    inside = fields_stored_in(event)
    for name in _HOLDERS:
        value = inside.get(name)
        if is_a(value, str, bytes):
            value = _parse_json(value) if name in ("body", "payload") else None
        if value is not None:
            yield value
    for name in _LISTS:
        value = inside.get(name)
        if type(value) in (list, tuple):
            yield value


def _error_of_exception(error: object) -> object:
    """Return the error object that a provider sent and its library raised as an exception; ``None`` if there is none.

    Exceptions of openai, anthropic, google-genai, mistralai, cohere and boto3 have a status and an error body.
    """
    stored = fields_stored_in(error)
    response = stored.get("response")
    if type(response) is dict:  # botocore
        aws = response.get("Error")
        return {"code": get(aws, "Code")} if text(get(aws, "Code")) else None
    status = number(get(stored, "status_code", "code"))
    body = get(stored, "body", "details")
    if is_a(body, str, bytes):
        body = _parse_json(body)
    if status is None or not is_record(body):
        return None
    inner = get(body, "error")
    body = inner if is_record(inner) else body
    if get(body, "type", "code", "status") is not None:
        return body
    return {"code": str(status)} if get(body, "message") is not None else None


def _parse_json(data: Any) -> Any:
    """Return the JSON in a text, in bytes, or in base64; ``None`` if there is none."""
    try:
        if not data or len(data) > _LONGEST_JSON:
            return None
        if data[:1] not in ("{", "[", b"{", b"["):
            data = base64.b64decode(data, validate=True)
        return json.loads(data)
    except Exception:  # not JSON, not bytes, or nested too deeply
        return None


def _decoded(lines: object) -> str:
    return lines.decode("utf-8", "replace") if type(lines) is bytes else text(lines)


def _events_in_lines(lines: Any) -> Iterator[object]:
    """Yield the JSON objects in lines of Server-Sent Events or NDJSON, and the line ``[DONE]``."""
    if len(lines) > _LONGEST_JSON:
        return
    for line in _decoded(lines).replace("\r", "\n").split("\n"):
        data = line.removeprefix("data:").strip()
        if data.startswith("{"):
            yield _parse_json(data)
        elif data == _DONE:
            yield _DONE


def _is_database_row(value: object) -> bool:
    """Return whether reading an attribute could run a query, as it could for models of SQLAlchemy and Django."""
    try:
        return _is_mapped(type(value))  # type: ignore[arg-type]  # mypy: a class may be unhashable
    except Exception:  # a metaclass may raise anything
        return True


@lru_cache(MOST_CLASSES)
def _is_mapped(kind: type) -> bool:
    return hasattr(kind, "__mapper__") or hasattr(kind, "DoesNotExist")
