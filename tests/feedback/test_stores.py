"""What the stores of votes and requests keep, for how long, and for whom."""

from __future__ import annotations

import os
import signal
import sqlite3
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from ldai_integrations import ConfigurationError
from ldai_integrations.feedback import MemoryStore, RedisStore, SQLiteStore
from ldai_integrations.feedback._stores import RateLimit
from ldai_integrations.typing import FeedbackStore

from ..conftest import Clock
from ..scale.conftest import RedisServer

MakeStore = Callable[[], FeedbackStore]
SHARED = ["sqlite", pytest.param("redis", marks=pytest.mark.server)]


@pytest.fixture
def make_store(request: pytest.FixtureRequest, tmp_path: Path) -> MakeStore:
    """Give a function that opens the same store as another process would."""
    if request.param == "redis":
        url = request.getfixturevalue("redis_server").url
        return lambda: RedisStore(url)
    if request.param == "sqlite":
        return lambda: SQLiteStore(str(tmp_path / "votes.db"))
    store = MemoryStore()
    return lambda: store


@pytest.mark.parametrize("make_store", ["memory", *SHARED], indirect=True)
def test_the_first_vote_is_kept(make_store: MakeStore) -> None:
    """A later vote gets the first one back, until it is discarded. Other runs are not affected."""
    store = make_store()
    assert store.keep("run", "positive", seconds=10) is None
    assert [store.keep("run", kind, seconds=10) for kind in ("negative", "positive")] == ["positive", "positive"]
    assert store.keep("another", "negative", seconds=10) is None
    store.discard("run")
    assert store.keep("run", "negative", seconds=10) is None
    assert store.keep("another", "positive", seconds=10) == "negative"


@pytest.mark.parametrize("make_store", SHARED, indirect=True)
def test_a_vote_is_kept_as_long_as_it_must(make_store: MakeStore) -> None:
    """After the given time the run may be voted on again."""
    store = make_store()
    assert store.keep("run", "positive", seconds=1) is None
    assert store.keep("run", "negative", seconds=1) == "positive"
    time.sleep(1.1)
    assert store.keep("run", "negative", seconds=1) is None


@pytest.mark.parametrize("make_store", ["memory", *SHARED], indirect=True)
def test_requests_are_counted_for_each_client_and_minute(make_store: MakeStore) -> None:
    """Each client has its own count, which begins again with each minute."""
    store = make_store()
    assert [store.count("a", 7), store.count("a", 7), store.count("b", 7)] == [1, 2, 1]
    assert [store.count("a", 8), store.count("b", 8), store.count("a", 8)] == [1, 1, 2]


@pytest.mark.parametrize("make_store", ["memory", *SHARED], indirect=True)
def test_of_votes_at_once_one_is_the_first(make_store: MakeStore) -> None:
    """Of eight threads with the same run, one gets that it is the first. No request is left out of the count."""
    stores = [make_store() for _ in range(8)]
    with ThreadPoolExecutor(8) as pool:
        for run in ("a", "b", "c"):
            answers = list(pool.map(lambda store, run=run: store.keep(run, "positive", seconds=99), stores))
            assert answers.count(None) == 1
        assert sorted(pool.map(lambda store: store.count("client", 7), stores)) == list(range(1, 9))


