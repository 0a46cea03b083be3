"""Stores of votes and of the rate limit: in the memory of a process, in SQLite and in Redis."""

from __future__ import annotations

import sqlite3
import time
import uuid
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any

from .._files import create_privately, is_locked, refuse_code
from .._locks import ForkSafeLock
from ..exceptions import ConfigurationError
from ..settings import SQLITE
from ..typing import FeedbackStore

_MAX_VOTES = 100_000
_MAX_CLIENTS = 10_000
_MINUTE = 60
# How long a vote waits for Redis, or for another process that uses SQLite. Then it is answered with 503.
_TIMEOUT_SECONDS = 2.0
# A thread waits this long for its turn with SQLite. Hundreds of others have theirs in this time, unless the file hangs.
_TURN_SECONDS = 5.0

_TABLES = """
CREATE TABLE IF NOT EXISTS votes (run_id TEXT PRIMARY KEY, kind TEXT NOT NULL, expires REAL NOT NULL) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS votes_by_expiry ON votes (expires);
CREATE TABLE IF NOT EXISTS requests (
    minute INTEGER, client TEXT, count INTEGER NOT NULL, PRIMARY KEY (minute, client)
) WITHOUT ROWID;
"""
_COUNT = """
INSERT INTO requests VALUES (:minute, :client, 1) ON CONFLICT (minute, client) DO UPDATE SET count = count + 1
"""


def open_store(given: str | FeedbackStore | None) -> FeedbackStore:
    """Return the store that ``FeedbackSettings.store`` names.

    Raises:
        ConfigurationError: If the SQLite file cannot be used, the package redis is missing, or its URL is wrong.
    """
    if given is None:
        return MemoryStore()
    if not isinstance(given, str):
        return given
    return SQLiteStore(given.removeprefix(SQLITE)) if given.startswith(SQLITE) else RedisStore(given)


