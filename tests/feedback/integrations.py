"""The same small application with each integration: an answer, a streamed answer, and the endpoint for votes."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from typing import Any

import django.http
import flask
from django.core.wsgi import get_wsgi_application
from fastapi import FastAPI, Request
from ldclient import Context
from starlette.applications import Starlette
from starlette.responses import JSONResponse, StreamingResponse
from starlette.routing import Route

from ldai_integrations import Run, Tracking, current_run, track_ai
from ldai_integrations.asgi import ASGIFeedback, ASGITrackingMiddleware
from ldai_integrations.django import feedback_urls
from ldai_integrations.flask import AITracking, feedback_blueprint
from ldai_integrations.starlette import TrackingMiddleware, feedback_routes
from ldai_integrations.wsgi import WSGIFeedback, WSGITrackingMiddleware

from ..contract.drivers.django import ASGIApplication
from ..contract.drivers.django import application as django_application
from ..contract.servers import serve_asgi, serve_asgi_without_lifespan, serve_wsgi

KEY = "chat"
SSE = "text/event-stream"
EVENTS = ["data: Hello\n\n", "data:  there\n\n", "data: [DONE]\n\n"]


def always(_request: object) -> str:
    """Name the AI Config of every request."""
    return KEY


def ld_context(user: str | None) -> Context | None:
    """Return the LD context of a user, or ``None`` for a visitor who has not signed in."""
    return Context.builder(user).set("plan", "free").build() if user else None


def answer() -> dict[str, str]:
    """Answer with what a page needs for its thumbs."""
    run = current_run()
    return {"token": run.feedback_token, "run_id": run.id}


async def aevents() -> AsyncIterator[str]:
    """Stream from a coroutine."""
    for event in EVENTS:
        yield event


# WSGI


def _of_environ(environ: dict[str, Any]) -> Context | None:
    return ld_context(environ.get("HTTP_X_USER"))


def wsgi(tracking: Tracking) -> Any:
    """Wrap a bare application in the middleware."""

    def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        if environ["PATH_INFO"].startswith("/feedback"):
            return feedback(environ, start_response)
        stream = environ["PATH_INFO"] == "/stream"
        start_response("200 OK", [("Content-Type", SSE if stream else "application/json")])
        return (event.encode() for event in EVENTS) if stream else [json.dumps(answer()).encode()]

    feedback = WSGIFeedback(tracking)
    return WSGITrackingMiddleware(app, tracking, config_key=always, ld_context=_of_environ)


def _flask(tracked: Callable[[Any], Any]) -> flask.Flask:
    app = flask.Flask(__name__)
    app.add_url_rule("/answer", "answer", tracked(lambda: flask.jsonify(answer())))
    app.add_url_rule("/stream", "stream", tracked(lambda: flask.Response(iter(EVENTS), mimetype=SSE)))
    return app


def flask_extension(tracking: Tracking) -> Any:
    """Give the extension the user, and decorate the views."""
    app = _flask(track_ai(config_key=KEY))
    AITracking(app, tracking, ld_context=lambda request: ld_context(request.headers.get("X-User")))
    app.register_blueprint(feedback_blueprint())
    return app


def flask_extension_alone(tracking: Tracking) -> Any:
    """Let the extension track every request, including votes."""
    app = _flask(lambda view: view)
    AITracking(app, tracking, config_key=always, ld_context=lambda request: ld_context(request.headers.get("X-User")))
    app.register_blueprint(feedback_blueprint())
    return app


def flask_decorator_alone(tracking: Tracking) -> Any:
    """Use no middleware: give the decorator and the endpoint the user."""
    app = _flask(
        track_ai(config_key=KEY, tracking=tracking, ld_context=lambda: ld_context(flask.request.headers.get("X-User")))
    )
    feedback, inner = WSGIFeedback(tracking, ld_context=_of_environ), app.wsgi_app

    def routed(environ: dict[str, Any], start_response: Any) -> Any:
        return (feedback if environ["PATH_INFO"].startswith("/feedback") else inner)(environ, start_response)

    app.wsgi_app = routed  # type: ignore[method-assign]
    return app


# ASGI


def _of_scope(scope: Mapping[str, Any]) -> Context | None:
    return ld_context({name.decode(): value.decode() for name, value in scope["headers"]}.get("x-user"))


def asgi(tracking: Tracking) -> Any:
    """Wrap a bare application in the middleware."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await receive()
            await send({"type": "lifespan.startup.complete"})
            await receive()
            await send({"type": "lifespan.shutdown.complete"})
        elif scope["path"].startswith("/feedback"):
            await feedback(scope, receive, send)
        else:
            stream = scope["path"] == "/stream"
            media_type = SSE.encode() if stream else b"application/json"
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", media_type)]})
            for event in EVENTS if stream else ():
                await send({"type": "http.response.body", "body": event.encode(), "more_body": True})
            body = b"" if stream else json.dumps(answer()).encode()
            await send({"type": "http.response.body", "body": body})

    feedback = ASGIFeedback(tracking)
    return ASGITrackingMiddleware(app, tracking, config_key=always, ld_context=_of_scope)


