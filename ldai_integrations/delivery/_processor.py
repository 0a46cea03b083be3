"""An event processor for ldclient that loses nothing it has room for, and says what became of the rest."""

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
from ._batch import batches
from ._formatter import Formatter
from ._post import Poster
from ._sdk import Engine
from ._spool import Spool

#: What the inbox of a client made by us holds; ldclient's own default is 10,000, a second of a busy process.
INBOX_EVENTS = 100_000
_SPOOL_BYTES = 32_000_000
_MAX_POSTERS = 4
# A batch is made of so many inputs; while others wait for a slow endpoint, of four times as many.
_BATCH_INPUTS, _BACKLOG = 1_000, 4
# A caller waits so long at most where the inbox is full, and in proportion from half full on.
_MAX_YIELD_SECONDS = 0.005
# How long LDClient.close() may take.
_CLOSE_SECONDS = 10.0


class SpoolingEventProcessor(EventProcessor):
    """Deliver the events of an LDClient through bursts, slow and failing endpoints, and count them.

    Clients of ``Tracking.from_env()`` have it. Give it to one of your own with
    ``Config(sdk_key, event_processor_class=SpoolingEventProcessor)``. Events wait in an inbox
    (``Config.events_max_pending``), are formatted by the SDK's rules on one thread, and wait, compressed, for one of
    up to four that post them. The SDK's diagnostics are not sent.

    Thread-safe. It belongs to the process that made it, and so does what waits in it: ``LDClient.postfork()`` makes
    another for a forked child; until then a child's events are counted as lost.

    Args:
        config: The client's.
        max_spool_bytes: How much may wait for the endpoint, compressed, before the oldest is let go.

    Raises:
        SdkChangedError: If this ldclient is made differently inside; leave ``event_processor_class`` out then.
    """

    def __init__(self, config: Config, *, max_spool_bytes: int = _SPOOL_BYTES) -> None:
        self.diagnostics = Diagnostics()
        self._config = config
        self._engine = Engine(config)
        self._pid = os.getpid()
        self._inbox: deque[Any] = deque()
        self._capacity = max(1, config.events_max_pending)
        # The SDK makes up to three events of one.
        self._chunk = self._pressed_from = max(1, min(_BATCH_INPUTS, self._capacity // (3 * _BACKLOG)))
        self._wake = threading.Event()
        self._spool = Spool(max_spool_bytes, self.diagnostics, self._wake.set)
        self._changed = self._spool.changed
        self._formatter = Formatter(self._engine, self.diagnostics, self._spool.drop)
        # Counts of what was sent to us: made into batches, being made into one, and to be made into one at once.
        self._formed = self._forming = self._asked_upto = 0
        self._closed = False
        self._posters = 0
        _start(self._form_all, "ldai-events")
        self._add_poster()

    def send_event(self, event: Any) -> None:
        """Take an event; called by the LDClient, in the thread of whoever tracks."""
        inbox = self._inbox
        if len(inbox) < self._pressed_from:
            inbox.append(event)
        else:
            self._send_under_pressure(event)

    def flush(self) -> None:
        """Have everything sent that is here, without waiting for it."""
        if self._pid == os.getpid():
            self._ask()

    def stop(self) -> None:
        """Deliver what is here within 10 seconds, and end; called by ``LDClient.close()``."""
        self.close(_CLOSE_SECONDS)

    def deliver(self, timeout: float) -> FlushReport:
        """Have everything sent that is here, and wait until it has arrived or is lost; not on an event loop.

        Args:
            timeout: Seconds to wait at most.
        """
        if self._pid != os.getpid():
            return FlushReport(sent=0, pending=0, dropped=0)
        return self._during(lambda upto: self._wait_for(upto, timeout))

    def close(self, timeout: float) -> FlushReport:
        """Deliver what is here and end; what does not arrive within ``timeout`` seconds is lost."""
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
        """Return how many events are sent and pending since start, and how many are lost, by reason."""
        if self._pid != os.getpid():
            return 0, 0, {}
        with self._changed:
            tally = self._spool.tally
            return tally.sent, self._pending(), {reason: lost for reason, lost in tally.dropped.items() if lost}

    @property
    def state(self) -> str:
        """What the endpoint said last; the words are those of ``Stats.endpoint``."""
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
            self._refuse("inbox_full", "they come faster than this machine formats them; raise events_max_pending")
        else:
            self._inbox.append(event)

    def _refuse(self, reason: str, remedy: str) -> None:
        self.diagnostics.note("events", reason, "LaunchDarkly events are lost (%s): %s.", reason, remedy)
        if self._pid == os.getpid():
            self._spool.drop(1, reason)

    def _ask(self) -> int:
        """Have everything formed into batches that is here; return up to which input that is."""
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
        """Report what becomes of events while ``action`` waits for those that are here now."""
        tally = self._spool.tally
        with self._changed:
            sent, dropped = tally.sent, tally.dropped.total()
        upto = self._ask()
        action(upto)
        with self._changed:
            return FlushReport(
                sent=tally.sent - sent, pending=self._pending(upto), dropped=tally.dropped.total() - dropped
            )

    def _pending(self, upto: float = math.inf) -> int:
        """Count the events here, or those of inputs up to one; with the lock held."""
        unformed = min(self._forming + len(self._inbox), max(0, upto - self._formed))
        return int(unformed) + self._spool.pending(upto)

    # The thread that makes batches

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
            while self._is_due():
                self._form()

    def _is_due(self) -> bool:
        """Tell whether to make a batch: of a full one's worth, or of what was asked for once a poster is free.

        So a thousand flushes while the endpoint is slow make one batch, not a thousand.
        """
        if self._spool.waiting:
            return len(self._inbox) >= self._chunk * _BACKLOG
        return len(self._inbox) >= self._chunk or self._asked_upto > self._formed

    def _form(self) -> None:
        with self._changed:
            inputs = [self._inbox.popleft() for _ in range(min(len(self._inbox), self._chunk * _BACKLOG))]
            self._forming, first = len(inputs), self._formed
        made = []
        try:
            made = list(batches(self._formatter.events_of(inputs), first, self.diagnostics))
        except Exception as exc:  # this thread must live on
            self._formatter.lost(len(inputs), exc)
        with self._changed:
            for batch in made:
                self._spool.put(batch)
            self._formed, self._forming = first + len(inputs), 0
            self._changed.notify_all()
        if self._spool.waiting > 1:
            self._add_poster()

    # The threads that post

    def _add_poster(self) -> None:
        if self._posters < _MAX_POSTERS and _start(self._post_all, f"ldai-delivery-{self._posters + 1}"):
            self._posters += 1

    def _post_all(self) -> None:
        poster = Poster(self._config, self._engine)
        spool = self._spool
        while (batch := spool.take()) is not None:
            spool.settle(batch, poster.post(batch))
        poster.close()


def _start(work: Callable[[], None], name: str) -> bool:
    try:
        threading.Thread(target=work, name=name, daemon=True).start()
    except RuntimeError:  # the interpreter is ending and starts no more threads
        return False
    return True
