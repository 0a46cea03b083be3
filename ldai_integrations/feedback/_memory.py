"""What one process stores about votes and voters, with limits."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable

from .._locks import ForkSafeLock

_MAX_VOTES = 100_000
_MAX_CLIENTS = 10_000
_MINUTE = 60.0


class MemoryVotes:
    """A store of the first vote of each run, in memory. Thread-safe.

    Other processes do not see it: with several workers and no shared store, a run can get one vote in each.

    Args:
        most: How many votes are stored, at about 260 bytes each. The oldest are removed first.
        clock: Returns monotonic seconds.
    """

    def __init__(self, most: int = _MAX_VOTES, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._most = most
        self._clock = clock
        self._lock = ForkSafeLock()
        self._votes: OrderedDict[str, tuple[str, float]] = OrderedDict()

    def keep(self, run_id: str, kind: str, *, seconds: int) -> str | None:
        """Store the vote unless the run has one; return the one it had, or ``None``."""
        now = self._clock()
        with self._lock:
            earlier = self._votes.get(run_id)
            if earlier is not None and earlier[1] > now:
                return earlier[0]
            self._votes.pop(run_id, None)
            self._votes[run_id] = (kind, now + seconds)
            if len(self._votes) > self._most:
                self._votes.popitem(last=False)
        return None


class RateLimit:
    """A limit on the requests of each client in each minute. Thread-safe.

    Args:
        per_minute: How many requests one client may send; 0 for any number.
        clock: Returns monotonic seconds.
    """

    def __init__(self, per_minute: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_minute = per_minute
        self._clock = clock
        self._lock = ForkSafeLock()
        self._clients: OrderedDict[str, tuple[int, int]] = OrderedDict()

    def seconds_to_wait(self, client: str) -> int:
        """Count a request, and return 0 or, if it is one too many, the seconds until the next one is allowed.

        Args:
            client: The address of the client. It is empty if the server does not know it (on a Unix socket). Then it
                stands for all clients and is not limited.
        """
        if not self._per_minute or not client:
            return 0
        now = self._clock()
        minute = int(now / _MINUTE)
        with self._lock:
            counted_in, count = self._clients.get(client, (minute, 0))
            count = count + 1 if counted_in == minute else 1
            self._clients[client] = (minute, count)
            self._clients.move_to_end(client)
            if len(self._clients) > _MAX_CLIENTS:
                self._clients.popitem(last=False)
        return 0 if count <= self._per_minute else max(1, round((minute + 1) * _MINUTE - now))
