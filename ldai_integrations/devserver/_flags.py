"""The flags being served, with versions that only increase, and the streams that send them to SDKs."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncGenerator

from ._checks import KINDS, Payload
from ._json import Json

# The SDK stops reading after 300 s of silence. LaunchDarkly recommends to write a comment every 15 to 30 s.
HEARTBEAT_SECONDS = 15.0


class FlagStore:
    """The flags being served, and the open streams that send them as server-sent events.

    Every change of an item gives it a higher version. Each event has all flags, so that no SDK gets half an edit, and a
    client that reads late misses nothing.

    Use it in the thread of the event loop only, once that runs.

    Args:
        payload: Flags and segments without problems in their structure. They keep their versions.
    """

    def __init__(self, payload: Payload) -> None:
        self._versions: dict[tuple[str, str], int] = {}
        # One event for each stream, which wakes it.
        self._streams: set[asyncio.Event] = set()
        self._closed = False
        self.payload: Payload = {kind: {} for kind in KINDS}
        self.replace(payload)

    @property
    def streams(self) -> int:
        """Return the number of open streams."""
        return len(self._streams)

    def replace(self, payload: Payload) -> list[str]:
        """Serve another payload, and send it to all streams; return what has changed, in words."""
        served: Payload = {kind: {} for kind in KINDS}
        changes = []
        for kind in KINDS:
            former = self.payload[kind]
            for key, item in payload[kind].items():
                if _without_version(item) == _without_version(former.get(key)):
                    served[kind][key] = former[key]
                    continue
                # Deleted items keep their versions, because they may come back.
                version = max(self._versions.get((kind, key), 0) + 1, item["version"])
                self._versions[kind, key] = version
                served[kind][key] = {**item, "version": version}
                changes.append(f"{key} changed")
            changes += [f"{key} deleted" for key in former.keys() - payload[kind].keys()]
        self.payload = served
        self.body = json.dumps(served, separators=(",", ":")).encode()
        self.etag = f'"{hashlib.sha256(self.body).hexdigest()[:32]}"'
        self._event = b'event: put\ndata: {"path":"/","data":%b}\n\n' % self.body  # all streams share it
        for wake in self._streams if changes else ():
            wake.set()
        return changes

    async def stream(self) -> AsyncGenerator[bytes, None]:
        """Yield the flags, yield them again after each change, and yield comments while nothing changes."""
        wake = asyncio.Event()
        self._streams.add(wake)
        message = self._event
        try:
            while not self._closed:
                yield message
                try:
                    await asyncio.wait_for(wake.wait(), HEARTBEAT_SECONDS)
                    wake.clear()
                    message = self._event
                except asyncio.TimeoutError:
                    message = b":\n\n"
        finally:
            self._streams.discard(wake)

    def close(self) -> None:
        """End every stream."""
        self._closed = True
        for wake in self._streams:
            wake.set()


def _without_version(item: Json | None) -> Json | None:
    return {name: value for name, value in item.items() if name != "version"} if item else None
