"""Batches that wait for LaunchDarkly: retried for as long as there is room, then counted as lost, oldest first."""

from __future__ import annotations

import math
import random
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field

from .._diagnostics import Diagnostics, logger
from ._batch import Batch
from ._post import Answer

# The first retry comes within a second, as the SDK's does; then twice as late each time, up to the bound.
_FIRST_RETRY_SECONDS, _LAST_RETRY_SECONDS, _LAST_REFUSED_SECONDS = 1.0, 30.0, 60.0
# A batch that is called malformed (HTTP 400) so often, while others may be taken, is halved to find the culprit.
_MAX_REFUSED = 2

_REMEDIES = {
    401: "it refuses the SDK key; set LAUNCHDARKLY_SDK_KEY to the SDK key of the right environment",
    403: "it refuses the SDK key; set LAUNCHDARKLY_SDK_KEY to the SDK key of the right environment",
    404: "there is no such address; check events_uri, and any proxy or relay in between",
    429: "it asks for fewer requests",
}
_UNAVAILABLE = "it is unavailable; check the network, the proxy and LaunchDarkly's status page"
_REFUSING = "it refuses events; check events_uri, and any proxy or relay in between"


@dataclass
class Tally:
    """Count events.

    Attributes:
        sent: Taken by LaunchDarkly.
        dropped: Lost, by reason.
    """

    sent: int = 0
    dropped: Counter[str] = field(default_factory=Counter)


