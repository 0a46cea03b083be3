"""The decorator alone follows the streamed responses of every framework to their end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import litestar
import pytest
import quart
from litestar.response import ServerSentEvent, Stream
from litestar.testing import TestClient

from ldai_integrations import RunRecord, Tracking, track_ai

from ..conftest import Clock


@pytest.fixture
def words(clock: Clock) -> Callable[[], AsyncIterator[str]]:
    """Give a generator function whose items take 50 ms each."""

    async def generate() -> AsyncIterator[str]:
        for word in ("Hello ", "world"):
            clock.advance(50)
            yield word

    return generate


def _as_read(record: RunRecord) -> tuple[str, int, int | None]:
    return record.outcome, record.duration_ms, record.time_to_first_token_ms


@pytest.mark.parametrize("response_class", [Stream, ServerSentEvent])
def test_litestar(tracking: Tracking, records: list[RunRecord], words: Callable[[], Any], response_class: Any) -> None:
    """Litestar's responses are followed, and still there only once they are sent."""

    @litestar.get("/")
    @track_ai(config_key="chat", tracking=tracking)
    async def ask() -> Stream:
        return response_class(words())  # type: ignore[no-any-return]

    with TestClient(litestar.Litestar([ask], openapi_config=None, logging_config=None)) as client:
        text = client.get("/").text

    assert "Hello" in text
    assert [_as_read(record) for record in records] == [("success", 100, 50)]


def test_quart(tracking: Tracking, records: list[RunRecord], words: Callable[[], Any]) -> None:
    """A Quart response that a view makes of a generator is followed."""
    app = quart.Quart(__name__)

    @app.get("/")
    @track_ai(config_key="chat", tracking=tracking)
    async def ask() -> quart.Response:
        return quart.Response(words(), mimetype="text/plain")

    async def body() -> Any:
        response = await app.test_client().get("/")
        return await response.get_data(as_text=True)

    assert asyncio.run(body()) == "Hello world"
    assert [_as_read(record) for record in records] == [("success", 100, 50)]


def test_a_quart_response_without_a_stream(tracking: Tracking, records: list[RunRecord], clock: Clock) -> None:
    """A whole Quart response ends the run at return."""
    app = quart.Quart(__name__)

    @app.get("/")
    @track_ai(config_key="chat", tracking=tracking)
    async def ask() -> quart.Response:
        clock.advance(50)
        return quart.Response("Hello", mimetype="text/plain")

    asyncio.run(app.test_client().get("/"))

    assert [_as_read(record) for record in records] == [("success", 50, None)]


def test_a_generator_of_a_flask_like_view(tracking: Tracking, records: list[RunRecord]) -> None:
    """A generator beside a status is followed too."""

    def generate() -> Iterator[str]:
        yield "Hello"

    app = quart.Quart(__name__)

    @app.get("/")
    @track_ai(config_key="chat", tracking=tracking)
    async def ask() -> Any:
        return generate(), 201

    async def body() -> tuple[int, Any]:
        response = await app.test_client().get("/")
        return response.status_code, await response.get_data(as_text=True)

    assert asyncio.run(body()) == (201, "Hello")
    assert [record.outcome for record in records] == ["success"]
