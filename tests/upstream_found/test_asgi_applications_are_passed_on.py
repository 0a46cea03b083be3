"""What an ASGI application gets, sends and returns is for the server to judge, also where it is wrong."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from ldai_integrations import RunRecord, Tracking
from ldai_integrations.asgi import ASGITrackingMiddleware

from ..conftest import always_chat

HEADER = (b"content-type", b"text/plain")

App = Callable[..., Any]


@pytest.fixture(params=[None, always_chat])
def served(
    request: pytest.FixtureRequest, tracking: Tracking
) -> Callable[[App, dict[str, Any]], tuple[Any, list[Any]]]:
    """Serve one scope below the middleware; give what the application returned and sent."""

    def serve(app: App, scope: dict[str, Any]) -> tuple[Any, list[Any]]:
        sent: list[Any] = []

        async def send(message: Any) -> None:
            sent.append({**message, "headers": list(message["headers"])} if "headers" in message else message)

        middleware: Any = ASGITrackingMiddleware(app, tracking, config_key=request.param)
        return asyncio.run(middleware(scope, object(), send)), sent

    return serve


async def answer(scope: Any, receive: Any, send: Any) -> int:
    """Send headers that can be read once, and return what should not be returned."""
    await send({"type": "http.response.start", "status": 200, "headers": iter([HEADER])})
    await send({"type": "http.response.body", "body": b"Hello"})
    return 123


def test_headers_that_can_be_read_once(served: Any, records: list[RunRecord]) -> None:
    """Headers may come from an iterator; the server gets all of them."""
    _, sent = served(answer, {"type": "http"})

    assert sent[0]["headers"] == [HEADER]
    assert {record.outcome for record in records} <= {"success"}


@pytest.mark.parametrize("scope", [{"type": "http"}, {"type": "websocket"}, {"type": "lifespan"}, {"type": "other"}])
def test_what_an_application_returns(served: Any, scope: dict[str, Any]) -> None:
    """Servers complain about an application that returns something, and so can still see it."""
    assert served(answer, scope)[0] == 123


def test_a_scope_without_a_type(served: Any, records: list[RunRecord]) -> None:
    """The application is called with what the server gave, and nothing is tracked."""
    seen: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope)

    served(app, {})

    assert seen == [{}]
    assert records == []
