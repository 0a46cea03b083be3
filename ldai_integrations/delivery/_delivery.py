"""The delivery of an application's events to LaunchDarkly, through a client that we or the user made."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable
from typing import Any, TypeAlias

from ldclient import Context, LDClient

from .._diagnostics import Diagnostics
from ..records import FlushReport
from ._payload import safe_data, safe_metric
from ._processor import SpoolingEventProcessor
from ._restart import count_events_lost_by_fork, wait_for_restart
from ._sdk import SdkQueue, is_closed, is_inherited, processor_of
from ._threads import start_thread

# With the SDK's default capacity of 10,000 events, and five posts at a time, this loses none.
_FLUSH_EVERY = 1_000
_MAX_YIELD_SECONDS = 0.005


def delivery_of(client: LDClient, diagnostics: Diagnostics) -> Delivery:
    """Return the delivery that suits an LDClient's event processor."""
    if isinstance(processor_of(client), SpoolingEventProcessor):
        return SpooledDelivery(client)
    return PlainDelivery(client, diagnostics)


class SpooledDelivery:
    """The delivery of a client with a :class:`SpoolingEventProcessor`, which replaces values on its own thread.

    Thread-safe.
    """

    def __init__(self, client: LDClient) -> None:
        self._client = client
        self._last: SpoolingEventProcessor = processor_of(client)
        self.track: Callable[..., None] = client.track

    @property
    def _processor(self) -> SpoolingEventProcessor:
        """The client's event processor, or, until an inherited client is restarted, that of the parent."""
        processor = processor_of(self._client)
        if isinstance(processor, SpoolingEventProcessor):
            self._last = processor
        return self._last

    @property
    def accepts_events(self) -> bool:
        """Whether there is room for an event; False if the client is closed."""
        processor = processor_of(self._client)
        return not isinstance(processor, SpoolingEventProcessor) or processor.accepts_events

    def flush(self, timeout: float) -> FlushReport:
        """Send everything that is buffered and wait for it; not on an event loop.

        In a forked child that has not used the client there is nothing to send.
        """
        return _send_after_restart(self._client, timeout, lambda seconds: self._processor.deliver(seconds))

    def close(self, timeout: float) -> FlushReport:
        """Flush and close the client."""

        def close(seconds: float) -> FlushReport:
            report = self._processor.close(seconds)
            _close_within(self._client, timeout)
            return report

        return _send_after_restart(self._client, timeout, close)

    def counts(self) -> tuple[int | None, int | None, dict[str, int]]:
        """Return the number of sent, pending and lost events."""
        sent, pending, dropped = self._processor.counts()
        return sent, pending, {**dropped, **count_events_lost_by_fork(self._client)}

    def endpoint(self) -> str | None:
        """Return the last answer of the events endpoint."""
        return self._processor.state

    def diagnostics(self) -> dict[str, int]:
        """Return how often each kind of failure has happened."""
        return self._processor.diagnostics.counts()


class PlainDelivery:
    """The delivery of a client with the SDK's own event processor, which does not say what became of the events.

    Thread-safe.
    """

    def __init__(self, client: LDClient, diagnostics: Diagnostics) -> None:
        self._client, self._diagnostics = client, diagnostics
        self._numbers = itertools.count(1)
        self._look()

    @property
    def accepts_events(self) -> bool:
        """Whether there is room for an event; False if the client is closed."""
        queue = self._queue
        return not is_closed(self._client) and not len(queue.waiting) >= queue.capacity > 0

    def track(self, event_name: str, context: Context, data: Any = None, metric_value: Any = None) -> None:
        """Send an event with values that JSON can represent; flush or yield before the SDK's queue is full."""
        metric = safe_metric(metric_value, event_name, self._diagnostics)
        self._client.track(event_name, context, safe_data(data, event_name, self._diagnostics), metric)
        if next(self._numbers) % _FLUSH_EVERY == 0:
            self._client.flush()
        queue = self._queue
        if 2 * len(queue.waiting) > queue.capacity > 0 and queue.is_current:
            time.sleep((2 * len(queue.waiting) / queue.capacity - 1) * _MAX_YIELD_SECONDS)

    def flush(self, timeout: float) -> FlushReport:
        """Send everything that is buffered and wait for it; not on an event loop.

        Callers that ask meanwhile share the next flush. In a forked child that has not used the client there is nothing
        to send.
        """
        return _send_after_restart(self._client, timeout, self._flush)

    def close(self, timeout: float) -> FlushReport:
        """Flush and close the client."""
        report = self.flush(timeout)
        if not is_inherited(self._client):
            _close_within(self._client, timeout)
        return report

    def counts(self) -> tuple[int | None, int | None, dict[str, int]]:
        """Return the events lost before a restart, and zeros for a client that sends nothing."""
        nothing = 0 if self._queue.sends_nothing else None
        return nothing, nothing, count_events_lost_by_fork(self._client)

    def endpoint(self) -> str | None:
        """Return ``None``: the SDK does not tell."""
        return None

    def diagnostics(self) -> dict[str, int]:
        """Return none: they are counted with those of the application."""
        return {}

    def _look(self) -> None:
        """Look at the client's event processor, which ``LDClient.postfork()`` replaces."""
        self._queue = SdkQueue(self._client)
        self._flushing = threading.Lock()
        self._flushed_from = 0.0

    def _flush(self, timeout: float) -> FlushReport:
        if not self._queue.is_current:
            self._look()
        if self._queue.sends_nothing:
            return FlushReport(sent=0, pending=0, dropped=0)
        done = self._queue.is_known and self._flush_shared(timeout)
        if not self._queue.is_known:
            self._client.flush()
        return FlushReport(sent=None, pending=0 if done else None, dropped=None)

    def _flush_shared(self, timeout: float) -> bool:
        asked = time.monotonic()
        if not self._flushing.acquire(timeout=timeout):
            return False
        try:
            if self._flushed_from < asked:  # otherwise a flush that began after the call has succeeded
                begun = time.monotonic()
                if not self._flush_sdk(asked + timeout):
                    return False
                self._flushed_from = begun
            return True
        finally:
            self._flushing.release()

    def _flush_sdk(self, deadline: float) -> bool:
        queue = self._queue
        for _ in range(2):  # with five posts under way the SDK forgets the first request, but not when it is idle
            if len(queue.waiting) >= queue.capacity:
                self._diagnostics.note(
                    "flush_refused",
                    "inbox",
                    "The SDK's event queue is full and a flush has to wait. Raise events_max_pending.",
                )
            if not queue.flush(deadline) or not queue.wait_until_idle(deadline):
                return False
        return True


#: The delivery of one client's events.
Delivery: TypeAlias = SpooledDelivery | PlainDelivery


def _send_after_restart(client: LDClient, timeout: float, send: Callable[[float], FlushReport]) -> FlushReport:
    """Send in what is left of the time after a restart; report the held events if the restart does not end."""
    deadline = time.monotonic() + timeout
    held = wait_for_restart(client, timeout)
    if held is not None:
        return FlushReport(sent=0, pending=held, dropped=0)
    return send(max(0.0, deadline - time.monotonic()))


def _close_within(client: LDClient, timeout: float) -> None:
    """Close a client on a thread, which continues if that takes longer than ``timeout`` seconds."""
    closer = start_thread(client.close, "ldai-close")
    if closer is None:
        client.close()
    else:
        closer.join(timeout)
