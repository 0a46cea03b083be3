"""Django under WSGI and ASGI: the decorator alone, and below the middleware, which tracks too or does not."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import django
from django.conf import settings
from django.core.exceptions import BadRequest
from django.core.handlers.asgi import ASGIHandler
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, HttpResponse, JsonResponse, StreamingHttpResponse
from django.test import override_settings
from django.urls import path
from django.utils.deprecation import MiddlewareMixin

from ldai_integrations import Tracking, track_ai

from .. import handlers
from ..cases import CONFIG_KEY, DISABLED_KEY

Decorate = Callable[[str], Callable[[Any], Any]]
View = Callable[..., Any]

OURS = "ldai_integrations.django.TrackingMiddleware"

settings.configure(ALLOWED_HOSTS=["*"], LOGGING_CONFIG=None, ROOT_URLCONF=(), SECRET_KEY="tests")
django.setup()
logging.getLogger("django").setLevel(logging.CRITICAL)  # applications that raise are the point here


class ASGIApplication(ASGIHandler):  # type: ignore[misc]  # Django is untyped
    """Close the request's body, which Django forgets to do when a stream, or the server, breaks off."""

    async def handle(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve one request."""
        try:
            await super().handle(scope, receive, send)
        finally:
            body = scope.pop("body", None)
            if body is not None:
                body.close()

    def create_request(self, scope: Any, body_file: Any) -> Any:
        """Remember the body."""
        scope["body"] = body_file
        return super().create_request(scope, body_file)


def wsgi_decorator(tracking: Tracking) -> Any:
    """Decorate the views; no middleware of ours."""
    views = _views(lambda key: track_ai(config_key=key, tracking=tracking))
    return application(views, get_wsgi_application, [])


def wsgi_middleware_and_decorator(tracking: Tracking) -> Any:
    """Decorate the views of an application that has the middleware."""
    views = _views(lambda key: track_ai(config_key=key))
    return application(views, get_wsgi_application, tracking=tracking)


def wsgi_middleware(tracking: Tracking) -> Any:
    """Let the middleware track an application whose views know nothing of it."""
    views = _views(lambda _key: _itself)
    return application(views, get_wsgi_application, tracking=tracking, config_key=_config_key)


def asgi_decorator(tracking: Tracking) -> Any:
    """Decorate the coroutine functions; no middleware of ours."""
    views = _async_views(lambda key: track_ai(config_key=key, tracking=tracking))
    return application(views, ASGIApplication, [])


def asgi_middleware_and_decorator(tracking: Tracking) -> Any:
    """Decorate the coroutine functions of an application whose middleware tracks too: one run each."""
    views = _async_views(lambda key: track_ai(config_key=key))
    return application(views, ASGIApplication, tracking=tracking, config_key=_config_key)


def application(
    views: Mapping[str, View],
    make: Callable[[], Any],
    middleware: Iterable[str] = (OURS,),
    urls: Callable[[], Iterable[Any]] = tuple,
    **ldai: Any,
) -> Any:
    """Make an application with views and settings of its own; Django itself has one of each per process."""
    with override_settings(MIDDLEWARE=[*middleware, f"{__name__}.HandledErrors"], LDAI=ldai):
        app = make()
        routes = (*(path(name, view) for name, view in views.items()), *urls())
    app.request_class = type("Request", (app.request_class,), {"urlconf": routes})
    return app


class HandledErrors(MiddlewareMixin):  # type: ignore[misc]  # Django is untyped
    """Make a response of the application's own exception."""

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:
        """Answer with a 500."""
        return HttpResponse("no", status=500) if isinstance(exception, handlers.HandledError) else None


def _config_key(request: HttpRequest) -> str:
    return handlers.config_key_of(request.path)


def _views(decorate: Decorate) -> dict[str, View]:
    views = {name: _view(handler) for name, handler in handlers.VALUES.items()}
    views |= {name: _stream_view(chunks) for name, chunks in {**handlers.STREAMS, "slow": handlers.slow}.items()}
    views["text"] = lambda request: HttpResponse(handlers.text(), content_type=handlers.TEXT)
    views |= {name: _raising_view(make) for name, make in _RAISED.items()}
    return {name: decorate(DISABLED_KEY if name == "disabled" else CONFIG_KEY)(view) for name, view in views.items()}


def _async_views(decorate: Decorate) -> dict[str, View]:
    async def slow(request: HttpRequest) -> StreamingHttpResponse:
        return StreamingHttpResponse(handlers.aslow(), content_type=handlers.SSE)

    undecorated = _views(lambda _key: _itself)
    views = {name: _async_view(view) for name, view in undecorated.items()}
    views |= {name: _async_stream_view(chunks) for name, chunks in handlers.STREAMS.items()}
    views["slow"] = slow
    return {name: decorate(DISABLED_KEY if name == "disabled" else CONFIG_KEY)(view) for name, view in views.items()}


_RAISED = {"raise": lambda: RuntimeError("the handler broke"), "handled": handlers.HandledError, "bad": BadRequest}


def _itself(view: View) -> View:
    return view


def _view(handler: Callable[[], Any]) -> View:
    def view(request: HttpRequest) -> HttpResponse:
        return JsonResponse(handler())

    return view


def _raising_view(make: Callable[[], Exception]) -> View:
    def view(request: HttpRequest) -> HttpResponse:
        raise make()

    return view


def _stream_view(chunks: Callable[[], Iterator[str]]) -> View:
    def view(request: HttpRequest) -> StreamingHttpResponse:
        return StreamingHttpResponse(chunks(), content_type=handlers.SSE)

    return view


def _async_view(view: View) -> View:
    async def async_view(request: HttpRequest) -> HttpResponse:
        return view(request)

    return async_view


def _async_stream_view(chunks: Callable[[], Iterator[str]]) -> View:
    async def view(request: HttpRequest) -> StreamingHttpResponse:
        return StreamingHttpResponse(handlers.asynchronously(chunks()), content_type=handlers.SSE)

    return view