async def _answer(_request: Any) -> JSONResponse:
    return JSONResponse(answer())


async def _stream(_request: Any) -> StreamingResponse:
    return StreamingResponse(aevents(), media_type=SSE)


def starlette(tracking: Tracking) -> Any:
    """Give the middleware the user, and decorate the endpoints."""
    tracked = track_ai(config_key=KEY)
    routes = [Route("/answer", tracked(_answer)), Route("/stream", tracked(_stream)), *feedback_routes(tracking)]
    app = Starlette(routes=routes)
    app.add_middleware(
        TrackingMiddleware, tracking=tracking, ld_context=lambda request: ld_context(request.headers.get("X-User"))
    )
    return app


def starlette_decorator_alone(tracking: Tracking) -> Any:
    """Use no middleware: give the decorator and the endpoint the user."""

    def of_request(request: Any) -> Context | None:
        return ld_context(request.headers.get("X-User"))

    tracked = track_ai(config_key=KEY, tracking=tracking, ld_context=of_request)
    feedback = feedback_routes(tracking, ld_context=of_request)
    return Starlette(routes=[Route("/answer", tracked(_answer)), Route("/stream", tracked(_stream)), *feedback])


def fastapi(tracking: Tracking) -> Any:
    """Return plain values from endpoints, so that the middleware adds the header."""
    app = FastAPI()
    app.router.routes.extend(feedback_routes(tracking))
    app.add_middleware(
        TrackingMiddleware, tracking=tracking, ld_context=lambda request: ld_context(request.headers.get("X-User"))
    )

    @app.get("/answer")
    @track_ai(config_key=KEY)
    def value(run: Run) -> dict[str, str]:
        return {"token": run.feedback_token, "run_id": run.id}

    @app.get("/stream")
    @track_ai(config_key=KEY)
    async def stream(request: Request) -> StreamingResponse:
        return StreamingResponse(aevents(), media_type=SSE)

    return app


# Django


def _of_http_request(request: Any) -> Context | None:
    return ld_context(request.headers.get("X-User"))


def _django_views(tracked: Callable[[Any], Any]) -> dict[str, Any]:
    def view(_request: Any) -> django.http.HttpResponse:
        return django.http.JsonResponse(answer())

    def stream(_request: Any) -> django.http.StreamingHttpResponse:
        return django.http.StreamingHttpResponse(_events(), content_type=SSE)

    return {"answer": tracked(view), "stream": tracked(stream)}


def _events() -> Iterator[str]:
    yield from EVENTS


def django_wsgi(tracking: Tracking) -> Any:
    """Give the middleware the user, and decorate the views."""
    views = _django_views(track_ai(config_key=KEY))
    return django_application(
        views, get_wsgi_application, urls=feedback_urls, tracking=tracking, ld_context=_of_http_request
    )


def django_wsgi_middleware_alone(tracking: Tracking) -> Any:
    """Let the middleware track every request, including votes."""
    return django_application(
        _django_views(lambda view: view),
        get_wsgi_application,
        urls=feedback_urls,
        tracking=tracking,
        config_key=always,
        ld_context=_of_http_request,
    )


def django_asgi_decorator_alone(tracking: Tracking) -> Any:
    """Use no middleware: give the decorator and the endpoint the user."""
    tracked = track_ai(config_key=KEY, tracking=tracking, ld_context=_of_http_request)

    @tracked
    async def stream(_request: Any) -> django.http.StreamingHttpResponse:
        return django.http.StreamingHttpResponse(aevents(), content_type=SSE)

    return django_application(
        {**_django_views(tracked), "stream": stream},
        ASGIApplication,
        middleware=(),
        urls=lambda: feedback_urls(ld_context=_of_http_request),
        tracking=tracking,
    )


INTEGRATIONS: dict[str, tuple[Callable[[Tracking], Any], Any]] = {
    "wsgi": (wsgi, serve_wsgi),
    "flask extension and decorator": (flask_extension, serve_wsgi),
    "flask extension": (flask_extension_alone, serve_wsgi),
    "flask decorator": (flask_decorator_alone, serve_wsgi),
    "asgi": (asgi, serve_asgi),
    "starlette middleware and decorator": (starlette, serve_asgi),
    "starlette decorator": (starlette_decorator_alone, serve_asgi),
    "fastapi middleware and decorator": (fastapi, serve_asgi),
    "django middleware and decorator, wsgi": (django_wsgi, serve_wsgi),
    "django middleware, wsgi": (django_wsgi_middleware_alone, serve_wsgi),
    "django decorator, asgi": (django_asgi_decorator_alone, serve_asgi_without_lifespan),
}
