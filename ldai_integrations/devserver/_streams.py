"""Push flags to every connected SDK as server-sent events."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from ._flags import Change, FlagStore

# The SDK gives up reading after 300 s of silence, LaunchDarkly's advice is to write every 15 to 30 s.
HEARTBEAT_SECONDS = 15.0


class FlagStreams:
    """Serve one flag store to any number of streams. Every method belongs to the event loop's thread."""

    def __init__(self, flags: FlagStore, *, heartbeat: float = HEARTBEAT_SECONDS) -> None:
        """Start without streams.

        Args:
            flags: What to serve.
            heartbeat: Seconds of silence after which a comment is written.
        """
        self._flags = flags
        self._heartbeat = heartbeat
        self._queues: set[asyncio.Queue[bytes | None]] = set()
        self._closed = False

    @property
    def connected(self) -> int:
        """Count the streams that are open now."""
        return len(self._queues)

    def publish(self, changes: Sequence[Change]) -> None:
        """Push changes: a single one by itself, several as a whole, so that no SDK sees half an edit."""
        if len(changes) == 1:
            self._push(_message(changes[0]))
        elif changes:
            self._push(self._put())

    def close(self) -> None:
        """End every stream, and each later one after its first event."""
        self._closed = True
        self._push(None)

    async def stream(self) -> AsyncIterator[bytes]:
        """Yield the flags, then each change, then comments while nothing happens."""
        queue: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._queues.add(queue)
        try:
            yield self._put()
            while not self._closed:
                try:
                    message = await asyncio.wait_for(queue.get(), self._heartbeat)
                except asyncio.TimeoutError:
                    message = b":\n\n"
                if message is None:
                    return
                yield message
        finally:
            self._queues.discard(queue)

    def _push(self, message: bytes | None) -> None:
        for queue in self._queues:
            queue.put_nowait(message)

    def _put(self) -> bytes:
        return _event("put", {"path": "/", "data": self._flags.payload})


def _message(change: Change) -> bytes:
    path = f"/{change.kind}/{change.key}"
    if change.item is None:
        return _event("delete", {"path": path, "version": change.version})
    return _event("patch", {"path": path, "data": change.item})


def _event(name: str, data: dict[str, Any]) -> bytes:
    return f"event: {name}\ndata: {json.dumps(data, separators=(',', ':'))}\n\n".encode()
