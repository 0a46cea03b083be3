"""Callables of the request, as the middlewares of each framework take them."""

from __future__ import annotations

import flask
from django.http import HttpRequest
from ldclient import Context
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import HTTPConnection, Request

from ldai_integrations import Run, Tracking
from ldai_integrations.asgi import ASGITrackingMiddleware
from ldai_integrations.django import feedback_urls
from ldai_integrations.flask import AITracking, feedback_blueprint
from ldai_integrations.starlette import TrackingMiddleware, feedback_routes, run_dependency
from ldai_integrations.typing import Scope, WSGIEnviron
from ldai_integrations.wsgi import WSGITrackingMiddleware


def of_request(request: Request) -> Context:
    """Return the LD context of a request."""
    return Context.create(request.headers.get("X-User", request.method))


def of_connection(connection: HTTPConnection) -> Context | None:
    """Return the LD context of a request or a websocket."""
    return Context.create(connection.headers["X-User"])


def of_flask(request: flask.Request) -> Context:
    """Return the LD context of a Flask request."""
    return Context.create(request.headers.get("X-User", request.method))


def of_django(request: HttpRequest) -> Context:
    """Return the LD context of a Django request."""
    return Context.create(request.get_host())


def of_scope(scope: Scope) -> Context:
    """Return the LD context of an ASGI scope."""
    return Context.create(str(scope["path"]))


def of_environ(environ: WSGIEnviron) -> Context:
    """Return the LD context of a WSGI environ."""
    return Context.create(str(environ["PATH_INFO"]))


def check_starlette(app: Starlette, tracking: Tracking) -> None:
    """Add the middleware in each of the ways that Starlette has."""
    app.add_middleware(TrackingMiddleware, tracking=tracking, ld_context=of_request)
    app.add_middleware(TrackingMiddleware, tracking=tracking, ld_context=of_connection)
    app.add_middleware(TrackingMiddleware, ld_context=lambda request: Context.create(request.headers["X-User"]))
    Middleware(TrackingMiddleware, config_key=lambda request: request.path_params.get("key"))
    TrackingMiddleware(app, tracking, ld_context=lambda request: Context.create(request.method))
    TrackingMiddleware(app, config_key="chat", variables=lambda request: {"city": request.query_params["city"]})
    app.router.routes.extend(feedback_routes(tracking, ld_context=of_request))
    run: Run = run_dependency()
    assert run.model


def check_flask(app: flask.Flask, tracking: Tracking) -> None:
    """Initialise the extension."""
    AITracking(app, tracking, ld_context=of_flask)
    AITracking(app, ld_context=lambda request: Context.create(request.method), config_key="chat")
    app.register_blueprint(feedback_blueprint(ld_context=lambda request: Context.create(request.method)))


def check_django() -> None:
    """Make the URL patterns; the middleware itself takes its options from the settings."""
    feedback_urls(ld_context=of_django)
    feedback_urls(ld_context=lambda request: Context.create(request.get_host()))


def check_any_application(app: Starlette, flask_app: flask.Flask) -> None:
    """Wrap an application of another framework."""
    ASGITrackingMiddleware(app, ld_context=of_scope)
    ASGITrackingMiddleware(app, ld_context=lambda scope: Context.create(str(scope["path"])))
    WSGITrackingMiddleware(flask_app.wsgi_app, ld_context=of_environ)
    WSGITrackingMiddleware(flask_app, config_key=lambda environ: str(environ["PATH_INFO"]) or None)
