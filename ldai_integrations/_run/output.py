"""The handler's own output: its response and its text, read as they pass and never changed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from .._diagnostics import raise_if_from_signal
from ..usage import Reading, count_tokens, is_response, read, texts_in
from .body import (
    BodyReader,
    ItemReader,
    beginning_of,
    begins_provider_stream,
    is_json_line,
    is_read_type,
    is_sse_or_json_line,
    media_type,
)

# The most texts that are looked for in a returned value.
_MOST_STRINGS = 10_000
# How much text is kept until the run is reported, in characters. Tokens of text beyond it are extrapolated.
_MOST_TEXT = 262_144
_TEXTS = (str, bytes, bytearray, memoryview)


@dataclass(slots=True, eq=False)
class HandlerOutput:
    """The output of one handler. Its text and usage are used only if no provider call was seen.

    A returned text, a whole body and the first line of a stream decide once how the output is read:

    - plain text is kept, for an estimate;
    - another value is searched for a provider's response when the run is reported;
    - JSON, Server-Sent Events and compressed bodies go to a ``BodyReader``;
    - events, and lines of a provider's stream that are sent as text, go to an ``ItemReader``.

    Attributes:
        clock: A monotonic clock, in seconds.
        limit: How much of a JSON document is kept, in bytes.
        chunks: The chunks of a text.
        room: How much more text is kept, in characters; 0 while the output is not known to be text.
        undecodable: The encoding of a compressed body that cannot be read; empty if there is none.
        status: The HTTP status; ``None`` if it is not known.
        is_whole: Whether the output is not streamed, so that it has no first token.
        first_token_at: When the first item with content passed, in seconds.
        first_answer_at: When the first visible text passed, in seconds.
        last_item_at: When the last item passed, or the handler returned, in seconds.
    """

    clock: Callable[[], float]
    limit: int
    chunks: list[Any] = field(default_factory=list)
    room: int = 0
    undecodable: str = ""
    status: int | None = None
    is_whole: bool = False
    first_token_at: float | None = None
    first_answer_at: float | None = None
    last_item_at: float | None = None
    _content_type: str | None = None
    _content_encoding: str = ""
    _reader: BodyReader | ItemReader | None = None
    _value: Any = None
    _is_text: bool = False
    # Whether all that has passed is one value: a dict, or a line that begins like JSON.
    _is_one_value: bool = False
    # The text of the chunks while it is not known whether they are a provider's stream.
    _beginning: str = ""
    # How much text is not kept, in characters.
    _dropped: int = 0

    def respond(
        self, status: int | None, content_type: str | None, *, content_encoding: str = "", is_whole: bool = False
    ) -> None:
        """Take the head of a response.

        Args:
            status: The HTTP status; ``None`` if it is not known.
            content_type: The ``Content-Type`` header; ``None`` if it is not known.
            content_encoding: The ``Content-Encoding`` header; empty if there is none.
            is_whole: Whether the body is not streamed.
        """
        if status is not None:
            self.status = status
        if content_type is not None:
            self._content_type = content_type
        self._content_encoding = "" if content_encoding == "identity" else content_encoding
        self.is_whole = self.is_whole or is_whole

    def add(self, item: Any) -> None:
        """Take one item of the output. It is called for every chunk of a stream, so it must be cheap.

        It never raises, whatever a handler puts out.
        """
        self.last_item_at = self.clock()
        try:
            if self._is_text:
                self._add_text(item)
            elif item or not isinstance(item, _TEXTS):
                self._read(item)
        except Exception as exc:  # the item is of a kind that cannot be read, and not part of the text
            raise_if_from_signal(exc)

    def take(self, value: object) -> None:
        """Take the value that a handler returned; it is read when the run is reported."""
        if self._reader is None and not self._is_text and not self.is_error_page:
            self._value = value

    @property
    def is_error_page(self) -> bool:
        """Whether the status is that of an error, so that the output is not that of a model."""
        return self.status is not None and self.status >= 400

    def reading(self) -> Reading | None:
        """Return what the output contains in a provider's format; ``None`` if it has none."""
        reading = self._known()
        if self._reader is None and not isinstance(self._value, (str, bytes, bool, int, float, type(None))):
            reading = read(self._value)
        if reading is None:
            return None
        is_known = reading.is_start or reading.usage is not None or reading.model is not None or bool(reading.error)
        return reading if is_known else None

    @property
    def is_response(self) -> bool:
        """Whether output in a provider's format is the answer of a model, and no page that contains one or an error."""
        if isinstance(self._reader, BodyReader):
            return self._reader.is_response
        return type(self._value) is not dict or is_response(self._value)

    @property
    def is_too_long(self) -> bool:
        """Whether the output is a JSON document that is not read, because it is longer than the limit."""
        return isinstance(self._reader, BodyReader) and self._reader.is_too_long

    @property
    def has_error_event(self) -> bool:
        """Whether the output is a stream with an error event. A single value is like a returned one."""
        is_stream = not (self.is_whole or self._is_one_value)
        reading = self._reader.reading() if self._reader is not None and is_stream else None
        return reading is not None and bool(reading.error)

    def text(self) -> str:
        """Return the text of the output, up to 262,144 characters of it."""
        reading = self._known()
        if reading is not None:
            return reading.text
        return _joined(self.chunks) if self.chunks else "\n".join(islice(texts_in(self._value), _MOST_STRINGS))

    def estimate(self, model: str) -> int | None:
        """Estimate the output tokens from the text of the output: about 50 µs for 1,000 characters.

        Args:
            model: The name of the configured model.

        Returns:
            The number of tokens; ``None`` if there is no text.
        """
        reading = self._known()
        if reading is not None and reading.has_output:
            return reading.estimate(model=model).output_tokens
        text = self.text()
        if not text:
            return None
        tokens = count_tokens(text, model=model)
        return round(tokens * self.chars / (self.chars - self._dropped)) if self._dropped else tokens

    @property
    def chars(self) -> int:
        """How many characters may have to be read or counted."""
        if self.chunks:
            return sum(map(len, self.chunks)) + self._dropped
        if self._reader is not None:
            return self._reader.size
        return len(self._value) if isinstance(self._value, (str, bytes)) else 0

    def release(self) -> None:
        """Forget the output once the run is reported."""
        self._reader, self._value, self._is_text = None, None, False
        self.chunks.clear()
        self.room, self._beginning = 0, ""

    def _read(self, item: Any) -> None:
        """Read an item that is not known to be plain text; the first line decides what the output is."""
        if self.is_error_page:
            return
        self._is_one_value = self._reader is None and _is_value(item)
        if self._reader is None:
            item = self._begin(item)
        if self._reader is not None and self._reader.feed(item) and self.first_answer_at is None:
            self.first_token_at = self.first_token_at or self.last_item_at
            self.first_answer_at = self.last_item_at if self._reader.answered else None

    def _known(self) -> Reading | None:
        """Return what the reader knows. A text gets one here if it may be in the format of a provider."""
        if self._reader is not None:
            return self._reader.reading()
        text = _joined(self.chunks) if self.chunks else self._value
        if not isinstance(text, (str, bytes)):
            return None
        beginning = beginning_of(text)
        if beginning.lstrip().startswith(("{", "[")):
            self._reader = BodyReader("application/json", limit=self.limit)
        elif not self.chunks and _is_event(beginning):
            self._reader = ItemReader()
        if self._reader is None:
            return None
        self._reader.feed(text)
        reading = self._reader.reading()
        if self.chunks and reading is not None:  # a document, which has no first token
            self.is_whole, self.first_token_at, self.first_answer_at = True, None, None
        return reading

    def _add_text(self, item: Any) -> None:
        size = len(item)
        if size < self.room:
            self.room -= size
            self.chunks.append(item)
        else:
            if self.room:
                self.chunks.append(item[: self.room])
            self._dropped += size - self.room
            self.room = 0

    def _begin(self, item: object) -> object:
        """Choose a reader by the first item or the first line; return what it reads first."""
        content_type = self._content_type
        if not isinstance(item, _TEXTS):
            self._reader = ItemReader()
        elif content_type is not None and is_read_type(content_type):
            reader = BodyReader(content_type, self._content_encoding, limit=self.limit)
            if reader.is_undecodable:
                self.undecodable = self._content_encoding
            self._reader = reader
        elif content_type is None and _is_event(beginning_of(item)):
            self._reader = ItemReader()
        elif (content_type is None or media_type(content_type).startswith("text/")) and not self._content_encoding:
            return self._begin_text(item)
        return item

    def _begin_text(self, item: object) -> object:
        """Keep an item of a text until it is known whether this is a provider's stream; return the item."""
        if not self.chunks:
            self.first_token_at = self.first_answer_at = self.last_item_at
        self.chunks.append(item)
        self._beginning += beginning_of(item)
        is_stream = begins_provider_stream(self._beginning)
        if is_stream is None:
            return item
        chunks, self.chunks, self._beginning = self.chunks, [], ""
        if is_stream:
            self._reader = ItemReader()
            has_begun = False
            for chunk in chunks[:-1]:
                has_begun |= self._reader.feed(chunk)
            if not has_begun:
                self.first_token_at = self.first_answer_at = None
        else:
            self._is_text, self.room = True, _MOST_TEXT
            for chunk in chunks:
                self._add_text(chunk)
        return item


def _joined(chunks: list[Any]) -> str:
    """Return the text of chunks, of which some may be cut inside a character."""
    texts = [chunk for chunk in chunks if isinstance(chunk, _TEXTS)]
    encoded = (chunk.encode("utf-8", "replace") if isinstance(chunk, str) else bytes(chunk) for chunk in texts)
    return b"".join(encoded).decode("utf-8", "replace")


def _is_event(text: str) -> bool:
    """Return whether the first item of a stream without a content type is an event, and no text such as ``:) Hi``."""
    line, end, _rest = text.partition("\n")
    return is_sse_or_json_line(line) if end else is_json_line(line)


def _is_value(item: object) -> bool:
    """Return whether the first item of a stream may be a value of JSON, and not a Server-Sent Event."""
    if isinstance(item, _TEXTS):
        line = beginning_of(item).strip()
        return line.startswith("{") and "\n" not in line
    return isinstance(item, dict) and not isinstance(item.get("data"), str)
