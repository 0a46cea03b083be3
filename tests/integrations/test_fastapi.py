"""FastAPI's own generator endpoints: each value becomes a line of JSON, or a Server-Sent Event with JSON in it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from ldai_integrations import RunRecord, Tracking, track_ai
from ldai_integrations.asgi import ASGITrackingMiddleware
from ldai_integrations.usage import count_tokens

from ..conftest import Clock, always_chat

sse = pytest.importorskip("fastapi.sse", reason="this FastAPI has no generator endpoints")

_WORDS = ("", 'He said "Grüße"', ",\n", "and left.")


def _ask(tracking: Tracking, endpoint: Any, **options: Any) -> None:
    app = FastAPI()
    app.add_middleware(ASGITrackingMiddleware, tracking=tracking, config_key=always_chat)
    app.get("/", **options)(endpoint)
    assert "and left." in TestClient(app).get("/").text


@pytest.mark.parametrize("options", [{}, {"response_class": sse.EventSourceResponse}], ids=["lines", "events"])
@pytest.mark.parametrize("decorate", [lambda endpoint: endpoint, track_ai(config_key="chat")], ids=["", "decorated"])
@pytest.mark.parametrize("is_async", [True, False])
def test_text_is_counted_as_the_client_decodes_it(
    tracking: Tracking, clock: Clock, records: list[RunRecord], options: Any, decorate: Any, is_async: bool
) -> None:
    """The tokens are those of the text, and its first word is the first token, with and without the decorator."""

    def words() -> Iterator[str]:
        for word in _WORDS:
            clock.advance(100)
            yield word

    async def awords() -> AsyncIterator[str]:
        for word in words():
            yield word

    _ask(tracking, decorate(awords if is_async else words), **options)

    (record,) = records
    assert record.outcome == "success"
    assert record.usage is not None
    assert record.usage.output_tokens == count_tokens("".join(_WORDS), model="gpt-4o-mini")
    assert record.time_to_first_token_ms is not None
    assert 200 <= record.time_to_first_token_ms <= (400 if options else 200)  # events are made ahead of their sending
