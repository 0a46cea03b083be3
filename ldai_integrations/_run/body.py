"""Bodies and streams, read as they pass: JSON documents, Server-Sent Events, lines of JSON, Amazon's event streams.

``feed`` of a reader takes an item, and returns whether it has text, reasoning or a tool delta. ``None``, from a
``StreamReader``, means that the item is not in a provider's format. ``reading`` returns what is known so far,
``answered`` says whether visible text has passed, ``is_finished`` whether the finish reason has, and ``awaits_usage``
whether it came before the usage.
"""

from __future__ import annotations

import json
import re
import sys
from codecs import BOM_UTF8
from collections import deque
from collections.abc import AsyncIterator, Iterator
from typing import Any

from ..usage import (
    AmazonDecoder,
    Decoder,
    Reading,
    SSEReader,
    StreamReader,
    decoder,
    is_provider_line,
    is_response,
    read,
)
from .proxy import Proxy

_SSE_TYPE = "text/event-stream"
_AMAZON_TYPE = "application/vnd.amazon.eventstream"
_STREAM_STARTS = ("data:", "event:", "id:", "retry:", ":")
_STREAM_START = re.compile(rb"(data|event|id|retry)?:")
_JSON_STARTS = ("{", "[")
#: How much of a text is looked at to recognise a line, in characters or bytes.
MOST_PARSED = 262_144
# How many characters are parsed for that, in less than 1 ms. A longer line is recognised by its start. What was cut off
# of bytes has at least so many characters.
_LONGEST_PARSED = MOST_PARSED // 4
# How many times as many bytes compressed ones may become. How many of a stream are decoded as they pass: what follows a
# larger part is decoded when the run is reported, and so are documents.
_MOST_TIMES, _MOST_DECODED = 1_000, 2_048
# Longest first line of JSON, in bytes, of a body that may be lines of JSON. It is parsed as it passes.
_LONGEST_FIRST_LINE = 16_384
# Fields beside the response in a line of a batch's results. OpenAI, Anthropic and Mistral have the first one, Bedrock
# has the second one, and Gemini one of the others.
_OF_ENTRIES = ("custom_id", "recordId", "key", "request")
# How an event ends, a sign of the one with the usage of an OpenAI stream, and how long it can be, in bytes.
_EVENT_ENDS = (b"\n\n", b"\n\r\n", b"\r\r")
_EVENT_END = re.compile(b"|".join(b"(?<=%b)" % end for end in _EVENT_ENDS))
_NO_CHOICES = re.compile(rb'"choices":\s*\[\s*\]')
# It cannot match inside of a string, where each quotation mark follows a backslash.
_NO_USAGE = re.compile(rb',\s*"usage":\s*null|"usage":\s*null\s*,\s*')
_LONGEST_USAGE = 16_384


def is_stream_type(content_type: str) -> bool:
    """Return whether a media type is that of Server-Sent Events or lines of JSON.

    Lines of JSON have many names, such as ``application/x-ndjson`` and ``application/jsonl``.
    """
    kind = media_type(content_type)
    return kind == _SSE_TYPE or ("json" in kind and not is_json_type(kind))


def is_read_type(content_type: str) -> bool:
    """Return whether a body of a media type is read by a :class:`BodyReader`."""
    return is_stream_type(content_type) or is_json_type(content_type) or is_amazon_type(content_type)


def is_amazon_type(content_type: str) -> bool:
    """Return whether a media type is that of Amazon's event streams, which botocore decodes."""
    # Whoever calls Bedrock has imported botocore. To import it here could block an event loop.
    return media_type(content_type) == _AMAZON_TYPE and "botocore" in sys.modules


def is_json_type(content_type: str) -> bool:
    """Return whether a media type is that of a JSON document."""
    kind = media_type(content_type)
    return kind.endswith(("/json", "+json")) and kind != "application/stream+json"


def media_type(content_type: str) -> str:
    """Return the media type of a ``Content-Type`` header, without its parameters."""
    return content_type.partition(";")[0].strip().lower()


