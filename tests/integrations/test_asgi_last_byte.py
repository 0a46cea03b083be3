"""The behaviour of servers while they receive the last byte of an ASGI response."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from ldai_integrations import RunRecord, Tracking
from ldai_integrations.asgi import ASGITrackingMiddleware

from ..conftest import always_chat
from .asgi_calls import DISCONNECT, REQUEST, app_that_sends, body, http_scope, start


def test_a_disconnect_while_the_last_byte_is_passed_on(tracking: Tracking, records: list[RunRecord]) -> None:
    """Hypercorn reports a disconnect before its ``send`` returns, and the application then cancels the sending task."""

    async def serve() -> None:
        closed = asyncio.Event()
        sending: asyncio.Task[None]

        async def receive() -> Any:
            await closed.wait()
            return DISCONNECT

        async def send(message: Any) -> None:
            if message["type"] == "http.response.body" and not message["more_body"]:
                closed.set()
                await asyncio.Event().wait()

        async def app(scope: Any, receive: Any, send: Any) -> None:
            nonlocal sending
            sending = asyncio.create_task(app_that_sends(start(), body(b"a", more=True), body())(scope, receive, send))
            assert await receive() == DISCONNECT
            sending.cancel()
            with pytest.raises(asyncio.CancelledError):
                await sending

        await ASGITrackingMiddleware(app, tracking, config_key=always_chat)(http_scope(), receive, send)

    asyncio.run(serve())

    assert [record.outcome for record in records] == ["success"]


@pytest.mark.parametrize(("raised", "outcome"), [(RuntimeError("too short"), "error"), (OSError("gone"), "cancelled")])
def test_a_server_that_refuses_the_last_byte(
    tracking: Tracking, records: list[RunRecord], raised: Exception, outcome: str
) -> None:
    """A response whose last byte the server refuses is not a success."""

    async def receive() -> Any:
        return REQUEST

    async def send(message: Any) -> None:
        if message["type"] == "http.response.body" and not message["more_body"]:
            raise raised

    app = app_that_sends(start(), body(b"a", more=True), body())
    with pytest.raises(type(raised)):
        asyncio.run(ASGITrackingMiddleware(app, tracking, config_key=always_chat)(http_scope(), receive, send))

    assert [record.outcome for record in records] == [outcome]