class MemoryStore:
    """A store in the memory of this process. Thread-safe.

    Other processes do not see it: with several workers, a run can get one vote in each.

    Args:
        most: How many votes are stored, at about 260 bytes each. The oldest are removed first.
        clock: Returns monotonic seconds.
    """

    def __init__(self, most: int = _MAX_VOTES, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._most = most
        self._clock = clock
        self._lock = ForkSafeLock()
        self._votes: OrderedDict[str, tuple[str, float]] = OrderedDict()
        self._requests: OrderedDict[str, tuple[int, int]] = OrderedDict()

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

    def discard(self, run_id: str) -> None:
        """Remove the vote of a run."""
        with self._lock:
            self._votes.pop(run_id, None)

    def count(self, client: str, minute: int) -> int:
        """Count a request, and return the number of requests of the client in this minute."""
        with self._lock:
            counted_in, count = self._requests.get(client, (minute, 0))
            count = count + 1 if counted_in == minute else 1
            self._requests[client] = (minute, count)
            self._requests.move_to_end(client)
            if len(self._requests) > _MAX_CLIENTS:
                self._requests.popitem(last=False)
        return count


class SQLiteStore:
    """A store in an SQLite file, for all processes of one machine.

    Each call opens the file and closes it again, in about 10 ms. So nothing is shared between threads, or by a fork.
    The threads of one process take turns: SQLite's own waiting is not fair, and ends too early for some of many.

    Args:
        path: The file. It is created if it does not exist, and only the user of this process may read it.

    Raises:
        ConfigurationError: If the file cannot be used, or has triggers or views. A file that another process has locked
            is checked by the first vote.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._lock = ForkSafeLock()
        #: Whether another process had locked the file, so that it has not been checked yet.
        self.was_locked: bool = False
        try:
            create_privately(path)
            with self._open():
                pass
        except sqlite3.Error as exc:
            if is_locked(exc):  # a backup or a busy disk must not keep a worker from starting
                self.was_locked = True
                return
            raise ConfigurationError(
                f"FeedbackSettings.store names the SQLite file {path!r}, which cannot be used ({exc}). Name a file in "
                "a directory that this process may write to, and no other user"
            ) from exc

    def keep(self, run_id: str, kind: str, *, seconds: int) -> str | None:
        """Store the vote unless the run has one; return the one it had, or ``None``."""
        now = time.time()
        with self._open() as connection:
            connection.execute("DELETE FROM votes WHERE expires <= ?", (now,))
            added = connection.execute("INSERT OR IGNORE INTO votes VALUES (?, ?, ?)", (run_id, kind, now + seconds))
            if added.rowcount:
                return None
            return str(_first(connection, "SELECT kind FROM votes WHERE run_id = ?", run_id))

    def discard(self, run_id: str) -> None:
        """Remove the vote of a run."""
        with self._open() as connection:
            connection.execute("DELETE FROM votes WHERE run_id = ?", (run_id,))

    def count(self, client: str, minute: int) -> int:
        """Count a request, and return the number of requests of the client in this minute."""
        with self._open() as connection:
            connection.execute("DELETE FROM requests WHERE minute < ?", (minute,))
            connection.execute(_COUNT, {"minute": minute, "client": client})
            return int(_first(connection, "SELECT count FROM requests WHERE minute = ? AND client = ?", minute, client))

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        """Open the file for one transaction, during which nobody else writes."""
        if not self._lock.acquire(_TURN_SECONDS):
            raise sqlite3.OperationalError("other threads use the file, or wait for it")
        try:
            with closing(sqlite3.connect(self._path, timeout=_TIMEOUT_SECONDS, isolation_level=None)) as connection:
                connection.executescript(_TABLES)
                connection.execute("BEGIN IMMEDIATE")
                refuse_code(connection)
                yield connection
                connection.execute("COMMIT")
        finally:
            self._lock.release()


def _first(connection: sqlite3.Connection, statement: str, *values: object) -> Any:
    return connection.execute(statement, values).fetchone()[0]


class RedisStore:
    """A store in Redis, for all processes of several machines. It connects when it is first used.

    Args:
        url: The address, as ``redis.Redis.from_url`` takes it.

    Raises:
        ConfigurationError: If the package redis is not installed, or the address is malformed.
    """

    def __init__(self, url: str) -> None:
        try:
            import redis
            from redis.backoff import NoBackoff
            from redis.retry import Retry
        except ImportError:
            raise ConfigurationError(
                "FeedbackSettings.store names a Redis, and the package redis is not installed; run pip install redis"
            ) from None
        try:
            retry = Retry(NoBackoff(), 1)  # on a new connection
            self._redis: Any = redis.Redis.from_url(
                url, decode_responses=True, socket_timeout=_TIMEOUT_SECONDS, retry=retry
            )
        except ValueError:  # its text may contain the password
            raise ConfigurationError(
                "FeedbackSettings.store is not the address of a Redis; use redis://host:6379/0, with special "
                "characters of the password percent-encoded"
            ) from None

    def keep(self, run_id: str, kind: str, *, seconds: int) -> str | None:
        """Store the vote unless the run has one; return the one it had, or ``None``."""
        key, earlier = _vote_key(run_id), ""
        # Different for each vote: if the answer of Redis is lost, the client asks again, and finds its own vote.
        vote = f"{kind} {uuid.uuid4()}"
        while not earlier and not self._redis.set(key, vote, nx=True, ex=seconds):
            earlier = self._redis.get(key) or ""  # it may have expired, or was discarded, since
        return None if earlier in ("", vote) else earlier.partition(" ")[0]

    def discard(self, run_id: str) -> None:
        """Remove the vote of a run."""
        self._redis.delete(_vote_key(run_id))

    def count(self, client: str, minute: int) -> int:
        """Count a request, and return the number of requests of the client in this minute."""
        key = f"ldai:requests:{minute}:{client}"
        with self._redis.pipeline() as commands:
            count, _ = commands.incr(key).expire(key, 2 * _MINUTE).execute()
        return int(count)


def _vote_key(run_id: str) -> str:
    return f"ldai:vote:{run_id}"


@dataclass(frozen=True, slots=True)
class RateLimit:
    """A limit on the requests of each client in each minute. Thread-safe.

    Attributes:
        per_minute: How many requests one client may send; 0 for any number.
        store: Where they are counted.
        clock: Returns seconds since the epoch, which all processes count alike.
    """

    per_minute: int
    store: FeedbackStore
    clock: Callable[[], float] = time.time

    def seconds_to_wait(self, client: str) -> int:
        """Count a request, and return 0 or, if it is one too many, the seconds until the next one is allowed.

        Args:
            client: The address of the client. It is empty if the server does not know it (on a Unix socket). Then it
                stands for all clients and is not limited.
        """
        if not self.per_minute or not client:
            return 0
        now = self.clock()
        minute = int(now / _MINUTE)
        if self.store.count(client, minute) <= self.per_minute:
            return 0
        return max(1, round((minute + 1) * _MINUTE - now))
