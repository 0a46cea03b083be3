"""A generator that a tracked function returns is a generator to whoever asks."""

from __future__ import annotations

import asyncio
import copy
import inspect
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
import quart

from ldai_integrations import RunRecord, Tracking, track_ai


def words() -> Iterator[str]:
    """Yield an answer."""
    yield "Hello "
    yield "world"


async def awords() -> AsyncIterator[str]:
    """Yield an answer."""
    yield "Hello "
    yield "world"


def test_inspect_knows_them(tracking: Tracking) -> None:
    """Type, state and protocol are those of the generator that was returned."""
    track = track_ai(config_key="chat", tracking=tracking)
    steps, asteps = track(lambda: words())(), track(lambda: awords())()

    assert inspect.isgenerator(steps)
    assert inspect.getgeneratorstate(steps) == inspect.GEN_CREATED
    assert next(steps) == "Hello "
    assert inspect.getgeneratorstate(steps) == inspect.GEN_SUSPENDED
    assert inspect.isasyncgen(asteps)
    assert asteps.ag_running is False
    assert not hasattr(steps, "unknown")
    steps.close()
    asyncio.run(asteps.aclose())


def test_they_are_not_copied(tracking: Tracking) -> None:
    """Copying fails as it does for every generator, and leaves the stream alone."""
    steps = track_ai(config_key="chat", tracking=tracking)(lambda: words())()

    with pytest.raises(TypeError):
        copy.copy(steps)
    assert list(steps) == ["Hello ", "world"]


@pytest.mark.parametrize("answer", [words, awords])
def test_quart_streams_them(tracking: Tracking, records: list[RunRecord], answer: Callable[[], Any]) -> None:
    """A Quart view may return a generator, which Quart asks for its type."""
    app = quart.Quart(__name__)

    @app.get("/")
    @track_ai(config_key="chat", tracking=tracking)
    async def ask() -> Any:
        return answer()

    async def body() -> bytes:
        response = await app.test_client().get("/")
        return bytes(await response.get_data(as_text=False))

    assert asyncio.run(body()) == b"Hello world"
    assert [(record.outcome, record.usage is not None) for record in records] == [("success", True)]