class Spool:
    """Hold batches, hand each to whoever delivers, and decide when a failed one is tried again.

    Every method may be called from any thread; ``changed`` guards all state, also that of the event processor.
    """

    def __init__(self, max_bytes: int, diagnostics: Diagnostics, on_hungry: Callable[[], None]) -> None:
        """Start empty.

        Args:
            max_bytes: How much to hold, as held (compressed where it has to wait).
            diagnostics: Where failures are noted.
            on_hungry: Called when the last waiting batch has been taken.
        """
        self.changed = threading.Condition()
        self.tally = Tally()
        self.state = "idle"
        self._max_bytes, self._diagnostics, self._on_hungry = max_bytes, diagnostics, on_hungry
        self._queue: deque[Batch] = deque()
        self._under_way: set[Batch] = set()
        self._size = 0
        self._closed = False
        self._failures, self._failed_at, self._retry_at, self._asked_until = 0, 0.0, 0.0, 0.0

    @property
    def waiting(self) -> int:
        """How many batches wait."""
        return len(self._queue)

    def pending(self, upto: float = math.inf) -> int:
        """Count the events here, or those in batches begun before this input; with ``changed`` held."""
        return sum(batch.events for batch in (*self._queue, *self._under_way) if batch.first < upto)

    def put(self, batch: Batch) -> None:
        """Take a batch in, and let go of the oldest where there is no room."""
        if self._queue:
            batch.pack()
        with self.changed:
            if self._closed:
                self._drop(batch, "closed")
            else:
                self._queue.append(batch)
                self._size += batch.size
                self._make_room()
            self.changed.notify_all()

    def take(self) -> Batch | None:
        """Wait for a batch that is due; ``None`` when the spool is closed."""
        with self.changed:
            while not self._closed:
                seconds = self._seconds_to_next()
                if seconds == 0:
                    return self._taken()
                self.changed.wait(seconds)
            return None

    def settle(self, batch: Batch, answer: Answer) -> None:
        """Do with a batch what the endpoint's answer calls for."""
        batch.refused += answer.status == 400
        if answer.is_too_large or batch.refused > _MAX_REFUSED:
            self._replace(batch, batch.halves(), "too_large" if answer.is_too_large else "malformed")
            return
        with self.changed:
            self._under_way.discard(batch)
            if answer.took_it:
                self.tally.sent += batch.events
                self._recovered()
            else:
                self._failed(batch, answer)
            self.changed.notify_all()

    def hurry(self) -> None:
        """Try again soon, though not more than once a second, nor before the endpoint allows."""
        with self.changed:
            soon = self._failed_at + _FIRST_RETRY_SECONDS
            self._retry_at = max(self._asked_until, min(self._retry_at, soon))
            self.changed.notify_all()

    def drop(self, events: int, reason: str) -> None:
        """Count events that are lost elsewhere."""
        with self.changed:
            self.tally.dropped[reason] += events
            self.changed.notify_all()

    def close(self) -> None:
        """Count what still waits as lost, and end all waiting; what is under way may still arrive."""
        with self.changed:
            self._closed = True
            while self._queue:
                self._drop(self._queue.popleft(), "closed")
            self.changed.notify_all()

    def _seconds_to_next(self) -> float | None:
        """Return how long until a batch may be taken; ``None`` if something else has to happen first.

        While the endpoint fails, one batch at a time tries whether it is back.
        """
        if not self._queue or (self._failures and self._under_way):
            return None
        return max(0.0, self._retry_at - time.monotonic())

    def _taken(self) -> Batch:
        batch = self._queue.popleft()
        self._size -= batch.size
        self._under_way.add(batch)
        batch.taken_at = time.monotonic()
        if not self._queue:
            self._on_hungry()
        return batch

    def _replace(self, batch: Batch, parts: list[Batch], reason: str) -> None:
        with self.changed:
            self._under_way.discard(batch)
            if not parts:
                self._drop(batch, reason)
                self._diagnostics.note(
                    "events",
                    reason,
                    "LaunchDarkly does not take an event (%s), by itself; it is lost. Send smaller data and contexts.",
                    reason,
                )
            for part in reversed(parts):
                self._queue.appendleft(part)
                self._size += part.size
            self.changed.notify_all()

    def _recovered(self) -> None:
        if self._failures:
            logger.info("LaunchDarkly takes events again.")
        self.state = "ok"
        self._failures, self._retry_at, self._asked_until = 0, 0.0, 0.0

    def _failed(self, batch: Batch, answer: Answer) -> None:
        now = time.monotonic()
        if batch.taken_at >= self._failed_at:  # else it was posted before the others failed, and says nothing new
            self._failures += 1
            self._failed_at = now
            last = _LAST_REFUSED_SECONDS if answer.is_refusal else _LAST_RETRY_SECONDS
            seconds = min(last, _FIRST_RETRY_SECONDS * 2 ** min(self._failures - 1, 10)) * random.uniform(0.5, 1.0)
            self._asked_until = now + answer.retry_after if answer.retry_after else 0.0
            self._retry_at = max(now + seconds, self._asked_until)
        self.state = str(answer)
        self._say(answer)
        if self._closed:
            self._drop(batch, "closed")
            return
        batch.pack()
        self._queue.appendleft(batch)
        self._size += batch.size
        self._make_room()

    def _say(self, answer: Answer) -> None:
        remedy = _REFUSING if answer.is_refusal else _UNAVAILABLE
        remedy = _REMEDIES.get(answer.status, remedy) if answer.status is not None else _UNAVAILABLE
        self._diagnostics.note(
            "events",
            str(answer),
            "LaunchDarkly's events endpoint does not take events (%s): %s. They are kept, up to %d MB, and sent "
            "when it takes them.",
            answer,
            remedy,
            self._max_bytes // 1_000_000,
        )

    def _make_room(self) -> None:
        while self._size > self._max_bytes and len(self._queue) > 1:  # the newest stays, however large
            oldest = self._queue.popleft()
            self._size -= oldest.size
            self._drop(oldest, "spool_full")
            self._diagnostics.note(
                "events",
                "spool_full",
                "More than %d MB of events wait for LaunchDarkly; the oldest are lost, and counted in stats(). "
                "See the warning before this one for why they wait.",
                self._max_bytes // 1_000_000,
            )

    def _drop(self, batch: Batch, reason: str) -> None:
        self.tally.dropped[reason] += batch.events