class BodyReader:
    """A reader of a response body that may have a provider's format.

    Applications also send streams as ``application/json``, for example if they pass on what Ollama sends, and documents
    as ``text/event-stream``. So the first line decides.

    Args:
        content_type: The ``Content-Type`` header.
        content_encoding: The ``Content-Encoding`` header; empty if there is none.
        limit: How much of a JSON document is kept, in bytes. Nothing is read of a longer one.
    """

    def __init__(self, content_type: str, content_encoding: str = "", *, limit: int) -> None:
        self._events = AmazonDecoder() if is_amazon_type(content_type) else None
        self._is_sse_type = media_type(content_type) == _SSE_TYPE
        #: Whether the media type is that of a stream.
        self.is_stream: bool = is_stream_type(content_type) or self._events is not None
        self._decoder: Decoder | None = None
        if content_encoding:
            self._decoder = decoder(content_encoding, most=None if self.is_stream else limit + 1)
        #: Whether the body is compressed in a way that the standard library cannot decode.
        self.is_undecodable = bool(content_encoding) and self._decoder is None
        self._lines = SSEReader() if self._events is not None else None
        self._document: bytearray | None = None
        if self._lines is None and (self.is_stream or is_json_type(content_type)):
            self._document = bytearray()
        self._may_be_lines = self._document is not None
        self._is_batch = False
        self._limit = limit
        #: Whether the body, or its end, is not read because it is longer than the limit.
        self.is_too_long = False
        self._compressed: deque[bytes] = deque()
        self._size = 0

    @property
    def size(self) -> int:
        """How much there may be to read at the end, in bytes."""
        if self.is_too_long:  # the application may have kept the body, which is then read at the end
            return self._limit
        compressed = self._size * _MOST_TIMES
        return compressed + len(self._document or b"") + (self._lines.size if self._lines is not None else 0)

    @property
    def answered(self) -> bool:
        """Whether any visible text has passed."""
        return self._lines is not None and self._lines.answered

    @property
    def is_finished(self) -> bool:
        """Whether the finish reason of the last answer has passed."""
        return self._lines is not None and self._lines.is_finished

    @property
    def awaits_usage(self) -> bool:
        """Whether the finish reason has passed, and the usage has not."""
        return self._lines is not None and self._lines.awaits_usage

    def feed(self, data: bytes | str) -> bool:
        """Take a part of the body; return whether it completes an event with text, reasoning or a tool delta."""
        if self.is_undecodable:
            return False
        data = data if isinstance(data, str) else bytes(data)
        if self._decoder is not None:
            data = data.encode("utf-8", "replace") if isinstance(data, str) else data
            is_short = len(data) <= _MOST_DECODED and not self._decoder.is_nested
            if not self.is_stream or self._compressed or not is_short:
                self._keep(data)
                return False
            data = self._decoder.decode(data)
        return self._take(data)

    def reading(self) -> Reading | None:
        """Return what is known so far; ``None`` if the body is not in the format of a provider."""
        while self._compressed and self._decoder is not None:
            self._take(self._decoder.decode(self._compressed.popleft()))
        if self._lines is not None:
            return self._lines.reading()
        document = json_in(self._document)
        return None if document is None else read(document)

    @property
    def is_response(self) -> bool:
        """Whether the body is a stream, or a document that is itself a provider's response.

        Lines that are several whole responses are the results of a batch, or a log.
        """
        if self._lines is None:
            return is_response(json_in(self._document))
        if self._is_batch:
            return False
        reading = None if self._is_sse_type else self._lines.reading()
        return reading is None or not reading.is_whole or len(reading.calls) == 1

    def _keep(self, data: bytes) -> None:
        """Keep compressed bytes, within the limit of a document."""
        self._size += len(data)
        if self._size <= self._limit:
            self._compressed.append(data)
        else:
            self.is_too_long = self._limit > 0

    def _take(self, data: bytes | str) -> bool:
        if self._events is not None and isinstance(data, bytes):
            data = self._events.decode(data)
        if self._lines is not None:
            return self._lines.feed(data)
        if self._document is not None:
            data = data.encode("utf-8", "replace") if isinstance(data, str) else data
            data = data if self._document else without_mark(data)
            document: bytes | bytearray = data  # which may be long, so it is not copied to look at its first line
            if self._document:
                self._document += data
                document = self._document
            has_lines = self._has_lines(document, len(data)) if self._may_be_lines else False
            if has_lines:
                self._document, self._lines = None, SSEReader()
                return self._lines.feed(bytes(document))
            self._may_be_lines = has_lines is None
            if len(document) > self._limit and not (self._may_be_lines and self.is_stream):
                self._document, self.is_too_long = None, self._limit > 0
            elif document is data:
                self._document += data
        return False

    def _has_lines(self, document: bytes | bytearray, added: int) -> bool | None:
        """Return whether a body is Server-Sent Events or lines of JSON; ``None`` if more of it must be seen."""
        beginning = bytes(document[:100]).lstrip()
        if self.is_stream and not beginning.startswith((b"{", b"[")):
            return True if beginning or len(document) > 100 else None
        end = document.find(b"\n", max(0, len(document) - added - 1))
        if end < 0:
            return True if self.is_stream and len(document) > _LONGEST_FIRST_LINE else None
        if _STREAM_START.match(beginning):
            return True
        line = json_in(document[:end]) if end < _LONGEST_FIRST_LINE else None
        if self.is_stream:
            self._is_batch = _is_of_batch(line)
            return isinstance(line, dict) or end >= _LONGEST_FIRST_LINE
        if not is_response(line):
            return False
        # Part of a response, or a response that more follows.
        return True if _is_part(line) or not document[end:].isspace() else None


