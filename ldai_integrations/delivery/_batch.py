"""The way from what an LDClient tracks to batches of events, each of which is one post."""

from __future__ import annotations

import json
import time
import uuid
import zlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from .._diagnostics import Diagnostics
from ._payload import encode_event, safe_context
from ._sdk import Engine

Event = dict[str, Any]

# LaunchDarkly publishes no limit. Proxies commonly accept 1 MB, which is 4,000 events of common size.
_MAX_BYTES = 1_000_000
# After this many inputs other threads get their turn. A whole batch would delay an event loop by 20 ms.
_SLICE = 50


class Batch:
    """The events of one post.

    Attributes:
        id: The payload id. It stays the same when the batch is posted again.
        events: The number of events.
        first: The position, among all inputs of an event processor, of the first one in this batch.
        refused: How often the endpoint has called this batch malformed.
        taken_at: When it was last taken to be posted, in monotonic seconds.
    """

    __slots__ = ("_is_packed", "_stored", "events", "first", "id", "refused", "taken_at")

    def __init__(self, encoded: Sequence[bytes], first: int) -> None:
        self.id = str(uuid.uuid4())
        self.events, self.first = len(encoded), first
        self.refused, self.taken_at = 0, 0.0
        self._stored, self._is_packed = b"[" + b",".join(encoded) + b"]", False

    @property
    def body(self) -> bytes:
        """The JSON array."""
        return zlib.decompress(self._stored) if self._is_packed else self._stored

    @property
    def size(self) -> int:
        """The number of bytes that it occupies."""
        return len(self._stored)

    def pack(self) -> None:
        """Compress a batch that has to wait. Events resemble each other, so it shrinks to about a tenth."""
        if not self._is_packed:
            self._stored, self._is_packed = zlib.compress(self._stored, 1), True

    def halves(self) -> list[Batch]:
        """Return two batches of half the events, or none if there is only one event."""
        if self.events < 2:
            return []
        encoded = [json.dumps(event).encode() for event in json.loads(self.body)]
        middle = len(encoded) // 2
        return [Batch(encoded[:middle], self.first), Batch(encoded[middle:], self.first)]


class Formatter:
    """The formatting of inputs by the SDK's rules, where one broken input costs no other. For one thread.

    Args:
        engine: The SDK's rules.
        diagnostics: Where failures are noted.
        drop: Called with a number of lost events and the reason.
    """

    def __init__(self, engine: Engine, diagnostics: Diagnostics, drop: Callable[[int, str], None]) -> None:
        self._engine, self._diagnostics, self._drop = engine, diagnostics, drop

    def batches(self, inputs: list[Any], first: int) -> Iterator[Batch]:
        """Format inputs and write them as JSON, in batches of which each is small enough for one post.

        Args:
            inputs: What the client sent to its event processor.
            first: The position of the first of them among all inputs.
        """
        encoded: list[bytes] = []
        size = 0
        for event in self._events_of(inputs):
            text = encode_event(event, self._diagnostics)
            if encoded and size + len(text) > _MAX_BYTES:
                yield Batch(encoded, first)
                encoded, size = [], 0
            encoded.append(text)
            size += len(text)
        if encoded:
            yield Batch(encoded, first)

    def lose(self, events: int, exc: Exception) -> None:
        """Count events that could not be formatted."""
        self._drop(events, "unserialisable")
        kind = type(exc).__name__
        self._diagnostics.note(
            "payload",
            kind,
            "An event for LaunchDarkly could not be formatted (%s) and is lost. The traceback shows why.",
            kind,
            exc=exc,
        )

    def _events_of(self, inputs: list[Any]) -> list[Event]:
        """Return the events, the summary last."""
        for position, event in enumerate(inputs):
            try:
                self._engine.process(event)
            except Exception as exc:
                self.lose(1, exc)
            if position % _SLICE == 0:
                time.sleep(0)
        events, summary = self._engine.take()
        formatted: list[Event] = []
        for start in range(0, len(events), _SLICE):
            part = events[start : start + _SLICE]
            try:
                formatted += self._engine.format(part)
            except Exception:
                for event in part:
                    formatted += self._format_alone(event)
            time.sleep(0)
        return formatted + self._engine.format((), summary)

    def _format_alone(self, event: Any) -> list[Event]:
        """Format one event of a part that could not be formatted, for example because a context contains itself."""
        source = getattr(event, "original_input", event)
        try:
            source.context = safe_context(source.context, self._diagnostics)
            return self._engine.format([event])
        except Exception as exc:
            self.lose(1, exc)
            return []
