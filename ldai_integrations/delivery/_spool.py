"""The batches that wait for LaunchDarkly's events endpoint.

A batch that fails is tried again as long as there is room. Then the oldest batches are counted as lost.
"""

from __future__ import annotations

import math
import random
import threading
import time
from collections import Counter, deque
from collections.abc import Callable

from .._diagnostics import Diagnostics, logger
from ._batch import Answer, Batch
from ._connection import remedy_without_answer

# The first retry comes within a second, as the SDK's does. Each further delay is twice as long, up to a limit: the
# second number, or the third one while the endpoint refuses whatever it is sent.
_FIRST_RETRY_SECONDS, _LAST_RETRY_SECONDS, _LAST_REFUSED_SECONDS = 1.0, 30.0, 60.0
# A batch that is called malformed (HTTP 400) more often is halved, to find the event that is.
_MAX_MALFORMED = 2
# The largest batch, of 4,000 events, is halved this often until it is a single event.
_MAX_HALVINGS = 12

_REMEDIES = {
    400: "it calls them malformed, which a proxy or relay in between may be the cause of; check events_uri",
    401: "it refuses the SDK key; set LAUNCHDARKLY_SDK_KEY to the SDK key of the right environment",
    403: "it refuses the SDK key; set LAUNCHDARKLY_SDK_KEY to the SDK key of the right environment",
    404: "there is no such address; check events_uri, and any proxy or relay in between",
    408: "it did not get a request in time; check the network, and any proxy or relay in between",
    413: "it calls even a single event too large, and each that it is sent is lost; check events_uri, and any proxy or "
    "relay in between",
    429: "it asks for fewer requests",
}
_UNAVAILABLE = "it is unavailable; check the network, the proxy and LaunchDarkly's status page"
_REFUSING = "it refuses events; check events_uri, and any proxy or relay in between"


