"""How the events of one application get to LaunchDarkly, whoever made its LDClient."""

from __future__ import annotations

import itertools
import threading
import time
from typing import Any, Protocol

from ldclient import Context, LDClient

from .._diagnostics import Diagnostics
from ..records import FlushReport
from ._fork import lost_by_fork
from ._payload import safe_data, safe_metric
from ._processor import SpoolingEventProcessor
from ._sdk import SdkQueue, processor_of

# With the SDK's default capacity of 10,000 events, and five posts at a time, this leaves none behind.
_FLUSH_EVERY = 1_000
_MAX_YIELD_SECONDS = 0.005


class Delivery(Protocol):
    """Take events, and see that they arrive; thread-safe."""

    def track(self, event_name: str, context: Context, data: Any = None, metric_value: Any = None) -> None:
        """Send an event, with every value made finite and serialisable."""

    def flush(self, timeout: float) -> FlushReport:
        """Send all that is buffered and wait for it, ``timeout`` seconds at most; not on an event loop."""

    def close(self, timeout: float) -> FlushReport:
        """Flush, and close the client, in about ``timeout`` seconds at most."""

    def counts(self) -> tuple[int | None, int | None, dict[str, int]]:
        """Return events sent, pending, and lost by reason, as far as known."""

    def endpoint(self) -> str | None:
        """Return what the events endpoint said last, if known."""

    def diagnostics(self) -> dict[str, int]:
        """Return how often each kind of trouble has happened here."""


def delivery_of(client: LDClient, diagnostics: Diagnostics) -> Delivery:
    """Find out what an LDClient can do for its events."""
    if isinstance(processor_of(client), SpoolingEventProcessor):
        return SpooledDelivery(client)
    return PlainDelivery(client, diagnostics)


class SpooledDelivery:
    """Leave it all to the client's :class:`SpoolingEventProcessor`, which mends values off the caller's thread."""

    def __init__(self, client: LDClient) -> None:
        self._client = client
        self._last: SpoolingEventProcessor = processor_of(client)
        self.track = client.track

    @property
    def _processor(self) -> SpoolingEventProcessor:
        """The client's, another one after ``LDClient.postfork()``; while it is being revived, its parent's."""
        processor = processor_of(self._client)
        if isinstance(processor, SpoolingEventProcessor):
            self._last = processor
        return self._last

    def flush(self, timeout: float) -> FlushReport:
        """Send all that is buffered and wait for it."""
        return self._processor.deliver(timeout)

    def close(self, timeout: float) -> FlushReport:
        """Flush, and close the client."""
        report = self._processor.close(timeout)
        _close_within(self._client, timeout)
        return report

    def counts(self) -> tuple[int | None, int | None, dict[str, int]]:
        """Return events sent, pending, and lost by reason."""
        sent, pending, dropped = self._processor.counts()
        return sent, pending, {**dropped, **lost_by_fork(self._client)}

    def endpoint(self) -> str | None:
        """Return what the events endpoint said last."""
        return self._processor.state

    def diagnostics(self) -> dict[str, int]:
        """Return how often each kind of trouble has happened."""
        return self._processor.diagnostics.counts()


class PlainDelivery:
    """Do for the SDK's own event processor what can be done from outside; what became of events it does not tell."""

    def __init__(self, client: LDClient, diagnostics: Diagnostics) -> None:
        self._client, self._diagnostics = client, diagnostics
        self._numbers = itertools.count(1)
        self._look()

    def track(self, event_name: str, context: Context, data: Any = None, metric_value: Any = None) -> None:
        """Send an event, with every value made finite and serialisable; flush or yield before the SDK has no room."""
        metric = safe_metric(metric_value, event_name, self._diagnostics)
        self._client.track(event_name, context, safe_data(data, event_name, self._diagnostics), metric)
        if next(self._numbers) % _FLUSH_EVERY == 0:
            self._client.flush()
        queue = self._queue
        if 2 * len(queue.waiting) > queue.capacity > 0 and queue.is_current:
            time.sleep((2 * len(queue.waiting) / queue.capacity - 1) * _MAX_YIELD_SECONDS)

    def flush(self, timeout: float) -> FlushReport:
        """Send all that is buffered and wait for it; callers who ask meanwhile share the next flush."""
        if not self._queue.is_current:
            self._look()
        if self._queue.sends_nothing:
            return FlushReport(sent=0, pending=0, dropped=0)
        done = self._queue.is_known and self._flush_shared(timeout)
        if not self._queue.is_known:
            self._client.flush()
        return FlushReport(sent=None, pending=0 if done else None, dropped=None)

    def close(self, timeout: float) -> FlushReport:
        """Flush, and close the client."""
        report = self.flush(timeout)
        _close_within(self._client, timeout)
        return report

    def counts(self) -> tuple[int | None, int | None, dict[str, int]]:
        """Return what is known: what no processor got, and that a client that sends nothing has nothing."""
        nothing = 0 if self._queue.sends_nothing else None
        return nothing, nothing, lost_by_fork(self._client)

    def endpoint(self) -> str | None:
        """Return ``None``: the SDK does not tell."""
        return None

    def diagnostics(self) -> dict[str, int]:
        """Return none: they are counted with the application's."""
        return {}

    def _look(self) -> None:
        """Look at the client's event processor, another one after ``LDClient.postfork()``."""
        self._queue = SdkQueue(self._client)
        self._flushing = threading.Lock()
        self._flushed_from = 0.0

    def _flush_shared(self, timeout: float) -> bool:
        asked = time.monotonic()
        if not self._flushing.acquire(timeout=timeout):
            return False
        try:
            if self._flushed_from < asked:  # else a flush that began since has ended well
                begun = time.monotonic()
                if not self._flush_sdk(asked + timeout):
                    return False
                self._flushed_from = begun
            return True
        finally:
            self._flushing.release()

    def _flush_sdk(self, deadline: float) -> bool:
        queue = self._queue
        for _ in range(2):  # with five posts under way the SDK forgets the first request; once idle it does not
            if len(queue.waiting) >= queue.capacity:
                self._diagnostics.note(
                    "flush_refused",
                    "inbox",
                    "The SDK's event queue is full and a flush has to wait; raise events_max_pending.",
                )
            if not queue.flush(deadline) or not queue.wait_until_idle(deadline):
                return False
        return True


def _close_within(client: LDClient, timeout: float) -> None:
    """Close a client; it goes on by itself where that takes longer than ``timeout`` seconds."""
    closer = threading.Thread(target=client.close, name="ldai-close", daemon=True)
    try:
        closer.start()
    except RuntimeError:  # the interpreter is ending and starts no more threads
        client.close()
    else:
        closer.join(timeout)
