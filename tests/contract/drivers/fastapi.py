"""FastAPI: the decorator alone, and below the ASGI middleware; sync and async endpoints."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastapi import FastAPI, HTTPException, Request
from fastapi.responses import PlainTextResponse, StreamingResponse

from ldai_integrations import Tracking, track_ai
from ldai_integrations.asgi import ASGITrackingMiddleware

from .. import handlers
from ..cases import CONFIG_KEY, DISABLED_KEY

Decorate = Callable[[str], Callable[[Any], Any]]


def decorator(tracking: Tracking) -> FastAPI:
    """Decorate the endpoints; no middleware."""
    return _application(lambda key: track_ai(config_key=key, tracking=tracking))


def middleware_and_decorator(tracking: Tracking) -> FastAPI:
    """Decorate the endpoints of an application whose middleware tracks too: one run each."""
    app = _application(lambda key: track_ai(config_key=key))
    app.add_middleware(
        ASGITrackingMiddleware, tracking=tracking, config_key=lambda scope: handlers.config_key_of(scope["path"])
    )
    return app


def _application(decorate: Decorate) -> FastAPI:
    app = FastAPI()
    app.add_exception_handler(handlers.HandledError, _on_handled)
    for name, handler in handlers.VALUES.items():
        key = DISABLED_KEY if name == "disabled" else CONFIG_KEY
        app.add_api_route(f"/{name}", decorate(key)(_endpoint(handler)), methods=["GET", "HEAD"])
    for name, chunks in {**handlers.STREAMS, "slow": handlers.slow}.items():
        app.add_api_route(f"/{name}", decorate(CONFIG_KEY)(_stream_endpoint(chunks)))

    @app.get("/text", response_class=PlainTextResponse)
    @decorate(CONFIG_KEY)
    def text() -> str:
        return handlers.text()

    @app.get("/raise")
    @decorate(CONFIG_KEY)
    async def raises() -> str:
        raise RuntimeError("the handler broke")

    @app.get("/handled")
    @decorate(CONFIG_KEY)
    def handled() -> str:
        raise handlers.HandledError

    @app.get("/bad")
    @decorate(CONFIG_KEY)
    async def bad() -> str:
        raise HTTPException(400)

    return app


def _on_handled(request: Request, exc: Exception) -> PlainTextResponse:
    return PlainTextResponse("no", 500)


def _endpoint(handler: Callable[[], Any]) -> Callable[..., Any]:
    def endpoint() -> Any:
        return handler()

    return endpoint


def _stream_endpoint(chunks: Callable[[], Any]) -> Callable[..., Any]:
    def endpoint() -> StreamingResponse:
        return StreamingResponse(chunks(), media_type=handlers.SSE)

    return endpoint
