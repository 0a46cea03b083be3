"""Decoders of streamed bodies: Server-Sent Events, lines of JSON, Amazon's event streams, and compression."""

from __future__ import annotations

import base64
import codecs
import io
import json
import time
import zlib
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol

from ._fields import from_json
from ._reader import StreamReader
from ._readings import Reading

# Longest event that is read, in characters. A longer one is dropped.
_LONGEST = 4_194_304
# What a line of an event takes up in memory besides its characters.
_LINE = 64
# How much one call of feed() reads, and the longest event that it parses, in bytes or characters.
_AT_ONCE, _LONGEST_AT_ONCE = 16_384, 131_072
# The size of the parts that feed() reads. It stops after a part if it has used this CPU time, in seconds: many short
# events take longer than one long event. Time in which the thread waits for a processor does not count, so that the
# first token of a short stream is seen in time.
_PART, _AT_ONCE_SECONDS = 512, 0.002
# How much may wait to be read, in bytes or characters.
_MOST_WAITING = 8_388_608
# How deep in an unknown JSON object texts are searched, and fields that never contain output, such as feedback tokens.
_DEPTH = 6
_NOT_OUTPUT = frozenset(("type", "id", "object", "role", "model", "event", "status", "created", "timestamp"))
_NOT_OUTPUT_ENDS = ("_id", "_at", "_token", "Id", "At", "Token")
# Most bytes that a decoder returns in all, a protection against decompression bombs.
_MOST = 67_108_864
# ``wbits`` of zlib for gzip, for deflate with zlib's header, and for deflate without it.
_GZIP, _ZLIB, _RAW = 31, 15, -15


