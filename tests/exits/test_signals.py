"""A handler of the application's, on either side of ours, is told of each signal once."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from typing import Any

import pytest

from ldai_integrations.delivery._signals import chain

from ..waiting import eventually

_NUMBER = signal.SIGUSR1


@pytest.fixture
def told() -> Iterator[list[str]]:
    """Note what handlers are told, and put the one of before back."""
    told: list[str] = []
    before = signal.signal(_NUMBER, lambda *_: told.append("behind"))
    yield told
    signal.signal(_NUMBER, before)


def test_handlers_on_both_sides(told: list[str]) -> None:
    """The one in front is told when the signal comes, the one behind after the flush; then all is as it was."""
    handler = chain(_NUMBER, lambda is_deadly: told.append(f"flushed, deadly: {is_deadly}"))
    assert handler is not None

    def front(number: int, frame: Any) -> None:
        told.append("front")
        handler(number, frame)

    signal.signal(_NUMBER, front)
    expected = ["front", "flushed, deadly: False", "behind"]
    os.kill(os.getpid(), _NUMBER)
    assert eventually(lambda: len(told) == 3)
    assert told == expected
    assert signal.getsignal(_NUMBER) is front

    os.kill(os.getpid(), _NUMBER)  # a later one has nothing to wait for
    assert eventually(lambda: len(told) == 5)
    assert told == [*expected, "front", "behind"]


def test_ours_is_not_put_in_front_of_itself(told: list[str]) -> None:
    """Another tracking finds the handler there; what it put in front would flush once more."""
    flush = told.append
    assert chain(_NUMBER, lambda _deadly: flush("flushed")) is not None
    assert chain(_NUMBER, lambda _deadly: flush("flushed")) is None
    os.kill(os.getpid(), _NUMBER)
    assert eventually(lambda: len(told) == 2)
    assert told == ["flushed", "behind"]
