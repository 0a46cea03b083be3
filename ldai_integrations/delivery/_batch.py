"""Events on their way: as many as one post carries."""

from __future__ import annotations

import json
import uuid
import zlib
from collections.abc import Iterable, Iterator, Sequence

from .._diagnostics import Diagnostics
from ._payload import encode_event

# No limit of LaunchDarkly's is published; proxies commonly take 1 MB, which is 4,000 events of common size.
_MAX_BYTES = 1_000_000


class Batch:
    """Hold the events of one post.

    Attributes:
        id: The payload id; it stays the same when the batch is posted again.
        events: How many there are.
        first: Which of the inputs of an event processor these events come from, the first of them.
        refused: How often the endpoint has called this batch malformed.
    """

    __slots__ = ("_packed", "_stored", "events", "first", "id", "refused", "taken_at")

    def __init__(self, body: bytes, events: int, first: int) -> None:
        self.id = str(uuid.uuid4())
        self.events, self.first = events, first
        self.refused, self.taken_at = 0, 0.0
        self._stored, self._packed = body, False

    @property
    def body(self) -> bytes:
        """The JSON array."""
        return zlib.decompress(self._stored) if self._packed else self._stored

    @property
    def size(self) -> int:
        """Bytes held."""
        return len(self._stored)

    def pack(self) -> None:
        """Compress a batch that will have to wait; events resemble each other, so it takes about a tenth."""
        if not self._packed:
            self._stored, self._packed = zlib.compress(self._stored, 1), True

    def halves(self) -> list[Batch]:
        """Return two batches of half the events; none if there is only one."""
        if self.events < 2:
            return []
        events = json.loads(self.body)
        middle = len(events) // 2
        parts = (events[:middle], events[middle:])
        return [_joined([json.dumps(event).encode() for event in part], self.first) for part in parts]


def batches(events: Iterable[dict[str, object]], first: int, diagnostics: Diagnostics) -> Iterator[Batch]:
    """Write events as JSON and put together what one post carries."""
    written: list[bytes] = []
    size = 0
    for event in events:
        text = encode_event(event, diagnostics)
        if written and size + len(text) > _MAX_BYTES:
            yield _joined(written, first)
            written, size = [], 0
        written.append(text)
        size += len(text)
    if written:
        yield _joined(written, first)


def _joined(written: Sequence[bytes], first: int) -> Batch:
    return Batch(b"[" + b",".join(written) + b"]", len(written), first)
