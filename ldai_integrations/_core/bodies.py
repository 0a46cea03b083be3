"""What a handler puts out: text and provider events, read as they pass and never changed."""

from __future__ import annotations

import codecs
import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from ..usage import Reading, SSEReader, StreamReader, TextTally, read
from .output import ModelName, Output

_SSE_STARTS = (b"data:", b"event:", b"id:", b"retry:", b":")
_STREAM_TYPES = {"text/event-stream", "application/x-ndjson", "application/stream+json", "application/jsonl"}
_MAX_LEAVES = 10_000


Keep = Callable[[], int]


def _keep_nothing() -> int:
    return 0


class OutputReader:
    """Read the items of one output, whole or streamed, of any kind; decides by the first item.

    Strings and bytes may be Server-Sent Events, a JSON document or plain text; objects may be provider events.

    Args:
        model_name: Gives the configured model, for estimates.
        content_type: The media type of a response body, where known.
        limit: How many bytes of a JSON document are kept.
        keep: Says how many characters of plain text are kept; asked when the first of it comes.
    """

    __slots__ = ("_answered", "_content_type", "_keep", "_limit", "_model_name", "_output", "feed")

    def __init__(
        self,
        model_name: ModelName,
        *,
        content_type: str | None = None,
        limit: int = 1_000_000,
        keep: Keep = _keep_nothing,
    ) -> None:
        self._model_name = model_name
        self._keep = keep
        self._content_type = content_type.partition(";")[0].strip().lower() if content_type else None
        self._limit = limit
        self._output: Callable[[], Output | None] = _nothing
        self._answered: Callable[[], bool] = _always
        #: Takes one item; returns whether it carries text, reasoning or a tool delta.
        self.feed: Callable[[Any], bool] = self._feed_first

    def output(self) -> Output | None:
        """Return what was read so far; ``None`` where there was nothing to read."""
        return self._output()

    def answered(self) -> bool:
        """Tell, after an item that carried something, whether visible text was among it so far."""
        return self._answered()

    def _feed_first(self, item: Any) -> bool:
        if not item and isinstance(item, (str, bytes)):
            return False
        self._choose(item)
        return self.feed(item)

    def _choose(self, item: Any) -> None:
        if not isinstance(item, (str, bytes, bytearray, memoryview)):
            self._read_with(_Events())
        elif self._content_type in _STREAM_TYPES or (self._content_type is None and _starts_sse(item)):
            self._read_with(SSEReader())
        elif self._content_type is not None and self._content_type.endswith(("/json", "+json")):
            document = _Document(self._limit, self._model_name)
            self.feed, self._output = document.feed, document.output
        elif self._content_type is None or self._content_type.startswith("text/"):
            text = _Text(self._model_name, self._keep)
            self.feed, self._output = text.feed, text.output
        else:
            self.feed = _ignore

    def _read_with(self, reader: _Events | SSEReader) -> None:
        model_name = self._model_name  # not self: a cycle would keep the run until the garbage is collected
        self.feed = reader.feed if isinstance(reader, _Events) else _as_bytes(reader.feed)
        self._output = lambda: Output.of_reading(reader.reading(), model_name)
        self._answered = lambda: reader.answered


class _Events:
    """Read provider events; of others, the data that a Server-Sent Events response has still to encode."""

    __slots__ = ("_events", "_lines")

    def __init__(self) -> None:
        self._events = StreamReader()
        self._lines = SSEReader()

    @property
    def answered(self) -> bool:
        return self._events.answered or self._lines.answered

    def reading(self) -> Reading:
        return (self._events if self._events.recognised else self._lines).reading()

    def feed(self, item: Any) -> bool:
        spoke = self._events.feed(item)
        if self._events.recognised:
            return spoke
        name, data = (
            item.get(key) if isinstance(item, dict) else getattr(item, key, None) for key in ("event", "data")
        )
        event = f"event: {name}\n" if isinstance(name, str) else ""
        return self._lines.feed(f"{event}data: {data}\n\n".encode()) if isinstance(data, str) else False


class _Text:
    """Count plain text, and keep its beginning for judges."""

    __slots__ = ("_decode", "_kept", "_room", "_tally")

    def __init__(self, model_name: ModelName, keep: Keep) -> None:
        self._tally = TextTally(model_name())
        self._kept: list[str] = []
        self._room = keep()  # after the model's name, for which the AI Config is resolved and its judges are drawn
        self._decode = codecs.getincrementaldecoder("utf-8")("replace").decode

    def feed(self, item: Any) -> bool:
        text = str(item) if isinstance(item, str) else self._decode(bytes(item))
        self._tally.add(text)
        if self._room:
            self._kept.append(text[: self._room])
            self._room = max(0, self._room - len(text))
        return text != ""

    def output(self) -> Output | None:
        return Output.of_text(self._tally, lambda: "".join(self._kept)) if self._tally.chars else None


class _Document:
    """Keep a JSON document, up to a limit, and look at it at the end."""

    __slots__ = ("_kept", "_limit", "_model_name")

    def __init__(self, limit: int, model_name: ModelName) -> None:
        self._kept: bytearray | None = bytearray()
        self._limit = limit
        self._model_name = model_name

    def feed(self, item: Any) -> bool:
        if self._kept is not None:
            self._kept += item.encode("utf-8", "replace") if isinstance(item, str) else item
            if len(self._kept) > self._limit:
                self._kept = None
        return False

    def output(self) -> Output | None:
        if not self._kept:
            return None
        try:
            return output_of(json.loads(self._kept), self._model_name)
        except (ValueError, RecursionError):
            return None


def output_of(value: Any, model_name: ModelName) -> Output | None:
    """Read a whole result: a provider's response, else the text in it; ``None`` where there is neither."""
    if value is None or isinstance(value, (bool, int, float)):
        return None
    reading = None if isinstance(value, str) else read(value)
    if reading is not None:
        return Output.of_reading(reading, model_name)
    tally = TextTally(model_name())
    texts = list(_leaves(value))
    for text in texts:
        tally.add(text)
    return Output.of_text(tally, lambda: "\n".join(texts)) if tally.chars else None


def _leaves(value: Any) -> Iterator[str]:
    """Yield the strings in a plain value, depth first and bounded."""
    stack, seen = [value], 0
    while stack and seen < _MAX_LEAVES:
        item = stack.pop()
        seen += 1
        if isinstance(item, str):
            yield item
        elif isinstance(item, (bytes, bytearray)):
            yield item.decode("utf-8", "replace")
        elif isinstance(item, Mapping):
            stack.extend(reversed(list(item.values())))
        elif isinstance(item, (list, tuple)):
            stack.extend(reversed(item))


def _as_bytes(feed: Callable[[bytes], bool]) -> Callable[[Any], bool]:
    def fed(item: Any) -> bool:
        return feed(item.encode("utf-8", "replace") if isinstance(item, str) else bytes(item))

    return fed


def _starts_sse(item: Any) -> bool:
    start = item[:8].encode("utf-8", "replace") if isinstance(item, str) else bytes(item[:8])
    return start.startswith(_SSE_STARTS)


def _nothing() -> None:
    return None


def _always() -> bool:
    return True


def _ignore(_item: Any) -> bool:
    return False
