"""The flags being served, with versions that only increase, and the streams that send them to SDKs."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass

from ._checks import KINDS, Payload
from ._json import Json

# The SDK stops reading after 300 s of silence. LaunchDarkly recommends to write every 15 to 30 s.
HEARTBEAT_SECONDS = 15.0
# So many changes wait for a client that does not read them.
MAX_WAITING = 8


@dataclass(frozen=True)
class Change:
    """One flag or segment that differs from what was served before.

    Attributes:
        kind: ``flags`` or ``segments``.
        key: Key of the flag or segment.
        version: Its new version; a deletion has one, too.
        item: The new JSON; ``None`` if it was deleted.
    """

    kind: str
    key: str
    version: int
    item: Json | None


class FlagStore:
    """The flags being served. Every change of an item, deletion included, gets a higher version.

    Use it in one thread only.

    Args:
        payload: Flags and segments without problems in their structure. They keep their versions.
    """

    def __init__(self, payload: Payload) -> None:
        self._versions: dict[tuple[str, str], int] = {}
        self.payload: Payload = {kind: {} for kind in KINDS}
        self.replace(payload)

    def replace(self, payload: Payload) -> list[Change]:
        """Serve another payload.

        Returns:
            The changes, deletions last.
        """
        changes = [
            self._change(kind, key, item)
            for kind in KINDS
            for key, item in payload[kind].items()
            if _without_version(item) != _without_version(self.payload[kind].get(key))
        ]
        changes += [
            self._change(kind, key, None) for kind in KINDS for key in self.payload[kind].keys() - payload[kind].keys()
        ]
        changed = {(change.kind, change.key): change.item for change in changes}
        self.payload = {
            kind: {key: changed.get((kind, key)) or self.payload[kind][key] for key in payload[kind]} for kind in KINDS
        }
        self.body = json.dumps(self.payload, separators=(",", ":")).encode()
        self.etag = f'"{hashlib.sha256(self.body).hexdigest()[:32]}"'
        return changes

    def _change(self, kind: str, key: str, item: Json | None) -> Change:
        version = max(self._versions.get((kind, key), 0) + 1, item["version"] if item else 0)
        self._versions[kind, key] = version
        return Change(kind, key, version, {**item, "version": version} if item else None)


def _without_version(item: Json | None) -> Json | None:
    return {name: value for name, value in item.items() if name != "version"} if item else None


class FlagStreams:
    """The open streams that send the flags of one store as server-sent events.

    Use it in the thread of the event loop only.

    Args:
        flags: The flags to send.
        heartbeat: Seconds of silence after which a stream writes a comment.
    """

    def __init__(self, flags: FlagStore, *, heartbeat: float = HEARTBEAT_SECONDS) -> None:
        self._flags = flags
        self._heartbeat = heartbeat
        self._queues: set[asyncio.Queue[bytes | None]] = set()
        self._closed = False

    @property
    def connected(self) -> int:
        """Return the number of open streams."""
        return len(self._queues)

    def publish(self, changes: Sequence[Change]) -> None:
        """Send changes to all streams: one change alone, several as a new payload, so that no SDK gets half an edit."""
        match changes:
            case []:
                return
            case [Change(item=None) as change]:
                data = {"path": f"/{change.kind}/{change.key}", "version": change.version}
                self._send(_encode("delete", data))
            case [change]:
                self._send(_encode("patch", {"path": f"/{change.kind}/{change.key}", "data": change.item}))
            case _:
                self._send(self._encode_payload())

    def close(self) -> None:
        """End every stream; a stream that opens later ends after its first event."""
        self._closed = True
        self._send(None)

    async def stream(self) -> AsyncGenerator[bytes, None]:
        """Yield the flags, then each change, and comments while nothing changes."""
        queue: asyncio.Queue[bytes | None] = asyncio.Queue(MAX_WAITING)
        self._queues.add(queue)
        try:
            yield self._encode_payload()
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

    def _send(self, message: bytes | None) -> None:
        late = [queue for queue in self._queues if queue.full()]
        for queue in self._queues.difference(late):
            queue.put_nowait(message)
        # These clients do not read. One payload with all flags takes the place of the changes that wait for them.
        everything = self._encode_payload() if late and message is not None else None
        for queue in late:
            while not queue.empty():
                queue.get_nowait()
            queue.put_nowait(everything)

    def _encode_payload(self) -> bytes:
        return _encode("put", {"path": "/", "data": self._flags.payload})


def _encode(name: str, data: object) -> bytes:
    """Return a server-sent event."""
    return f"event: {name}\ndata: {json.dumps(data, separators=(',', ':'))}\n\n".encode()
