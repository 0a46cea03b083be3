"""Take an event out of what a transport or a framework sends it in."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from ._values import MOST_KINDS, get, is_a, is_record, text

# Fields that hold a provider's response in something else, in the order in which they are looked into. ``_state`` is
# where pydantic-ai 1 keeps what its ``usage()`` returns.
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
    "chat_completion",
    "llm_response",
    "output",
    "chunk",
    "event",
    "payload",
    "modelOutput",
    "value",
    "kwargs",
    "_state",
)
# Fields of which each entry is a response: Haystack's replies, openai-agents' and others' lists.
_LISTS = ("replies", "responses", "raw_responses", "meta")
# Longest JSON text that is parsed, in characters or bytes.
_LONGEST = 4_194_304


def unwrapped(event: Any) -> Any:
    """Return the event inside an envelope that names it: AWS's, Server-Sent Events', LangChain's, openai-agents'."""
    if type(event) is dict:
        name, payload = text(event.get("event")), event.get("payload")
        if name and is_record(payload):  # an AWS event stream, decoded by hand
            return payload if name == "chunk" else {name: payload}
        data = event.get("data")
        if name and data is not None and not is_a(data, str, bytes):
            return None if _repeats_chunks(name, data) else data
        chunk = event.get("chunk")
        if is_record(chunk):  # boto3: invoke_model_with_response_stream
            return parsed(get(chunk, "bytes"))
        return parsed(event["bytes"]) if len(event) == 1 and "bytes" in event else event
    if text(get(event, "type")) == "raw_response_event":
        return get(event, "data")
    return event


def _repeats_chunks(name: str, data: Any) -> bool:
    """Tell whether an event of LangChain only puts together the chunks that came before it."""
    return name.endswith("_end") and text(get(get(data, "output"), "type")) == "AIMessageChunk"


def held(event: Any) -> Iterator[Any]:
    """Yield what an unknown record or object holds where responses are kept.

    Only what lies in an object is looked at: a property may do anything, such as read a body that is still to be sent.
    """
    inside = _stored(event)
    for name in _HOLDERS:
        value = inside.get(name)
        if is_a(value, str, bytes):
            value = parsed(value) if name in ("body", "payload") else None
        if value is not None:
            yield value
    for name in _LISTS:
        value = inside.get(name)
        if type(value) in (list, tuple):
            yield value


def parsed(data: Any) -> Any:
    """Return the JSON in a text, in bytes, or in base64; ``None`` where there is none."""
    try:
        if not data or len(data) > _LONGEST:
            return None
        if data[:1] not in ("{", "[", b"{", b"["):
            data = base64.b64decode(data, validate=True)
        return json.loads(data)
    except Exception:  # not JSON, not bytes, or nested too deep
        return None


def is_database_row(value: Any) -> bool:
    """Tell whether reading an attribute could run a query: SQLAlchemy's, Django's and their likes' models."""
    try:
        return _is_mapped(type(value))  # type: ignore[arg-type]  # mypy: a class may be unhashable
    except Exception:  # a metaclass may raise anything
        return True


@lru_cache(MOST_KINDS)
def _is_mapped(kind: type) -> bool:
    return hasattr(kind, "__mapper__") or hasattr(kind, "DoesNotExist")


def _stored(event: Any) -> dict[str, Any]:
    if type(event) is dict:
        return event
    try:
        stored = object.__getattribute__(event, "__dict__")
    except AttributeError:
        return {}
    return stored if type(stored) is dict else {}