class ItemReader:
    """A reader of the items of a stream: a provider's events, lines of text, or parts of a body."""

    def __init__(self) -> None:
        self._reader: StreamReader | SSEReader | None = None

    @property
    def size(self) -> int:
        """How much text has passed: all of it in characters or bytes, or the characters in a provider's objects."""
        return self._reader.size if self._reader is not None else 0

    @property
    def recognised(self) -> bool:
        """Whether any item had a provider's format."""
        return self._reader is not None and self._reader.recognised

    @property
    def answered(self) -> bool:
        """Whether any visible text has passed."""
        return self._reader is not None and self._reader.answered

    @property
    def is_finished(self) -> bool:
        """Whether the finish reason of the last answer has passed."""
        return self._reader is not None and self._reader.is_finished

    @property
    def awaits_usage(self) -> bool:
        """Whether the finish reason has passed, and the usage has not."""
        return self._reader is not None and self._reader.awaits_usage

    @property
    def fastest(self) -> ItemReader | StreamReader:
        """The reader of the next items: without the detour through this one, once an item was a provider's event."""
        return self._reader if isinstance(self._reader, StreamReader) else self

    def reading(self) -> Reading | None:
        """Return what is known so far."""
        return self._reader.reading() if self._reader is not None else None

    def feed(self, item: object) -> bool:
        """Take an item; return whether it carries text, reasoning or a tool delta."""
        if isinstance(self._reader, StreamReader):
            return self._reader.feed(item) or False
        if not isinstance(item, (str, bytes, bytearray, memoryview)):
            return self._feed_object(item)
        # Part of a body, which may be cut anywhere, or a line without its end, as HTTP clients' iterators give it.
        data = item if isinstance(item, str) else bytes(item)
        data = without_mark(data) if self._reader is None else data
        has_end = "\n" in data if isinstance(data, str) else b"\n" in data
        is_inside_line = self._reader is not None and self._reader.is_inside_line
        if not has_end and not is_inside_line and is_sse_or_json_line(beginning_of(data)):
            return self._feed_text(data) | self._feed_text("\n\n")
        return self._feed_text(data)

    def _feed_text(self, data: bytes | str) -> bool:
        if self._reader is None:
            self._reader = SSEReader()
        return self._reader.feed(data) or False

    def _feed_object(self, item: object) -> bool:
        """Take an event of a provider, or one that a web framework has still to encode as a Server-Sent Event."""
        name, data = (
            item.get(key) if isinstance(item, dict) else getattr(item, key, None) for key in ("event", "data")
        )
        if isinstance(data, str):
            event = f"event: {name}\n" if isinstance(name, str) else ""
            lines = "\n".join(f"data: {line}" for line in data.split("\n"))
            return self._feed_text(f"{event}{lines}\n\n")
        events = StreamReader()
        has_delta = events.feed(item) or False
        if events.recognised or self._reader is None:
            self._reader = events
        return has_delta


class WithoutUsage(Proxy):
    """The bytes of an OpenAI stream without its usage: the last event, and a ``null`` in all others.

    An event is passed on as soon as it is complete.
    """

    def __iter__(self) -> Iterator[bytes]:
        events = _UsageFilter()
        for data in self.__wrapped__:
            if passed := events.feed(data):
                yield passed
        yield events.waiting

    async def __aiter__(self) -> AsyncIterator[bytes]:
        events = _UsageFilter()
        async for data in self.__wrapped__:
            if passed := events.feed(data):
                yield passed
        yield events.waiting