class SSEReader:
    """A reader of a streamed body, which may be cut into chunks anywhere.

    JSON is passed to a :class:`StreamReader`. Other data, and the content of a JSON string, counts as output text. The
    memory is bounded: an event of more than 4 MiB is dropped, and so are the oldest of more than 8 MiB that wait to be
    read. Not for use from several threads at once. Source of the syntax:
    https://html.spec.whatwg.org/multipage/server-sent-events.html
    """

    def __init__(self) -> None:
        self._reader = StreamReader()
        # What has not been read yet, its size, and the position in the first part of it.
        self._waiting: deque[bytes | str] = deque()
        self._waiting_size = self._position = 0
        self._decoder = codecs.getincrementaldecoder("utf-8-sig")("replace")
        # The current line, which is None if it is too long.
        self._line: io.StringIO | None = io.StringIO()
        # The data of the current event before it, and its size.
        self._data: list[str] = []
        self._data_size = 0
        self._after_return = False
        self._event = ""
        #: How much has passed, in bytes or characters.
        self.size: int = 0
        #: Whether an event was dropped because it was too long.
        self.dropped: bool = False

    @property
    def recognised(self) -> bool:
        """Whether any event had a provider's shape."""
        return self._reader.recognised

    @property
    def answered(self) -> bool:
        """Whether any visible text was read. Reasoning and tool calls are not visible text."""
        return self._reader.answered

    @property
    def is_finished(self) -> bool:
        """Whether the current call has a finish reason."""
        return self._reader.is_finished

    @property
    def awaits_usage(self) -> bool:
        """Whether the current call has a finish reason, and its usage has not arrived yet."""
        return self._reader.awaits_usage

    @property
    def is_inside_line(self) -> bool:
        """Whether what has passed ends inside a line."""
        if not self._waiting:
            return self._line is None or self._line.tell() > 0
        return self._waiting[-1][-1:] not in ("\n", "\r", b"\n", b"\r")

    def feed(self, data: bytes | str) -> bool:
        """Take the next part of the body, and read so much of it that an event loop is not blocked.

        The rest waits for the next calls. What follows an event of more than 128 KiB waits for :meth:`reading`.

        Returns:
            True if an event was read that contains a non-empty text, reasoning or tool delta.
        """
        self._waiting.append(data)
        self._waiting_size += len(data)
        self.size += len(data)
        while self._waiting_size > _MOST_WAITING and len(self._waiting) > 1:
            self._drop(self._waiting.popleft())
        has_delta, rest = False, self._waiting_size - _AT_ONCE
        until = time.thread_time() + _AT_ONCE_SECONDS
        while self._waiting and self._waiting_size > rest and not self._is_inside_long_event:
            has_delta |= self._read(_PART)
            if self._waiting and time.thread_time() > until:
                break
        return has_delta

    def reading(self) -> Reading:
        """Return everything that is known so far; more bytes may follow. It may take long: not for an event loop."""
        while self._waiting:
            self._read(_AT_ONCE)
        # The last line may have no end. It is read if it is complete JSON.
        line = self._line.getvalue() if self._line is not None else ""
        payload = line.removeprefix("data:").strip()
        if payload[:1] + payload[-1:] in ("{}", '""') and from_json(payload) is not None:
            self._line = io.StringIO()
            self._read_line(line)
        if self._data and from_json("\n".join(self._data)) is not None:
            self._dispatch()
        return self._reader.reading()

    def _drop(self, data: bytes | str) -> None:
        """Drop a part of the body, the event before it that has no end yet, and the rest of its last line."""
        self._waiting_size -= len(data) - self._position
        self._position, self.dropped = 0, True
        self._data, self._data_size, self._event = [], 0, ""
        self._line = io.StringIO() if data[-1:] in ("\n", b"\n") else None

    @property
    def _is_inside_long_event(self) -> bool:
        """Whether what was read ends inside an event that takes long to parse. One that is too long is dropped."""
        size = self._data_size + (self._line.tell() if self._line is not None else 0)
        return _LONGEST_AT_ONCE < size <= _LONGEST

    def _read(self, size: int) -> bool:
        """Read the next part of what waits, of at most this size; return whether it completes an event with a delta."""
        first = self._waiting[0]
        part = first[self._position : self._position + size]
        self._position += len(part)
        if self._position == len(first):
            self._waiting.popleft()
            self._position = 0
        self._waiting_size -= len(part)
        has_delta = False
        for line in self._lines(part if isinstance(part, str) else self._decoder.decode(part)):
            has_delta |= self._read_line(line)
        return has_delta

    def _lines(self, text: str) -> Iterator[str]:
        if self._after_return and text:  # the line feed of a pair that was cut into two chunks
            text = text.removeprefix("\n")
            self._after_return = False
        self._after_return |= text.endswith("\r")
        if "\r" in text:
            text = text.replace("\r\n", "\n").replace("\r", "\n")
        # A slice of a long line has no end, and split() takes ten times as long as this look at it.
        first, *others = text.split("\n") if "\n" in text else (text,)
        self._keep(first)
        for following in others:
            line, self._line = self._line, io.StringIO()
            if line is not None:
                yield line.getvalue()
            self._keep(following)

    def _keep(self, part: str) -> None:
        """Keep a part of the current line, or drop the line if it is too long."""
        if self._line is not None and self._line.tell() + len(part) > _LONGEST:
            self.dropped, self._line = True, None
        if self._line is not None:
            self._line.write(part)

    def _read_line(self, line: str) -> bool:
        if not line:
            return self._dispatch()
        if line.startswith(("{", '"')):  # Ollama and Cohere v1 send lines of JSON, FastAPI makes them of text
            return self._read_payload(line)
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if field == "data":
            self._data_size += len(value) + _LINE
            if self._data_size <= _LONGEST:
                self._data.append(value)
            else:
                self.dropped = True
                self._data = []
        elif field == "event":
            self._event = value[:100]
        return False

    def _dispatch(self) -> bool:
        data, event = "\n".join(self._data), self._event
        self._data, self._data_size, self._event = [], 0, ""
        if not data:
            return False
        if data == "[DONE]":
            self._reader.feed(data)
            return False
        if event != "error":
            return self._read_payload(data)
        error = from_json(data)
        if isinstance(error, dict):
            self._reader.feed(error)
        self._reader.fail()  # its text is no output of the model
        return False

    def _read_payload(self, data: str) -> bool:
        payload = from_json(data)
        if isinstance(payload, str):  # text as a JSON string, or a provider's event that was encoded twice
            event = from_json(payload) if payload.startswith("{") else None
            spoke = self._reader.feed(event) if isinstance(event, dict) else None
            return self._reader.add_text(payload) if spoke is None else spoke
        if not isinstance(payload, (dict, list)):  # plain text, of which a number may be a word
            return self._reader.add_text(data)
        spoke = self._reader.feed(payload) if isinstance(payload, dict) else None
        if spoke is None:
            spoke = False
            for text in texts_in(payload):
                spoke |= self._reader.add_text(text)
        return spoke


def texts_in(value: object, depth: int = _DEPTH) -> Iterator[str]:
    """Yield the texts in a plain value, such as JSON, except those in fields that contain names, ids or tokens.

    Args:
        value: Anything; what is not a text, a list or a mapping has none.
        depth: How many lists and mappings in each other are searched.
    """
    if isinstance(value, str):
        yield value
    elif isinstance(value, (bytes, bytearray)):
        yield value.decode("utf-8", "replace")
    elif depth and isinstance(value, (list, tuple)):
        for one in value:
            yield from texts_in(one, depth - 1)
    elif depth and isinstance(value, Mapping):
        for name, one in value.items():
            if name not in _NOT_OUTPUT and not str(name).endswith(_NOT_OUTPUT_ENDS):
                yield from texts_in(one, depth - 1)


# Compression


class _Step(Protocol):
    def decode(self, data: bytes, most: int) -> bytes: ...


