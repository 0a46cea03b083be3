"""A WSGI and an ASGI application that answer with the id of the run they made."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from typing import Any

from ldai_integrations.asgi import ASGITrackingMiddleware
from ldai_integrations.typing import Receive, Scope, Send, StartResponse, WSGIEnviron
from ldai_integrations.wsgi import WSGITrackingMiddleware

from .reporting import make_run, make_tracking, tell_ready

# At import, which is before the fork of servers that preload.
tracking = make_tracking()


def _wsgi(environ: WSGIEnviron, start_response: StartResponse) -> Iterable[bytes]:
    if environ["PATH_INFO"] == "/slow":
        tell_ready()
        time.sleep(1)
    body = make_run(tracking).encode()
    start_response("200 OK", [("content-type", "text/plain"), ("content-length", str(len(body)))])
    return [body]


async def _asgi(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "lifespan":
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})
        return
    if scope["path"] == "/slow":
        tell_ready()
        await asyncio.sleep(1)
    body = make_run(tracking).encode()
    headers = [(b"content-type", b"text/plain"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


wsgi: Any = WSGITrackingMiddleware(_wsgi, tracking)
asgi: Any = ASGITrackingMiddleware(_asgi, tracking)
