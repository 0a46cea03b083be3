"""Flask: the decorator alone, the decorator below the extension, the extension alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import flask

from ldai_integrations import Tracking, track_ai
from ldai_integrations.flask import AITracking

from .. import handlers
from ..cases import CONFIG_KEY, DISABLED_KEY

Decorate = Callable[[str], Callable[[Any], Any]]


def decorator(tracking: Tracking) -> flask.Flask:
    """Decorate the views; no middleware, no extension."""
    return _application(lambda key: track_ai(config_key=key, tracking=tracking))


def extension_and_decorator(tracking: Tracking) -> flask.Flask:
    """Decorate the views of an application that has the extension."""
    app = _application(lambda key: track_ai(config_key=key))
    AITracking(app, tracking)
    return app


def extension(tracking: Tracking) -> flask.Flask:
    """Let the extension track an application whose views know nothing of it."""
    app = _application(lambda _key: lambda view: view)
    ai_tracking = AITracking(tracking=tracking, config_key=lambda request: handlers.config_key_of(request.path))
    ai_tracking.init_app(app)
    return app


def _application(decorate: Decorate) -> flask.Flask:
    app = flask.Flask(__name__)
    app.register_error_handler(handlers.HandledError, lambda _exc: ("no", 500))
    for name, handler in handlers.VALUES.items():
        key = DISABLED_KEY if name == "disabled" else CONFIG_KEY
        app.add_url_rule(f"/{name}", name, decorate(key)(_view(handler)))
    for name, chunks in {**handlers.STREAMS, "slow": handlers.slow}.items():
        app.add_url_rule(f"/{name}", name, decorate(CONFIG_KEY)(_stream_view(chunks)))

    @app.get("/text")
    @decorate(CONFIG_KEY)
    def text() -> flask.Response:
        return flask.Response(handlers.text(), content_type=handlers.TEXT)

    @app.get("/raise")
    @decorate(CONFIG_KEY)
    def raises() -> str:
        raise RuntimeError("the handler broke")

    @app.get("/handled")
    @decorate(CONFIG_KEY)
    def handled() -> str:
        raise handlers.HandledError

    @app.get("/bad")
    @decorate(CONFIG_KEY)
    def bad() -> str:
        flask.abort(400)

    return app


def _view(handler: Callable[[], Any]) -> Callable[[], Any]:
    def view() -> Any:
        return handler()

    return view


def _stream_view(chunks: Callable[[], Any]) -> Callable[[], Any]:
    def view() -> flask.Response:
        return flask.Response(flask.stream_with_context(chunks()), content_type=handlers.SSE)

    return view
