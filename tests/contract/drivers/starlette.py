"""Starlette: the decorator alone, the decorator below the middleware, the middleware alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from ldai_integrations import Tracking, track_ai
from ldai_integrations.starlette import TrackingMiddleware

from .. import handlers
from ..cases import CONFIG_KEY, DISABLED_KEY

Decorate = Callable[[str], Callable[[Any], Any]]


def decorator(tracking: Tracking) -> Starlette:
    """Decorate the endpoints; no middleware."""
    return _application(lambda key: track_ai(config_key=key, tracking=tracking))


def middleware_and_decorator(tracking: Tracking) -> Starlette:
    """Decorate the endpoints of an application that has the middleware."""
    app = _application(lambda key: track_ai(config_key=key))
    app.add_middleware(TrackingMiddleware, tracking=tracking)
    return app


def middleware(tracking: Tracking) -> Starlette:
    """Let the middleware track an application whose endpoints know nothing of it."""
    app = _application(lambda _key: lambda endpoint: endpoint)
    app.add_middleware(
        TrackingMiddleware, tracking=tracking, config_key=lambda request: handlers.config_key_of(request.url.path)
    )
    return app


def _application(decorate: Decorate) -> Starlette:
    async def text(request: Request) -> Response:
        return PlainTextResponse(handlers.text())

    async def raises(request: Request) -> Response:
        raise RuntimeError("the handler broke")

    def handled(request: Request) -> Response:
        raise handlers.HandledError

    async def bad(request: Request) -> Response:
        raise HTTPException(400)

    endpoints = {"text": text, "raise": raises, "handled": handled, "bad": bad}
    endpoints |= {name: _endpoint(handler) for name, handler in handlers.VALUES.items()}
    endpoints |= {name: _stream_endpoint(chunks) for name, chunks in handlers.STREAMS.items()}
    endpoints["slow"] = _slow
    routes = [
        Route(f"/{name}", decorate(DISABLED_KEY if name == "disabled" else CONFIG_KEY)(endpoint))
        for name, endpoint in endpoints.items()
    ]
    return Starlette(routes=routes, exception_handlers={handlers.HandledError: _on_handled})


def _on_handled(request: Request, exc: Exception) -> Response:
    return PlainTextResponse("no", 500)


def _endpoint(handler: Callable[[], Any]) -> Callable[..., Any]:
    async def endpoint(request: Request) -> Response:
        return JSONResponse(handler())

    return endpoint


def _stream_endpoint(chunks: Callable[[], Any]) -> Callable[..., Any]:
    async def endpoint(request: Request) -> Response:
        return StreamingResponse(handlers.asynchronously(chunks()), media_type=handlers.SSE)

    return endpoint


async def _slow(request: Request) -> Response:
    return StreamingResponse(handlers.aslow(), media_type=handlers.SSE)
