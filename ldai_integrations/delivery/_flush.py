"""A flush that waits: ``LDClient.flush()`` only asks for one and returns."""

from __future__ import annotations

import threading
from collections.abc import Callable

from ldclient import LDClient


class Flusher:
    """Flush an LDClient and wait for delivery; thread-safe, and callers share one wait."""

    def __init__(self, client: LDClient) -> None:
        self._client = client
        self._lock = threading.Lock()
        self._waiter: threading.Thread | None = None

    def flush(self, timeout: float) -> bool:
        """Send what is buffered and wait until the SDK has nothing under way.

        Must not be called on an event loop.

        Args:
            timeout: Seconds to wait at most.

        Returns:
            True if the SDK finished in time; its own log lines say whether the network took the events.
        """
        with self._lock:
            self._client.flush()  # type: ignore[no-untyped-call]
            if self._waiter is None or not self._waiter.is_alive():
                self._waiter = _start(_idle_wait(self._client), "ldai-flush")
            waiter = self._waiter
        if waiter is None:
            return True
        waiter.join(timeout)
        return not waiter.is_alive()

    def close(self, timeout: float) -> None:
        """Close the client; it goes on by itself where a hanging endpoint takes longer than ``timeout`` seconds."""
        closer = _start(self._client.close, "ldai-close")
        if closer is not None:
            closer.join(timeout)


def _start(call: Callable[[], object], name: str) -> threading.Thread | None:
    """Call on a thread of its own; at interpreter exit, when Python 3.12 starts no more threads, call here."""
    thread = threading.Thread(target=call, name=name, daemon=True)
    try:
        thread.start()
    except RuntimeError:
        call()
        return None
    return thread


def _idle_wait(client: LDClient) -> Callable[[], object]:
    """Find what waits until the event processor is idle.

    The SDK has no public one. Its event processor has had this method since 6.0 for the SDK's own tests;
    where it is missing (offline clients, a processor of the user's, another SDK) there is nothing to wait for.
    """
    processor = getattr(client, "_event_processor", None)
    wait = getattr(processor, "_wait_until_inactive", None)
    return wait if callable(wait) and not getattr(processor, "_closed", False) else _nothing


def _nothing() -> None:
    return None
