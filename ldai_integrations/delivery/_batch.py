"""Batches of events: made from what an LDClient tracks, and posted to LaunchDarkly's events endpoint."""

from __future__ import annotations

import gzip
import json
import time
import uuid
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import urllib3
from ldclient import Config

from .._diagnostics import Diagnostics
from .._http import limit_heads, read_retry_after
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
        malformed: How often the endpoint has called this batch malformed.
        taken_at: When it was last taken to be posted, in monotonic seconds.
    """

    __slots__ = ("_is_packed", "_stored", "events", "first", "id", "malformed", "taken_at")

    def __init__(self, encoded: Sequence[bytes], first: int) -> None:
        self.id = str(uuid.uuid4())
        self.events, self.first = len(encoded), first
        self.malformed, self.taken_at = 0, 0.0
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
    """A formatter of inputs by the SDK's rules, which loses only the inputs that cannot be formatted. For one thread.

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


# If a server asks for a longer delay than this, it is tried again earlier.
_MAX_RETRY_AFTER_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class Answer:
    """The endpoint's answer to one post.

    Attributes:
        status: The HTTP status, or ``None`` if there was no answer.
        retry_after: For how many seconds the endpoint asks not to be tried again.
    """

    status: int | None
    retry_after: float = 0.0

    @property
    def is_accepted(self) -> bool:
        """Whether the batch has arrived."""
        return self.status is not None and 200 <= self.status < 300

    @property
    def is_too_large(self) -> bool:
        """Whether a smaller batch may be accepted."""
        return self.status == 413

    @property
    def is_refusal(self) -> bool:
        """Whether every batch gets the same answer until somebody changes a key, an address or a proxy."""
        return self.status is not None and 300 <= self.status < 500 and self.status not in (400, 408, 413, 429)

    def __str__(self) -> str:
        """Return the words of ``Stats.endpoint`` and of the log."""
        return "unreachable" if self.status is None else f"HTTP {self.status}"


class Poster:
    """A connection to the events endpoint. For one thread."""

    def __init__(self, config: Config, engine: Engine) -> None:
        self._uri = config.events_uri
        self._headers, self._handle_response = engine.headers, engine.handle_response
        self._pool = engine.make_pool()
        limit_heads(self._pool)
        self._is_compressed = config.enable_event_compression
        self._timeout = urllib3.Timeout(connect=config.http.connect_timeout, read=config.http.read_timeout)

    def post(self, batch: Batch) -> Answer:
        """Post a batch once. A retry carries the same payload id, so LaunchDarkly can ignore a duplicate."""
        headers = {**self._headers, "X-LaunchDarkly-Payload-ID": batch.id}
        body = batch.body
        if self._is_compressed:
            headers["Content-Encoding"], body = "gzip", gzip.compress(body)
        try:
            response = self._pool.request(
                "POST",
                self._uri,
                headers=headers,
                body=body,
                timeout=self._timeout,
                retries=False,
                redirect=False,
                preload_content=False,
            )
        except Exception:
            return Answer(None)
        if response.length_remaining == 0:
            response.drain_conn()  # leaves the connection open for the next post
        else:  # nobody needs the body, which may be endless
            response.close()
        retry_after = min(read_retry_after(response) or 0.0, _MAX_RETRY_AFTER_SECONDS)
        answer = Answer(response.status, retry_after)
        if answer.is_accepted:
            self._handle_response(response)  # the SDK reads the server's time, which ends the debugging of flags
        return answer

    def close(self) -> None:
        """Close the connection."""
        self._pool.clear()
