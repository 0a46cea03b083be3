"""How transports and frameworks wrap the responses and events of providers."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from ._values import MOST_CLASSES, fields_stored_in, get, is_a, is_record, number, text

# Fields that hold a provider's response in another object, in the order in which they are searched. Exceptions:
# ``completion`` of openai's LengthFinishReasonError, ``last_completion`` of instructor, ``run_data`` of openai-agents.
# ``_state`` is where pydantic-ai 1 keeps what its ``usage()`` returns.
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
    "_state",
)
# Fields of which an envelope that is a dict has at least one.
_ENVELOPE = frozenset(("event", "chunk", "bytes"))
# Fields that hold a list of responses: Haystack's replies, openai-agents' and others' lists.
_LISTS = ("replies", "responses", "raw_responses", "meta")
# Longest JSON text that is parsed, in characters or bytes.
LONGEST_JSON = 4_194_304
# Events that only providers name so, in lines of Server-Sent Events.
_PROVIDER_EVENTS = ("response.", "message_", "content_block_", "ping")


def unwrap(event: object) -> Any:
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
            return parse_json(get(chunk, "bytes"))
        return parse_json(event["bytes"]) if len(event) == 1 and "bytes" in event else event
    if text(get(event, "type")) == "raw_response_event":
        return get(event, "data")
    return event


def held_responses(event: object) -> Iterator[Any]:
    """Yield the values of the fields that may hold a provider's response.

    Only stored attributes are read. A property may do anything, for example read a body that is still to be sent.
    """
    inside = fields_stored_in(event)
    for name in _HOLDERS:
        value = inside.get(name)
        if is_a(value, str, bytes):
            value = parse_json(value) if name in ("body", "payload") else None
        if value is not None:
            yield value
    for name in _LISTS:
        value = inside.get(name)
        if type(value) in (list, tuple):
            yield value


def error_of_exception(error: BaseException) -> Any:
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
        body = parse_json(body)
    if status is None or not is_record(body):
        return None
    inner = get(body, "error")
    body = inner if is_record(inner) else body
    known = get(body, "type", "code", "status") is not None or get(body, "message") is not None
    if not known:
        return None
    return body if get(body, "type", "code", "status") is not None else {"code": str(status)}


def parse_json(data: Any) -> Any:
    """Return the JSON in a text, in bytes, or in base64; ``None`` if there is none."""
    try:
        if not data or len(data) > LONGEST_JSON:
            return None
        if data[:1] not in ("{", "[", b"{", b"["):
            data = base64.b64decode(data, validate=True)
        return json.loads(data)
    except Exception:  # not JSON, not bytes, or nested too deeply
        return None


def events_of_line(line: str | bytes) -> tuple[list[Any], bool]:
    """Return the JSON objects in lines of Server-Sent Events or NDJSON, and whether others are a provider's."""
    written = line.decode("utf-8", "replace") if type(line) is bytes else text(line)
    if len(written) > LONGEST_JSON:
        return [], False
    events, known = [], False
    for one in written.splitlines() if "\n" in written or "\r" in written else (written,):
        field, colon, value = one.partition(":")
        if field == "data" and colon:
            one = value.strip()
            known |= one == "[DONE]"
        elif field == "event" and colon and value.strip().startswith(_PROVIDER_EVENTS):
            known = True
        if one[:1] == "{":
            try:
                event = json.loads(one)
            except (ValueError, RecursionError):
                continue
            events.append(event)
    return events, known


def is_database_row(value: object) -> bool:
    """Return whether reading an attribute could run a query, as it could for models of SQLAlchemy and Django."""
    try:
        return _is_mapped(type(value))  # type: ignore[arg-type]  # mypy: a class may be unhashable
    except Exception:  # a metaclass may raise anything
        return True


@lru_cache(MOST_CLASSES)
def _is_mapped(kind: type) -> bool:
    return hasattr(kind, "__mapper__") or hasattr(kind, "DoesNotExist")
