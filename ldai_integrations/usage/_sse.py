"""Read a provider's stream as it passes as bytes: Server-Sent Events, or lines of JSON."""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterator
from typing import Any

from ._reading import StreamReader
from ._readings import Reading

# Longest event that is kept, in characters; a longer one is left out.
_LONGEST = 4_194_304
_LINE_END = re.compile(r"\r\n|\n|\r")
# How deep in an unknown JSON object its texts are looked for, and the fields that never hold output.
_DEPTH = 6
_NOT_OUTPUT = frozenset(("type", "id", "object", "role", "model", "event", "status", "created", "timestamp"))


class SSEReader:
    """Read a streamed body chunk by chunk, wherever the chunks are cut.

    JSON is handed to a :class:`StreamReader`; any other data, and what a JSON string says, is taken for output text.
    Memory is bounded. Not for use from two threads at once. Source of the syntax:
    https://html.spec.whatwg.org/multipage/server-sent-events.html
    """

    def __init__(self) -> None:
        self._reader = StreamReader()
        self._decoder = codecs.getincrementaldecoder("utf-8-sig")("replace")
        self._parts: list[str] = []
        self._data: list[str] = []
        self._size = 0
        self._after_return = False
        self._event = ""

    @property
    def recognised(self) -> bool:
        """Whether any event had a provider's shape."""
        return self._reader.recognised

    @property
    def answered(self) -> bool:
        """Whether any visible text has passed; reasoning and tool calls are none."""
        return self._reader.answered

    def feed(self, data: bytes) -> bool:
        """Take the next bytes of the body.

        Returns:
            True where they complete an event that carries a non-empty text, reasoning or tool delta.
        """
        spoke = False
        for line in self._lines(self._decoder.decode(data)):
            spoke |= self._line(line)
        return spoke

    def reading(self) -> Reading:
        """Return everything known so far; more bytes may follow."""
        self._take_complete_tail()
        return self._reader.reading()

    def _take_complete_tail(self) -> None:
        """Take a last line that lacks its end, as bodies that were cut or end without one have, if it is whole JSON."""
        line = "".join(self._parts)
        payload = line.removeprefix("data:").strip()
        if payload[:1] + payload[-1:] in ("{}", '""') and _parsed(payload) is not None:
            self._parts = []
            self._line(line)
        if self._data and _parsed("\n".join(self._data)) is not None:
            self._dispatch()

    def _lines(self, text: str) -> Iterator[str]:
        if self._after_return and text:  # the line feed of a pair that was cut in two
            text = text.removeprefix("\n")
            self._after_return = False
        self._after_return |= text.endswith("\r")
        first, *others = _LINE_END.split(text)
        if self._size <= _LONGEST:
            self._parts.append(first)
            self._size += len(first)
        if others:
            yield "".join(self._parts)
            yield from others[:-1]
            self._parts = others[-1:]
            self._size += len(others[-1])

    def _line(self, line: str) -> bool:
        if not line:
            return self._dispatch()
        if line.startswith(("{", '"')):  # Ollama and Cohere v1 send lines of JSON, FastAPI makes them of text
            size, self._size = self._size, 0
            return size <= _LONGEST and self._payload(line)
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if field == "data":
            self._data.append(value)
        elif field == "event":
            self._event = value
        return False

    def _dispatch(self) -> bool:
        data, self._data = "\n".join(self._data), []
        event, self._event = self._event, ""
        size, self._size = self._size, 0
        if not data or data == "[DONE]" or size > _LONGEST:
            return False
        spoke = self._payload(data)
        if event == "error":
            self._reader.fail()
        return spoke

    def _payload(self, data: str) -> bool:
        payload = _parsed(data)
        if isinstance(payload, str):
            return self._text(payload)
        if not isinstance(payload, (dict, list)):  # plain text; a number or ``true`` is a word of it
            return self._reader.say(data)
        spoke = self._reader.absorb(payload) if isinstance(payload, dict) else None
        if spoke is None:
            spoke = False
            for leaf in _leaves(payload, _DEPTH):
                spoke |= self._reader.say(leaf)
        return spoke

    def _text(self, text: str) -> bool:
        """Take text that came as a JSON string; it may be a provider's event, encoded twice."""
        event = _parsed(text) if text.startswith("{") else None
        spoke = self._reader.absorb(event) if isinstance(event, dict) else None
        return self._reader.say(text) if spoke is None else spoke


def _parsed(data: str) -> Any:
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return None


def _leaves(value: Any, depth: int) -> Iterator[str]:
    """Yield the strings in a JSON value, those in fields that name or number things excepted."""
    if isinstance(value, str):
        yield value
    elif depth and isinstance(value, list):
        for one in value:
            yield from _leaves(one, depth - 1)
    elif depth and isinstance(value, dict):
        for name, one in value.items():
            if name not in _NOT_OUTPUT and not name.endswith(("_id", "_at")):
                yield from _leaves(one, depth - 1)
