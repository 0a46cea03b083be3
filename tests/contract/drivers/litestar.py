"""Litestar: the decorator alone, and below two ASGI middlewares, which track too; sync and async handlers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from litestar import Litestar, MediaType, Request, Response, get, route
from litestar.exceptions import HTTPException
from litestar.response import Stream

from ldai_integrations import Tracking, track_ai
from ldai_integrations.asgi import ASGITrackingMiddleware

from .. import handlers
from ..cases import CONFIG_KEY, DISABLED_KEY

Decorate = Callable[[str], Callable[[Any], Any]]


def decorator(tracking: Tracking) -> Litestar:
    """Decorate the route handlers' functions; no middleware."""
    return _application(lambda key: track_ai(config_key=key, tracking=tracking))


def middleware_and_decorator(tracking: Tracking) -> Litestar:
    """Decorate the route handlers of an application that has a tracking middleware twice: one run each."""

    def middleware(app: Any) -> ASGITrackingMiddleware:
        return ASGITrackingMiddleware(app, tracking, config_key=lambda scope: handlers.config_key_of(scope["path"]))

    return _application(lambda key: track_ai(config_key=key), [middleware, middleware])


def _application(decorate: Decorate, middleware: Sequence[Any] = ()) -> Litestar:
    @get("/text", media_type=MediaType.TEXT, sync_to_thread=False)
    @decorate(CONFIG_KEY)
    def text() -> str:
        return handlers.text()

    @get("/raise")
    @decorate(CONFIG_KEY)
    async def raises() -> str:
        raise RuntimeError("the handler broke")

    @get("/handled", sync_to_thread=True)
    @decorate(CONFIG_KEY)
    def handled() -> str:
        raise handlers.HandledError

    @get("/bad")
    @decorate(CONFIG_KEY)
    async def bad() -> str:
        raise HTTPException(status_code=400)

    @get("/slow")
    @decorate(CONFIG_KEY)
    async def slow() -> Stream:
        return Stream(handlers.aslow(), media_type=handlers.SSE)

    values = [_value_route(name, handler, decorate) for name, handler in handlers.VALUES.items()]
    streams = [_stream_route(name, chunks, decorate) for name, chunks in handlers.STREAMS.items()]
    return Litestar(
        [text, raises, handled, bad, slow, *values, *streams],
        middleware=middleware,
        exception_handlers={handlers.HandledError: _on_handled},
        logging_config=None,
        openapi_config=None,
    )


def _on_handled(request: Request[Any, Any, Any], exc: Exception) -> Response[str]:
    return Response("no", status_code=500)


def _value_route(name: str, handler: Callable[[], Any], decorate: Decorate) -> Any:
    @route(f"/{name}", http_method=["GET", "HEAD"], sync_to_thread=True)
    @decorate(DISABLED_KEY if name == "disabled" else CONFIG_KEY)
    def value() -> Any:
        return handler()

    return value


def _stream_route(name: str, chunks: Callable[[], Any], decorate: Decorate) -> Any:
    @get(f"/{name}")
    @decorate(CONFIG_KEY)
    async def stream() -> Stream:
        return Stream(handlers.asynchronously(chunks()), media_type=handlers.SSE)

    return stream