@pytest.mark.parametrize("make_store", SHARED, indirect=True)
def test_a_child_shares_the_store_of_its_parent(make_store: MakeStore) -> None:
    """A store that is used, forked and used by both processes knows the votes of both."""
    store = make_store()
    store.keep("of the parent", "positive", seconds=99)
    child = os.fork()
    if child == 0:
        seen = store.keep("of the parent", "negative", seconds=99), store.keep("of the child", "negative", seconds=99)
        os._exit(0 if seen == ("positive", None) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert store.keep("of the child", "positive", seconds=99) == "negative"


def test_old_rows_are_deleted(tmp_path: Path) -> None:
    """An SQLite file has no votes that have expired, and no requests of earlier minutes."""
    store = SQLiteStore(str(tmp_path / "votes.db"))
    for number in range(5):
        store.keep(f"old {number}", "positive", seconds=-1)
        store.count(f"old {number}", 7)
    store.keep("new", "positive", seconds=99)
    store.count("new", 8)
    with closing(sqlite3.connect(tmp_path / "votes.db")) as connection:
        assert connection.execute("SELECT run_id FROM votes").fetchall() == [("new",)]
        assert connection.execute("SELECT client FROM requests").fetchall() == [("new",)]


@pytest.mark.server
def test_no_thread_waits_long_for_a_file_that_hangs(tmp_path: Path) -> None:
    """If another process does not release an SQLite file, votes fail after a few seconds, however many there are."""
    path = tmp_path / "votes.db"
    store = SQLiteStore(str(path))

    def seconds_until_error(number: int) -> float:
        begun = time.monotonic()
        with pytest.raises(sqlite3.OperationalError):
            store.keep(f"run {number}", "positive", seconds=99)
        return time.monotonic() - begun

    with closing(sqlite3.connect(path, isolation_level=None)) as other, ThreadPoolExecutor(20) as pool:
        other.execute("BEGIN EXCLUSIVE")
        assert max(pool.map(seconds_until_error, range(20))) < 15


@pytest.mark.server
def test_a_vote_counts_if_the_answer_of_redis_is_late(redis_server: RedisServer) -> None:
    """The client asks again on another connection. Redis has stored the vote by then, which is still the first one."""
    store = RedisStore(redis_server.url)
    redis_server.process.send_signal(signal.SIGSTOP)
    resume = threading.Timer(3, redis_server.process.send_signal, [signal.SIGCONT])  # the client waits 2 s
    resume.start()
    try:
        assert store.keep("run", "positive", seconds=99) is None
    finally:
        resume.join()
    assert store.keep("run", "positive", seconds=99) == "positive"


def test_many_threads_wait_for_their_turn(tmp_path: Path) -> None:
    """Of 50 threads that use an SQLite file of one process at once, none gets an error."""
    store = SQLiteStore(str(tmp_path / "votes.db"))
    with ThreadPoolExecutor(50) as pool:
        counts = list(pool.map(lambda _: store.count("client", 7), range(100)))
    assert sorted(counts) == list(range(1, 101))


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has other permissions")
def test_only_the_user_reads_a_new_file(tmp_path: Path) -> None:
    """A new SQLite file, also behind a symbolic link, is for its user only. A file that exists keeps its mode."""
    (tmp_path / "link.db").symlink_to(tmp_path / "target.db")
    (tmp_path / "old.db").touch(0o640)
    for name in ("new.db", "link.db", "old.db"):
        SQLiteStore(str(tmp_path / name)).count("a", 7)
    modes = [oct((tmp_path / name).stat().st_mode & 0o777) for name in ("new.db", "target.db", "old.db")]
    assert modes == ["0o600", "0o600", "0o640"]


@pytest.mark.parametrize(
    "code",
    [
        "CREATE TRIGGER again AFTER INSERT ON votes BEGIN DELETE FROM votes; END",
        "CREATE VIEW more AS SELECT * FROM votes",
    ],
)
def test_a_file_with_code_is_refused(code: str, tmp_path: Path) -> None:
    """A file with triggers or views, in which votes could count again or a request hang, is an error at set-up."""
    path = str(tmp_path / "votes.db")
    SQLiteStore(path)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(code)
    with pytest.raises(ConfigurationError, match="it has triggers or views"):
        SQLiteStore(path)


def test_a_file_that_cannot_be_used_is_an_error_at_set_up(tmp_path: Path) -> None:
    """A directory that does not exist, and a file that is no database, are errors that say what to do."""
    (tmp_path / "text").write_text("This is no database, and long enough to be seen as none. " * 20)
    for path in (tmp_path / "nowhere" / "votes.db", tmp_path / "text"):
        with pytest.raises(ConfigurationError, match="Name a file"):
            SQLiteStore(str(path))


def test_a_file_that_was_locked_at_the_start_is_checked_later(tmp_path: Path) -> None:
    """If the file that was locked has triggers, votes fail."""
    path = tmp_path / "votes.db"
    SQLiteStore(str(path))
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("CREATE TRIGGER again AFTER INSERT ON votes BEGIN DELETE FROM votes; END")
        other.execute("BEGIN IMMEDIATE")
        store = SQLiteStore(str(path))
    with pytest.raises(sqlite3.DatabaseError, match="it has triggers or views"):
        store.keep("run", "positive", seconds=99)


def test_a_wrong_address_of_redis_is_an_error_without_its_password() -> None:
    """An address with a password that is not encoded is an error at set-up, and the error does not contain it."""
    pytest.importorskip("redis")
    with pytest.raises(ConfigurationError, match="percent-encoded") as raised:
        RedisStore("redis://:hunter2/x@host")
    assert "hunter2" not in str(raised.value)


def test_a_missing_package_is_an_error_at_set_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the package redis, the error says what to install."""
    monkeypatch.setitem(__import__("sys").modules, "redis", None)
    with pytest.raises(ConfigurationError, match="pip install redis"):
        RedisStore("redis://host")


def test_a_vote_in_memory_is_kept_as_long_as_it_must() -> None:
    """A later vote gets the first one back, until the given time is over."""
    clock = Clock()
    store = MemoryStore(clock=clock)
    assert store.keep("run", "positive", seconds=10) is None

    clock.advance(9_999)
    assert store.keep("run", "negative", seconds=10) == "positive"
    clock.advance(1)
    assert store.keep("run", "negative", seconds=10) is None


def test_the_oldest_votes_are_forgotten_first() -> None:
    """If the memory is full, a new vote replaces the oldest."""
    store = MemoryStore(3)
    for run_id in ("a", "b", "c", "d"):
        store.keep(run_id, "positive", seconds=10)

    assert [store.keep(run_id, "negative", seconds=10) for run_id in ("d", "c", "b")] == ["positive"] * 3
    assert store.keep("a", "negative", seconds=10) is None
    assert len(store._votes) == 3


def test_clients_beyond_count_are_forgotten() -> None:
    """The memory for addresses is limited."""
    store = MemoryStore()
    for number in range(10_050):
        store.count(str(number), 7)
    assert len(store._requests) == 10_000


def test_each_client_has_its_own_minute() -> None:
    """A request too many gets the time to wait. Other clients and the next minute are not affected."""
    clock = Clock(120.0)
    limit = RateLimit(2, MemoryStore(), clock=clock)
    assert [limit.seconds_to_wait("a") for _ in range(3)] == [0, 0, 60]
    assert limit.seconds_to_wait("b") == 0
    clock.advance(59_900)
    assert limit.seconds_to_wait("a") == 1
    clock.advance(200)
    assert limit.seconds_to_wait("a") == 0


def test_no_limit_and_no_address_are_not_limited() -> None:
    """A limit of 0 allows any number, and a client without an address is not limited."""
    assert {RateLimit(0, MemoryStore()).seconds_to_wait("a") for _ in range(100)} == {0}
    limit = RateLimit(1, MemoryStore())
    assert {limit.seconds_to_wait("") for _ in range(100)} == {0}
