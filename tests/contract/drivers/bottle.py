"""Bottle: the decorator alone, and below the WSGI middleware."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import bottle

from ldai_integrations import Tracking, track_ai
from ldai_integrations.wsgi import WSGITrackingMiddleware

from .. import handlers
from ..cases import CONFIG_KEY, DISABLED_KEY

Decorate = Callable[[str], Callable[[Any], Any]]


def decorator(tracking: Tracking) -> Any:
    """Decorate the callbacks; no middleware."""
    return _application(lambda key: track_ai(config_key=key, tracking=tracking))


def middleware_and_decorator(tracking: Tracking) -> Any:
    """Decorate the callbacks of an application that has the middleware."""
    return WSGITrackingMiddleware(_application(lambda key: track_ai(config_key=key)), tracking)


def middleware(tracking: Tracking) -> Any:
    """Let the middleware track an application whose callbacks know nothing of it."""
    return WSGITrackingMiddleware(
        _application(lambda _key: lambda callback: callback),
        tracking,
        config_key=lambda environ: handlers.config_key_of(environ["PATH_INFO"]),
    )


def _application(decorate: Decorate) -> Any:
    app = bottle.Bottle()
    callbacks: dict[str, Callable[[], Any]] = {"text": _text, "raise": _raises, "bad": _bad, **handlers.VALUES}
    callbacks |= {name: _stream(chunks) for name, chunks in {**handlers.STREAMS, "slow": handlers.slow}.items()}
    for name, callback in callbacks.items():
        app.get(f"/{name}", callback=decorate(DISABLED_KEY if name == "disabled" else CONFIG_KEY)(callback))
    app.get("/handled", callback=decorate(CONFIG_KEY)(_handled), apply=_handling_errors)
    return app


def _handling_errors(callback: Callable[[], Any]) -> Callable[[], Any]:
    """Make a response of the application's own exception; Bottle's error handlers are for statuses."""

    def handling() -> Any:
        try:
            return callback()
        except handlers.HandledError:
            return bottle.HTTPResponse("no", 500)

    return handling


def _text() -> str:
    bottle.response.content_type = handlers.TEXT
    return handlers.text()


def _raises() -> str:
    raise RuntimeError("the handler broke")


def _handled() -> str:
    raise handlers.HandledError


def _bad() -> None:
    bottle.abort(400)


def _stream(chunks: Callable[[], Iterator[str]]) -> Callable[[], Iterator[str]]:
    def callback() -> Iterator[str]:
        bottle.response.content_type = handlers.SSE
        yield from chunks()

    return callback