class _UsageFilter:
    """A filter that takes the usage out of the events of a stream.

    Attributes:
        waiting: The beginning of an event.
    """

    def __init__(self) -> None:
        self.waiting = b""

    def feed(self, data: bytes) -> bytes:
        """Take a part of the body; return the events that are complete, without the usage."""
        data = self.waiting + data
        end = max((at + len(mark) for mark in _EVENT_ENDS if (at := data.rfind(mark)) >= 0), default=0)
        if len(data) - end > _LONGEST_USAGE:
            end = len(data)
        data, self.waiting = _NO_USAGE.sub(b"", data[:end]), data[end:]
        if not _NO_CHOICES.search(data):
            return data
        return b"".join(event for event in _EVENT_END.split(data) if not _has_only_usage(event))


def _has_only_usage(event: bytes) -> bool:
    lines = (line.removeprefix(b"data:") for line in event.splitlines() if line.startswith(b"data:"))
    chunk = json_in(b"\n".join(lines))
    return isinstance(chunk, dict) and chunk.get("choices") == [] and chunk.get("usage") is not None


def beginning_of(item: Any) -> str:
    """Return so much of a text or of bytes that its first line can be recognised."""
    part = item[: MOST_PARSED + 1]
    text: str = without_mark(part if isinstance(part, str) else bytes(part).decode("utf-8", "replace"))
    return text


def without_mark(data: Any) -> Any:
    """Return a text or bytes without the byte order mark that some servers send first."""
    return data.removeprefix("\ufeff") if isinstance(data, str) else data.removeprefix(BOM_UTF8)


def is_sse_or_json_line(text: str) -> bool:
    """Return whether a text is a whole line of Server-Sent Events or a line of JSON."""
    beginning = text[:100].lstrip()
    has_json = beginning.removeprefix("data:").lstrip().startswith(_JSON_STARTS)
    return is_json_line(text) if has_json else beginning.startswith(_STREAM_STARTS)


def is_json_line(text: str) -> bool:
    """Return whether a text is a line of JSON, alone or as the data of an event, or the last event, ``[DONE]``."""
    if len(text) > _LONGEST_PARSED:
        return text[:100].lstrip().removeprefix("data:").lstrip().startswith(_JSON_STARTS)
    stripped = text.strip()
    data = stripped.removeprefix("data:").strip()
    return (data == "[DONE]" and data != stripped) or (data.startswith(_JSON_STARTS) and json_in(data) is not None)


def is_document(text: str) -> bool:
    """Return whether a text begins like a JSON array, or like a JSON object on several lines."""
    line, _, rest = text.strip().partition("\n")
    return line.startswith("[") or (line.startswith("{") and rest != "" and not is_json_line(line))


def begins_provider_stream(text: str) -> bool | None:
    """Return whether a text is a provider's stream, by its first data; ``None`` if more of the text must be seen."""
    *lines, rest = text.split("\n")
    for position, line in enumerate(lines):
        if line.strip() and not line.startswith(_STREAM_STARTS[1:]):
            if line.startswith("data:") or not is_provider_line(line):
                return is_provider_line(line)
            event = json_in(line)
            if _is_of_batch(event):
                return False
            # A line of JSON may be a whole document.
            return True if _is_part(event) or rest.strip() or any(lines[position + 1 :]) else None
    rest = rest.lstrip()
    may_begin = any(rest.startswith(start) or start.startswith(rest) for start in (*_STREAM_STARTS, "{"))
    return None if may_begin and len(text) < _LONGEST_FIRST_LINE else False


def _is_part(event: object) -> bool:
    """Return whether an event is part of a response that more follows."""
    reading = read(event) if is_response(event) else None
    return reading is not None and not (reading.usage or reading.finish_reasons or reading.error)


def _is_of_batch(line: object) -> bool:
    """Return whether a line of JSON is an entry in the results of a batch, which was generated before the request."""
    return type(line) is dict and any(name in line for name in _OF_ENTRIES) and not is_response(line)


def json_in(data: str | bytes | bytearray | None) -> Any:
    """Return the JSON in a text; ``None`` if there is none."""
    try:
        return json.loads(data) if data else None
    except (ValueError, RecursionError):
        return None
