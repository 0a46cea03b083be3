"""Quart: the decorator alone, and below the ASGI middleware, which tracks too."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable
from typing import Any

import quart

from ldai_integrations import Tracking, track_ai
from ldai_integrations.asgi import ASGITrackingMiddleware

from .. import handlers
from ..cases import CONFIG_KEY, DISABLED_KEY

Decorate = Callable[[str], Callable[[Any], Any]]


def decorator(tracking: Tracking) -> quart.Quart:
    """Decorate the views; no middleware."""
    return _application(lambda key: track_ai(config_key=key, tracking=tracking))


def middleware_and_decorator(tracking: Tracking) -> Any:
    """Decorate the views of an application whose middleware tracks too: one run each."""
    app: Any = _application(lambda key: track_ai(config_key=key))
    app.asgi_app = ASGITrackingMiddleware(
        app.asgi_app, tracking, config_key=lambda scope: handlers.config_key_of(scope["path"])
    )
    return app


def _application(decorate: Decorate) -> quart.Quart:
    app = quart.Quart(__name__)
    app.logger.setLevel(logging.CRITICAL)  # views that raise are the point here
    app.register_error_handler(handlers.HandledError, lambda _exc: ("no", 500))
    for name, handler in handlers.VALUES.items():
        key = DISABLED_KEY if name == "disabled" else CONFIG_KEY
        app.add_url_rule(f"/{name}", name, decorate(key)(_view(handler)))
    for name, chunks in handlers.STREAMS.items():
        app.add_url_rule(f"/{name}", name, decorate(CONFIG_KEY)(_stream_view(chunks)))

    @app.get("/slow")
    @decorate(CONFIG_KEY)
    async def slow() -> quart.Response:
        return quart.Response(handlers.aslow(), content_type=handlers.SSE)

    @app.get("/text")
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
        quart.abort(400)

    return app


def _view(handler: Callable[[], Any]) -> Callable[[], Any]:
    async def view() -> Any:
        return handler()

    return view


def _stream_view(chunks: Callable[[], Any]) -> Callable[[], Any]:
    async def view() -> Any:
        @quart.stream_with_context
        async def stream() -> AsyncIterator[str]:
            async for chunk in handlers.asynchronously(chunks()):
                yield chunk

        return quart.Response(stream(), content_type=handlers.SSE)

    return view