class Spool:
    """A queue of batches that decides when a failed batch is tried again.

    Thread-safe. ``changed`` protects all its state, and that of the event processor.

    Args:
        max_bytes: How much it holds, compressed if it has to wait.
        diagnostics: Where failures are noted.
        on_empty: Called when the last waiting batch has been taken.
        address: The address of the endpoint.
    """

    def __init__(self, max_bytes: int, diagnostics: Diagnostics, on_empty: Callable[[], None], *, address: str) -> None:
        self.changed = threading.Condition()
        #: How many events LaunchDarkly accepted.
        self.sent = 0
        #: How many events were lost, by reason.
        self.dropped: Counter[str] = Counter()
        #: The last answer of the endpoint, in the words of ``Stats.endpoint``.
        self.state = "idle"
        self._max_bytes, self._diagnostics, self._on_empty = max_bytes, diagnostics, on_empty
        self._address = address
        self._queue: deque[Batch] = deque()
        self._under_way: set[Batch] = set()
        self._size = 0
        self._is_closed = False
        self._failures, self._failed_at, self._retry_at, self._asked_until = 0, 0.0, 0.0, 0.0
        self._halvings = 0

    @property
    def waiting(self) -> int:
        """The number of waiting batches."""
        return len(self._queue)

    def pending(self, upto: float = math.inf) -> int:
        """Return the number of events in batches that begin before an input. Hold ``changed`` for it."""
        return sum(batch.events for batch in (*self._queue, *self._under_way) if batch.first < upto)

    def put(self, batch: Batch) -> None:
        """Add a batch, and drop the oldest ones if there is no room."""
        if self._queue:
            batch.pack()
        with self.changed:
            if self._is_closed:
                self._drop(batch, "closed")
            else:
                self._queue.append(batch)
                self._size += batch.size
                self._make_room()
            self.changed.notify_all()

    def take(self) -> Batch | None:
        """Wait for a batch that is due and return it; return ``None`` when the spool is closed."""
        with self.changed:
            while not self._is_closed:
                seconds = self._seconds_to_next()
                if seconds == 0:
                    batch = self._queue.popleft()
                    self._size -= batch.size
                    self._under_way.add(batch)
                    batch.taken_at = time.monotonic()
                    if not self._queue:
                        self._on_empty()
                    return batch
                self.changed.wait(seconds)
            return None

    def settle(self, batch: Batch, answer: Answer) -> None:
        """Count a batch as sent, keep it for a retry, divide it or drop it, depending on the endpoint's answer."""
        batch.malformed += answer.status == 400
        if answer.is_too_large or batch.malformed > _MAX_MALFORMED:
            self._divide(batch, answer)
            return
        with self.changed:
            self._under_way.discard(batch)
            if answer.is_accepted:
                self.sent += batch.events
                if self._failures:
                    logger.info("LaunchDarkly accepts events again.")
                self.state = "ok"
                self._failures, self._retry_at, self._asked_until, self._halvings = 0, 0.0, 0.0, 0
            else:
                self._keep(batch, answer)
            self.changed.notify_all()

    def hurry(self) -> None:
        """Try again soon, but not more than once a second and not before the endpoint allows it."""
        with self.changed:
            soon = self._failed_at + _FIRST_RETRY_SECONDS
            self._retry_at = max(self._asked_until, min(self._retry_at, soon))
            self.changed.notify_all()

    def drop(self, events: int, reason: str) -> None:
        """Count events that are lost elsewhere."""
        with self.changed:
            self.dropped[reason] += events
            self.changed.notify_all()

    def close(self) -> None:
        """Count what still waits as lost, and end all waiting. A batch that is being posted may still arrive."""
        with self.changed:
            self._is_closed = True
            while self._queue:
                self._drop(self._queue.popleft(), "closed")
            self.changed.notify_all()

    def _seconds_to_next(self) -> float | None:
        """Return the seconds until a batch may be taken, or ``None`` if something else has to happen first.

        While the endpoint fails, only one batch at a time is posted, to find out whether it works again.
        """
        if not self._queue or (self._failures and self._under_way):
            return None
        return max(0.0, self._retry_at - time.monotonic())

    def _divide(self, batch: Batch, answer: Answer) -> None:
        """Replace a batch that is too large or malformed by its halves. A single event is lost."""
        parts = batch.halves()
        reason = "too_large" if answer.is_too_large else "malformed"
        with self.changed:
            self._under_way.discard(batch)
            self._halvings += 1
            if answer.is_too_large and self._halvings > _MAX_HALVINGS:  # it refuses events of any size
                self._slow_down(batch, answer)
            if not parts:
                self._drop(batch, reason)
                self._diagnostics.note(
                    "events",
                    reason,
                    "LaunchDarkly refuses an event (%s). The event is lost. Send less data and smaller contexts.",
                    reason,
                )
            elif self._is_closed:
                self._drop(batch, "closed")
            else:
                self._queue.extendleft(reversed(parts))
                self._size += sum(part.size for part in parts)
                self._make_room()
            self.changed.notify_all()

    def _keep(self, batch: Batch, answer: Answer) -> None:
        self._slow_down(batch, answer)
        if self._is_closed:
            self._drop(batch, "closed")
            return
        batch.pack()
        self._queue.appendleft(batch)
        self._size += batch.size
        self._make_room()

    def _slow_down(self, batch: Batch, answer: Answer) -> None:
        """Wait longer before the next post, and log the first answer of each kind."""
        now = time.monotonic()
        if batch.taken_at >= self._failed_at:  # a batch that was posted before the last failure says nothing new
            self._failures += 1
            self._failed_at = now
            last = _LAST_REFUSED_SECONDS if answer.is_refusal else _LAST_RETRY_SECONDS
            seconds = min(last, _FIRST_RETRY_SECONDS * 2 ** min(self._failures - 1, 10)) * random.uniform(0.5, 1.0)
            self._asked_until = now + answer.retry_after if answer.retry_after else 0.0
            self._retry_at = max(now + seconds, self._asked_until)
        self.state = str(answer)
        if answer.status is None:
            remedy = remedy_without_answer(self._address, _UNAVAILABLE)
        else:
            remedy = _REMEDIES.get(answer.status, _REFUSING if answer.is_refusal else _UNAVAILABLE)
        self._diagnostics.note(
            "events",
            str(answer),
            "LaunchDarkly's events endpoint does not accept events (%s): %s. They are kept, up to %d MB, and sent "
            "when it accepts them.",
            answer,
            remedy,
            self._max_bytes // 1_000_000,
        )

    def _make_room(self) -> None:
        while self._size > self._max_bytes and len(self._queue) > 1:  # the newest stays, however large it is
            oldest = self._queue.popleft()
            self._size -= oldest.size
            self._drop(oldest, "spool_full")
            self._diagnostics.note(
                "events",
                "spool_full",
                "More than %d MB of events wait for LaunchDarkly. The oldest are lost, and counted in stats(). "
                "The warning before this one says why they wait.",
                self._max_bytes // 1_000_000,
            )

    def _drop(self, batch: Batch, reason: str) -> None:
        self.dropped[reason] += batch.events
