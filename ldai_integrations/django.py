"""Middleware for Django, under WSGI and ASGI."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any

from ldclient import Context

from ._extras import needs_extra
from ._run.context import SCOPE_KEY, RequestScope, bind, get_current, innermost, unbind
from ._run.middleware import RequestTracking, VoteEndpoint
from ._run.response import add_vote_token, follow
from ._run.state import RunState
from .exceptions import ConfigurationError
from .feedback import FORM, MOST_BYTES, Answer, fields_of, length_of, no_fields_if_unreadable, too_long, widget
from .tracking import process_tracking, services_of

with needs_extra("django"):
    from asgiref.sync import iscoroutinefunction, markcoroutinefunction
    from django.conf import settings
    from django.core.handlers.asgi import ASGIRequest
    from django.http import HttpRequest, HttpResponse
    from django.http.response import HttpResponseBase
    from django.urls import URLPattern, path
    from django.utils.module_loading import import_string
    from django.views.decorators.csrf import csrf_exempt

__all__ = ["TrackingMiddleware", "feedback_urls"]

_OPTIONS = ("tracking", "config_key", "mode", "default", "variables", "ld_context")
_IMPORTED = ("tracking", "default", "variables", "ld_context")  # a config key is a string already


class TrackingMiddleware:
    """Middleware that gives each request an LD context for its runs, or tracks each request as a run.

    ::

        MIDDLEWARE = ["ldai_integrations.django.TrackingMiddleware", …]
        LDAI = {"tracking": "shop.ai.tracking", "ld_context": "shop.ai.ld_context"}

    Place it below the middleware that its callables need: below ``AuthenticationMiddleware`` if they read
    ``request.user``.
    Events are flushed when the process ends, and after each request with ``Settings(flush="request")``.

    Every entry of ``settings.LDAI`` is optional. Those marked † may be a dotted path:

    - ``tracking`` †: the application's :class:`~ldai_integrations.Tracking`; without one, that of the process.
    - ``config_key``: the key of the AI Config of every request, or a callable from the request to a key or ``None``.
      Without it, only decorated views open runs.
    - ``mode``: ``"completion"`` or ``"agent"``. Like the next two, it needs a ``config_key``.
    - ``default`` †: used if LaunchDarkly has no usable variation.
    - ``variables`` †: values for the prompt's ``{{variables}}``: a mapping, or a callable that is called with the
      request.
    - ``ld_context`` †: called with the ``HttpRequest`` when a run first needs the LD context of the request.

    Args:
        get_response: The next middleware or the view, sync or async; Django gives it.

    Raises:
        ConfigurationError: If an entry of ``settings.LDAI`` is unknown or cannot work.
        TrackingNotConfiguredError: If no tracking is given and none can be created.
    """

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Callable[[HttpRequest], Any]) -> None:
        self._get_response = get_response
        options = _options()
        services = services_of(process_tracking(options.pop("tracking")))
        self._requests = RequestTracking(services, **options, secrets=_secrets())
        self._is_async = iscoroutinefunction(get_response)
        if self._is_async:
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> Any:
        """Serve one request, asynchronously if the next middleware or view is asynchronous."""
        return self._serve_async(request) if self._is_async else self._serve(request)

    def process_exception(self, request: HttpRequest, exception: Exception) -> None:  # noqa: ARG002  # what Django calls
        """Report an exception to the run, before Django turns it into a response."""
        current = get_current()
        if isinstance(current, RunState):
            current.fail(exception)

    def _serve(self, request: HttpRequest) -> HttpResponseBase:
        with _Exchange(self._requests, request) as exchange:
            return exchange.follow(self._get_response(request))

    async def _serve_async(self, request: HttpRequest) -> HttpResponseBase:
        with _Exchange(self._requests, request) as exchange:
            response = await self._get_response(request)
            await exchange.settle()
            return exchange.follow(response)


class _Exchange:
    """One request in its scope, from the call of the middleware until Django closes the response."""

    __slots__ = ("_carrier", "_is_head", "_is_outermost", "_requests", "_run", "_scope", "_token")

    def __init__(self, requests: RequestTracking, request: HttpRequest) -> None:
        # An ASGI or WSGI middleware of this library around Django leaves its scope in the same place.
        self._carrier = getattr(request, "scope", request.META)
        self._requests = requests
        self._is_head = request.method == "HEAD"
        scope = self._carrier.get(SCOPE_KEY)
        self._is_outermost = not isinstance(scope, RequestScope) or scope.services is not requests.services
        if self._is_outermost:
            visitors, cookies = requests.visitors, request.META.get("HTTP_COOKIE", "")
            visitor = visitors.recognize(cookies, is_https=request.is_secure()) if visitors is not None else None
            scope = self._carrier[SCOPE_KEY] = requests.scope(request, visitor)
        self._scope: RequestScope = scope
        self._run = requests.open_run(scope, request)

    def __enter__(self) -> _Exchange:
        self._token = bind(self._run or innermost(self._scope))
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        unbind(self._token)
        if exc is not None:  # cancelled: Django turns all other exceptions into responses before
            if self._run is not None:
                self._run.end(exc)
            self._leave()

    async def settle(self) -> None:
        """Read what providers still send in streams that the view has left."""
        if self._run is not None:
            await self._run.settle()

    def follow(self, response: HttpResponseBase) -> HttpResponseBase:
        """Follow the response to its end: a stream is exhausted, or Django closes it before."""
        vote_token = self._scope.vote_token
        if self._run is not None:
            response = follow(self._run, response)
            if self._is_head:
                self._run.end()  # servers need not read a body that they do not send
        if self._is_outermost and vote_token is not None:
            with self._requests.services.diagnostics.guard("feedback token", "response"):
                add_vote_token(response, vote_token, response.status_code, head=self._is_head)
        if self._is_outermost:
            with self._requests.services.diagnostics.guard("visitor", "response"):
                named = {name.lower(): value for name, value in response.items()}
                cookie = self._scope.new_cookie(named, is_whole=not response.streaming)
                if cookie:
                    response.cookies.load(cookie)
            response._resource_closers.append(self._close)
        return response

    def _close(self) -> None:
        self._leave()
        if self._scope.had_runs:
            self._requests.services.flushing.flush_after_request()  # on a thread under ASGI too

    def _leave(self) -> None:
        if self._is_outermost:
            self._carrier.pop(SCOPE_KEY, None)
            self._scope.close()


def feedback_urls(
    route: str = "feedback", *, ld_context: Callable[[HttpRequest], Context | None] | None = None
) -> list[URLPattern]:
    """Return the URL patterns that take votes and serve the widget.

    ::

        urlpatterns = [*feedback_urls(), …]

    They are exempt from Django's CSRF protection: the token, which another site cannot know, protects them.

    Args:
        route: Where votes are posted; the widget is at ``route`` + ``/widget.js``.
        ld_context: Called with the ``HttpRequest``, returns the LD context of the voter. Without it, the LD context
            that :class:`TrackingMiddleware` determined for the request is used.

    Raises:
        ConfigurationError: If the settings have no feedback, there is no secret, or ``ld_context`` cannot work.
        TrackingNotConfiguredError: If no tracking is given and none can be created.
    """
    services = services_of(process_tracking(_options()["tracking"]))
    endpoint = VoteEndpoint(services, ld_context=ld_context, secrets=_secrets())

    def vote(request: HttpRequest) -> HttpResponse:
        meta = request.META
        client = meta.get("REMOTE_ADDR") or ""
        answer = endpoint.refuse(request.method or "", client, length_of(meta.get("CONTENT_LENGTH") or ""))
        if answer is not None:
            return _response(answer)
        fields: Mapping[str, object] = {}
        with no_fields_if_unreadable():
            if request.content_type == FORM:  # which may have been read already
                fields = request.POST.dict()
            else:
                body = request.read(MOST_BYTES + 1)
                if len(body) > MOST_BYTES:
                    return _response(too_long())
                fields = fields_of(request.content_type or "", body)
        # Under ASGI, Django sets the variable without knowing it.
        is_multiprocess = None if isinstance(request, ASGIRequest) else meta.get("wsgi.multiprocess")
        return _response(endpoint.vote(request, fields, client, is_multiprocess=is_multiprocess))

    def script(request: HttpRequest) -> HttpResponse:
        endpoint.keep_out_of_runs()
        return _response(widget(request.method or ""))

    return [path(route, csrf_exempt(vote)), path(f"{route}/widget.js", csrf_exempt(script))]


def _response(answer: Answer) -> HttpResponse:
    return HttpResponse(answer.body, status=answer.status, headers=dict(answer.headers))


def _secrets() -> list[str | bytes]:
    """Return the project's secrets, the one that signs last; Django has the newest fallback first."""
    fallbacks = getattr(settings, "SECRET_KEY_FALLBACKS", ())
    return [*reversed(fallbacks), settings.SECRET_KEY]


def _options() -> dict[str, Any]:
    """Read ``settings.LDAI``, and import what it names."""
    given: dict[str, Any] = getattr(settings, "LDAI", {})
    unknown = sorted(set(given) - set(_OPTIONS))
    if unknown:
        raise ConfigurationError(
            f"settings.LDAI has {', '.join(map(repr, unknown))}; it may have {', '.join(_OPTIONS)}"
        )
    imported = {name: _imported(name, given[name]) for name in _IMPORTED if isinstance(given.get(name), str)}
    return {"tracking": None, **given, **imported}


def _imported(name: str, path: str) -> Any:
    try:
        return import_string(path)
    except ImportError as exc:
        raise ConfigurationError(
            f"settings.LDAI[{name!r}] is {path!r}, which cannot be imported: {exc}; give a dotted path, or the object"
        ) from exc