class Decoder:
    """An incremental decoder of one body.

    It never raises. After corrupt data, or after the most output, it returns nothing more and is ``exhausted``.
    """

    def __init__(self, steps: list[_Step], most: int) -> None:
        self._steps = steps
        self._left = most
        #: Whether the body was encoded several times, so that a few bytes may become very many.
        self.is_nested: bool = len(steps) > 1
        #: Whether the rest of the body cannot be decoded, or is not decoded because it is too large.
        self.exhausted: bool = False

    def decode(self, data: bytes) -> bytes:
        """Return what the next bytes of the body decode to, which may be nothing.

        Args:
            data: The next bytes as they were sent.
        """
        if not self._steps:
            return data
        if self.exhausted:
            return b""
        try:
            for step in self._steps:
                data = step.decode(data, self._left + 1)
                self.exhausted |= len(data) > self._left
        except Exception:  # corrupt data; zlib, lzma and zstd raise different classes
            self.exhausted = True
            return b""
        data = data[: self._left]
        self._left -= len(data)
        return data


class _Zlib:
    """A step that decodes gzip, also of several members, or deflate."""

    def __init__(self, *, is_gzip: bool) -> None:
        self._is_gzip = is_gzip
        self._inflate = zlib.decompressobj(_GZIP) if is_gzip else None
        self._beginning = b""

    def decode(self, data: bytes, most: int) -> bytes:
        if self._inflate is None:
            # Some servers send deflate without zlib's header. The first two bytes show which it is.
            self._beginning += data
            if len(self._beginning) < 2:
                return b""
            data, self._beginning = self._beginning, b""
            has_header = data[0] & 15 == 8 and int.from_bytes(data[:2], "big") % 31 == 0
            self._inflate = zlib.decompressobj(_ZLIB if has_header else _RAW)
        parts, size = [], 0
        while data and size < most:
            if self._inflate.eof:
                if not self._is_gzip:
                    break
                self._inflate = zlib.decompressobj(_GZIP)
            parts.append(self._inflate.decompress(data, most - size))
            size += len(parts[-1])
            data = self._inflate.unused_data
        return b"".join(parts)


class _Zstandard:
    """A step that decodes zstd, which Python can since version 3.14."""

    def __init__(self) -> None:
        from compression import zstd  # type: ignore[import-not-found,unused-ignore]

        self._decompressor: Any = zstd.ZstdDecompressor()

    def decode(self, data: bytes, most: int) -> bytes:
        decoded: bytes = self._decompressor.decompress(data, most) if not self._decompressor.eof else b""
        return decoded


_STEPS: dict[str, Callable[[], _Step]] = {
    "gzip": lambda: _Zlib(is_gzip=True),
    "x-gzip": lambda: _Zlib(is_gzip=True),
    "deflate": lambda: _Zlib(is_gzip=False),
    "zstd": _Zstandard,
}


def decoder(content_encoding: str, *, most: int | None = None) -> Decoder | None:
    """Return a decoder for a ``Content-Encoding``, or ``None`` if the standard library cannot decode it.

    Supported are gzip, x-gzip, deflate, identity, zstd (since Python 3.14), and combinations such as
    ``"gzip, deflate"``. Not supported is br.

    Args:
        content_encoding: The value of the header; empty for a body that is not encoded.
        most: How many bytes it returns in all, 64 MiB by default.
    """
    steps: list[_Step] = []
    names = [name.strip().lower() for name in content_encoding.split(",")]
    for name in reversed(names):  # the last encoding was applied last
        if name in ("", "identity"):
            continue
        try:
            steps.append(_STEPS[name]())
        except (KeyError, ImportError):
            return None
    return Decoder(steps, _MOST if most is None else most)


class AmazonDecoder:
    """A decoder of Amazon's event streams to lines of JSON, by botocore, which every client of Bedrock needs.

    Raises:
        ImportError: If botocore is not installed.
    """

    def __init__(self) -> None:
        from botocore.eventstream import EventStreamBuffer

        self._events: Any = EventStreamBuffer()

    def decode(self, data: bytes) -> bytes:
        """Take a part of the stream; return the events that it completes.

        Raises:
            Exception: What botocore raises if the data is not an event stream.
        """
        self._events.add_data(data)
        return b"".join(b"data: %b\n\n" % _json_of(event) for event in self._events)


def _json_of(event: Any) -> bytes:
    """Return an event as JSON: what InvokeModel puts into ``bytes``; others, also exceptions, below their name."""
    fields = json.loads(event.payload or b"{}")
    inner = fields.get("bytes")
    if isinstance(inner, str):
        return base64.b64decode(inner)
    name = event.headers.get(":event-type") or event.headers.get(":exception-type")
    return json.dumps({str(name): fields}).encode()
