"""A bare ASGI application behind the middleware, which tracks by itself."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

from ldai_integrations import Tracking
from ldai_integrations.asgi import ASGITrackingMiddleware

from .. import handlers


async def application(scope: Any, receive: Any, send: Any) -> None:
    """Serve the routes of the contract."""
    if scope["type"] == "lifespan":
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})
        return
    name = scope["path"].strip("/")
    if name == "raise":
        raise RuntimeError("the handler broke")
    if name in handlers.VALUES:
        await _answer(send, 200, handlers.JSON, json.dumps(handlers.VALUES[name]()))
    elif name == "text":
        await _answer(send, 200, handlers.TEXT, handlers.text())
    elif name in handlers.STREAMS or name == "slow":
        chunks = handlers.aslow() if name == "slow" else handlers.asynchronously(handlers.STREAMS[name]())
        await _stream(receive, send, chunks)
    else:
        await _answer(send, {"handled": 500, "bad": 400}.get(name, 404), handlers.TEXT, "no")


async def _stream(receive: Any, send: Any, chunks: AsyncIterator[str]) -> None:
    gone = asyncio.ensure_future(_disconnect(receive))
    try:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]})
        async for chunk in chunks:
            if gone.done():
                return
            await send({"type": "http.response.body", "body": chunk.encode(), "more_body": True})
        await send({"type": "http.response.body", "body": b""})
    finally:
        gone.cancel()


async def _disconnect(receive: Any) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _answer(send: Any, status: int, content_type: str, body: str) -> None:
    data = body.encode()
    headers = [(b"content-type", content_type.encode()), (b"content-length", str(len(data)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": data})


def middleware(tracking: Tracking) -> Any:
    """Track every request of the application."""
    return ASGITrackingMiddleware(application, tracking, config_key=lambda scope: handlers.config_key_of(scope["path"]))
