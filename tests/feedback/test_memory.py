"""The memory for votes and clients is limited."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from ldai_integrations.feedback import MemoryVotes
from ldai_integrations.feedback._memory import RateLimit

from ..conftest import Clock


def test_the_first_vote_is_kept_as_long_as_it_must() -> None:
    """A later vote gets the first one back, until the given time is over."""
    clock = Clock()
    votes = MemoryVotes(clock=clock)
    assert votes.keep("run", "positive", seconds=10) is None
    assert votes.keep("run", "negative", seconds=10) == "positive"
    assert votes.keep("another", "negative", seconds=10) is None

    clock.advance(9_999)
    assert votes.keep("run", "negative", seconds=10) == "positive"
    clock.advance(1)
    assert votes.keep("run", "negative", seconds=10) is None


def test_the_oldest_votes_are_forgotten_first() -> None:
    """If the store is full, a new vote replaces the oldest."""
    votes = MemoryVotes(3)
    for run_id in ("a", "b", "c", "d"):
        votes.keep(run_id, "positive", seconds=10)

    assert [votes.keep(run_id, "negative", seconds=10) for run_id in ("d", "c", "b")] == ["positive"] * 3
    assert votes.keep("a", "negative", seconds=10) is None
    assert len(votes._votes) == 3


def test_of_votes_at_once_one_is_the_first() -> None:
    """Of sixteen threads with the same run, one gets that it is the first."""
    votes = MemoryVotes()
    for number in range(50):
        with ThreadPoolExecutor(16) as pool:
            answers = list(pool.map(lambda _, run=str(number): votes.keep(run, "positive", seconds=10), range(16)))
        assert answers.count(None) == 1


def test_each_client_has_its_own_minute() -> None:
    """A request too many gets the time to wait. Other clients and the next minute are not affected."""
    clock = Clock(120.0)
    limit = RateLimit(2, clock=clock)
    assert [limit.seconds_to_wait("a") for _ in range(3)] == [0, 0, 60]
    assert limit.seconds_to_wait("b") == 0
    clock.advance(59_900)
    assert limit.seconds_to_wait("a") == 1
    clock.advance(200)
    assert limit.seconds_to_wait("a") == 0


def test_no_limit_and_no_address_are_not_limited() -> None:
    """A limit of 0 allows any number, and a client without an address is not limited."""
    assert {RateLimit(0).seconds_to_wait("a") for _ in range(100)} == {0}
    limit = RateLimit(1)
    assert {limit.seconds_to_wait("") for _ in range(100)} == {0}


def test_clients_beyond_count_are_forgotten() -> None:
    """The memory for addresses is limited."""
    limit = RateLimit(1)
    for number in range(10_050):
        limit.seconds_to_wait(str(number))
    assert len(limit._clients) == 10_000
