"""A bare WSGI application behind the middleware, which tracks by itself."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from ldai_integrations import Tracking
from ldai_integrations.wsgi import WSGITrackingMiddleware

from .. import handlers


def application(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    """Serve the routes of the contract."""
    name = environ["PATH_INFO"].strip("/")
    if name == "raise":
        raise RuntimeError("the handler broke")
    if name in handlers.VALUES:
        return _answer(start_response, "200 OK", handlers.JSON, json.dumps(handlers.VALUES[name]()))
    if name == "text":
        return _answer(start_response, "200 OK", handlers.TEXT, handlers.text())
    if name in handlers.STREAMS or name == "slow":
        start_response("200 OK", [("Content-Type", handlers.SSE)])
        chunks = handlers.slow() if name == "slow" else handlers.STREAMS[name]()
        return (chunk.encode() for chunk in chunks)
    status = {"handled": "500 Internal Server Error", "bad": "400 Bad Request"}.get(name, "404 Not Found")
    return _answer(start_response, status, handlers.TEXT, "no")


def _answer(start_response: Any, status: str, content_type: str, body: str) -> list[bytes]:
    data = body.encode()
    start_response(status, [("Content-Type", content_type), ("Content-Length", str(len(data)))])
    return [data]


def middleware(tracking: Tracking) -> Any:
    """Track every request of the application."""
    return WSGITrackingMiddleware(
        application, tracking, config_key=lambda environ: handlers.config_key_of(environ["PATH_INFO"])
    )
