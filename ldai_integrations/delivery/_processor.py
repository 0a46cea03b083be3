"""An event processor for ldclient that loses no event that it has room for, and counts the others."""

from __future__ import annotations

import math
import os
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from ldclient import Config
from ldclient.interfaces import EventProcessor

from .._diagnostics import Diagnostics
from ..records import FlushReport
from ._batch import Formatter, Poster
from ._sdk import Engine
from ._spool import Spool
from ._threads import start_thread

#: The size of the inbox of a client that we make. ldclient's default is 10,000, which is a second of a busy process.
INBOX_EVENTS = 100_000
_SPOOL_BYTES = 32_000_000
_MAX_POSTERS = 4
# How many inputs make a batch. While other batches wait for a slow endpoint, it is four times as many.
_BATCH_INPUTS, _BACKLOG = 1_000, 4
# The longest delay of a caller, when the inbox is full. The delay grows from 0 at half full.
_MAX_YIELD_SECONDS = 0.005
# The time for LDClient.close().
_CLOSE_SECONDS = 10.0


class SpoolingEventProcessor(EventProcessor):
    """An event processor that delivers through bursts, slow endpoints and outages, and counts the events.

    Clients of ``Tracking.from_env()`` have it. Give it to a client of your own with
    ``Config(sdk_key, event_processor_class=SpoolingEventProcessor)``. Events wait in an inbox
    (``Config.events_max_pending``). One thread formats them by the SDK's rules. Then they wait, compressed, for one of
    up to four threads that post them. The SDK's diagnostics are not sent.

    Thread-safe. It belongs to the process that made it, as do the events in it. ``LDClient.postfork()`` makes another
    one for a forked child. Until then the events of a child are counted as lost.

    Args:
        config: The configuration of the client.
        max_spool_bytes: How much may wait for the endpoint, compressed, before the oldest events are dropped.

    Raises:
        SdkChangedError: If this version of ldclient has unexpected internals. Omit ``event_processor_class`` then.
    """

    def __init__(self, config: Config, *, max_spool_bytes: int = _SPOOL_BYTES) -> None:
        self.diagnostics: Diagnostics = Diagnostics()
        self._config = config
        self._engine = Engine(config)
        self._pid = os.getpid()
        self._inbox: deque[Any] = deque()
        self._capacity = max(1, config.events_max_pending)
        # How many inputs make a batch here: the SDK makes up to three events of one.
        self._chunk = max(1, min(_BATCH_INPUTS, self._capacity // (3 * _BACKLOG)))
        # With fewer inputs in the inbox, an event is added without further checks; never, once this is closed.
        self._pressed_from = self._chunk
        self._wake = threading.Event()
        self._spool = Spool(max_spool_bytes, self.diagnostics, self._wake.set, address=config.events_uri)
        self._changed = self._spool.changed
        self._formatter = Formatter(self._engine, self.diagnostics, self._spool.drop)
        # How many inputs have been formed into batches so far, and how many are being formed.
        self._formed = self._forming = 0
        # The position among all inputs up to which a flush asks for batches.
        self._asked_upto = 0
        self._closed = False
        self._posters = 0
        start_thread(self._form_all, "ldai-events")
        self._add_poster()

    @property
    def accepts_events(self) -> bool:
        """Whether there is room for an event in the inbox; False if this is closed."""
        return not self._closed and len(self._inbox) < self._capacity

    def send_event(self, event: Any) -> None:
        """Add an event; called by the LDClient, on the thread that tracks."""
        inbox = self._inbox
        if len(inbox) < self._pressed_from:
            inbox.append(event)
        else:
            self._send_under_pressure(event)

    def flush(self) -> None:
        """Have everything sent that is buffered, without a wait."""
        if self._pid == os.getpid():
            self._ask()

    def stop(self) -> None:
        """Deliver what is buffered within 10 seconds, and end; called by ``LDClient.close()``."""
        self.close(_CLOSE_SECONDS)

    def deliver(self, timeout: float) -> FlushReport:
        """Have everything sent that is buffered, and wait until it has arrived or is lost; not on an event loop.

        Args:
            timeout: The maximum wait in seconds.
        """
        if self._pid != os.getpid():
            return FlushReport(sent=0, pending=0, dropped=0)
        return self._during(lambda upto: self._wait_for(upto, timeout))

    def close(self, timeout: float) -> FlushReport:
        """Deliver what is buffered, and end. Events that do not arrive within ``timeout`` seconds are lost."""
        if self._closed or self._pid != os.getpid():
            return FlushReport(sent=0, pending=0, dropped=0)

        def deliver_and_end(upto: int) -> None:
            self._wait_for(upto, timeout)
            with self._changed:
                self._closed, self._pressed_from = True, -1
                self._spool.drop(len(self._inbox), "closed")
                self._inbox.clear()
                self._spool.close()
            self._wake.set()

        return self._during(deliver_and_end)

    def counts(self) -> tuple[int, int, dict[str, int]]:
        """Return the number of sent and pending events since the start, and of lost events by reason."""
        if self._pid != os.getpid():
            return 0, 0, {}
        with self._changed:
            spool = self._spool
            return spool.sent, self._pending(), {reason: lost for reason, lost in spool.dropped.items() if lost}

    @property
    def state(self) -> str:
        """The last answer of the endpoint, in the words of ``Stats.endpoint``."""
        return self._spool.state

    def _send_under_pressure(self, event: Any) -> None:
        if self._closed or self._pid != os.getpid():
            self._refuse("closed", "the LDClient is closed, or belongs to the parent process: see LDClient.postfork()")
            return
        if not self._wake.is_set():
            self._wake.set()
        fullness = len(self._inbox) / self._capacity
        if fullness > 0.5:
            time.sleep(min(1.0, 2 * fullness - 1) * _MAX_YIELD_SECONDS)
        if len(self._inbox) >= self._capacity:
            self._refuse("inbox_full", "they arrive faster than this machine formats them; raise events_max_pending")
        else:
            self._inbox.append(event)

    def _refuse(self, reason: str, remedy: str) -> None:
        self.diagnostics.note("events", reason, "LaunchDarkly events are lost (%s): %s.", reason, remedy)
        if self._pid == os.getpid():
            self._spool.drop(1, reason)

    def _ask(self) -> int:
        """Have everything formed into batches that is in the inbox; return the position of its end."""
        with self._changed:
            upto = self._formed + self._forming + len(self._inbox)
            self._asked_upto = max(self._asked_upto, upto)
        self._wake.set()
        self._spool.hurry()
        return upto

    def _wait_for(self, upto: int, timeout: float) -> None:
        with self._changed:
            self._changed.wait_for(lambda: not self._pending(upto), timeout)

    def _during(self, action: Callable[[int], None]) -> FlushReport:
        """Report what becomes of events while ``action`` waits for those that are buffered now."""
        spool = self._spool
        with self._changed:
            sent, dropped = spool.sent, spool.dropped.total()
        upto = self._ask()
        action(upto)
        with self._changed:
            return FlushReport(
                sent=spool.sent - sent, pending=self._pending(upto), dropped=spool.dropped.total() - dropped
            )

    def _pending(self, upto: float = math.inf) -> int:
        """Return the number of buffered events, or of those up to a position. Hold the lock for it."""
        unformed = min(self._forming + len(self._inbox), max(0, upto - self._formed))
        return int(unformed) + self._spool.pending(upto)

    # The thread that forms batches

    def _form_all(self) -> None:
        flush_at = time.monotonic() + self._config.flush_interval
        forget_at = time.monotonic() + self._config.context_keys_flush_interval
        while not self._closed:
            self._wake.wait(max(0.0, flush_at - time.monotonic()))
            self._wake.clear()
            now = time.monotonic()
            if now >= flush_at:
                flush_at = now + self._config.flush_interval
                with self._changed:
                    self._asked_upto = self._formed + len(self._inbox)
            if now >= forget_at:
                forget_at = now + self._config.context_keys_flush_interval
                self._engine.forget_contexts()
            while self._is_due() and not self._closed:
                self._form()

    def _is_due(self) -> bool:
        """Return whether to form a batch: a full one, or a part that a flush asks for when a poster is free.

        A thousand flushes during a slow post then make one batch, not a thousand.
        """
        if self._spool.waiting:
            return len(self._inbox) >= self._chunk * _BACKLOG
        return len(self._inbox) >= self._chunk or self._asked_upto > self._formed

    def _form(self) -> None:
        with self._changed:
            inputs = [self._inbox.popleft() for _ in range(min(len(self._inbox), self._chunk * _BACKLOG))]
            self._forming, first = len(inputs), self._formed
        batches = []
        try:
            batches = list(self._formatter.batches(inputs, first))
        except Exception as exc:  # this thread must continue
            self._formatter.lose(len(inputs), exc)
        with self._changed:
            for batch in batches:
                self._spool.put(batch)
            self._formed, self._forming = first + len(inputs), 0
            self._changed.notify_all()
        if self._spool.waiting > 1:
            self._add_poster()

    # The threads that post

    def _add_poster(self) -> None:
        if self._posters < _MAX_POSTERS and start_thread(self._post_all, f"ldai-delivery-{self._posters + 1}"):
            self._posters += 1

    def _post_all(self) -> None:
        poster = Poster(self._config, self._engine)
        spool = self._spool
        while (batch := spool.take()) is not None:
            spool.settle(batch, poster.post(batch))
        poster.close()
