"""Falcon under WSGI and ASGI, below the middleware, with responders that are decorated or know nothing of it.

The decorator alone is not enough: a responder returns nothing, and what it puts into the response is sent after it.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import falcon
import falcon.asgi

from ldai_integrations import Tracking, track_ai
from ldai_integrations.asgi import ASGITrackingMiddleware
from ldai_integrations.wsgi import WSGITrackingMiddleware

from .. import handlers
from ..cases import CONFIG_KEY, DISABLED_KEY

Fill = Callable[[Any], None]

logging.getLogger("falcon").setLevel(logging.CRITICAL)  # responders that raise are the point here


def wsgi_middleware(tracking: Tracking) -> Any:
    """Track every request of an application whose responders know nothing of it."""
    app: Any = falcon.App()
    for name, fill in _fillings(_encoded).items():
        app.add_route(f"/{name}", _Resource(fill))
    app.add_route("/slow", _Resource(_stream(handlers.slow, _encoded)))
    app.add_error_handler(handlers.HandledError, _on_handled)
    return WSGITrackingMiddleware(
        app, tracking, config_key=lambda environ: handlers.config_key_of(environ["PATH_INFO"])
    )


def asgi_middleware_and_decorator(tracking: Tracking) -> Any:
    """Track every request of an application whose responders are decorated: one run each."""
    app: Any = falcon.asgi.App()
    for name, fill in _fillings(_encoded_async).items():
        app.add_route(f"/{name}", _AsyncResource(fill, DISABLED_KEY if name == "disabled" else CONFIG_KEY))
    app.add_error_handler(handlers.HandledError, _on_handled_async)
    return ASGITrackingMiddleware(app, tracking, config_key=lambda scope: handlers.config_key_of(scope["path"]))


def _config_key_of_environ(environ: dict[str, Any]) -> str:
    return handlers.config_key_of(environ["PATH_INFO"])


class _Resource:
    def __init__(self, fill: Fill) -> None:
        self._fill = fill

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        self._fill(resp)

    on_head = on_get


class _AsyncResource:
    def __init__(self, fill: Fill, config_key: str) -> None:
        async def respond(req: falcon.asgi.Request, resp: falcon.asgi.Response) -> None:
            fill(resp)

        self.on_get = self.on_head = track_ai(config_key=config_key)(respond)


def _fillings(encoded: Callable[[Any], Any]) -> dict[str, Fill]:
    """Name what the responders do to Falcon's response object."""
    fillings: dict[str, Fill] = {"text": _text, "raise": _raises, "handled": _handled, "bad": _bad}
    fillings |= {name: _value(handler) for name, handler in handlers.VALUES.items()}
    return fillings | {name: _stream(chunks, encoded) for name, chunks in handlers.STREAMS.items()}


def _text(resp: Any) -> None:
    resp.text, resp.content_type = handlers.text(), handlers.TEXT


def _raises(resp: Any) -> None:
    raise RuntimeError("the handler broke")


def _handled(resp: Any) -> None:
    raise handlers.HandledError


def _bad(resp: Any) -> None:
    raise falcon.HTTPBadRequest


def _value(handler: Callable[[], Any]) -> Fill:
    def fill(resp: Any) -> None:
        resp.media = handler()

    return fill


def _stream(chunks: Callable[[], Any], encoded: Callable[[Any], Any]) -> Fill:
    def fill(resp: Any) -> None:
        resp.stream, resp.content_type = encoded(chunks()), handlers.SSE

    return fill


def _encoded(chunks: Iterator[str]) -> Iterator[bytes]:
    return (chunk.encode() for chunk in chunks)


async def _encoded_async(chunks: Iterator[str]) -> AsyncIterator[bytes]:
    async for chunk in handlers.asynchronously(chunks):
        yield chunk.encode()


def _on_handled(req: Any, resp: Any, exc: Any, params: Any) -> None:
    resp.status, resp.text = 500, "no"


async def _on_handled_async(req: Any, resp: Any, exc: Any, params: Any) -> None:
    resp.status, resp.text = 500, "no"
