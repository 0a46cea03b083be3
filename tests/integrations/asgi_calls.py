"""Call an ASGI application by hand."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

from ldai_integrations.typing import Message

REQUEST: Message = {"type": "http.request", "body": b"", "more_body": False}
DISCONNECT: Message = {"type": "http.disconnect"}


def http_scope(path: str = "/", **more: Any) -> dict[str, Any]:
    """Return the scope of a GET request."""
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [],
        **more,
    }


def start(status: int = 200, **headers: str) -> Message:
    """Return the message that begins a response."""
    pairs = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return {"type": "http.response.start", "status": status, "headers": pairs}


def body(data: bytes = b"", *, more: bool = False) -> Message:
    """Return a message with a part of the body."""
    return {"type": "http.response.body", "body": data, "more_body": more}


def app_that_sends(*messages: Message) -> Any:
    """Return an application that answers every request with these messages."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        for message in messages:
            await send(message)

    return app


async def acall(app: Any, scope: Any, received: Iterable[Message] = (REQUEST,)) -> list[Message]:
    """Call an application and return what it sent; it receives ``received``, then waits for ever."""
    sent: list[Message] = []
    waiting = list(received)

    async def receive() -> Message:
        if waiting:
            return waiting.pop(0)
        await asyncio.Event().wait()
        raise AssertionError("unreachable")

    async def send(message: Message) -> None:
        sent.append(message)

    await app(scope, receive, send)
    return sent


def call(app: Any, scope: Any = None, received: Iterable[Message] = (REQUEST,)) -> list[Message]:
    """Call an application in an event loop of its own."""
    return asyncio.run(acall(app, scope if scope is not None else http_scope(), received))
