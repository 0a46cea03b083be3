"""Middleware for Django, under WSGI and ASGI."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.conf import settings
from django.http import HttpResponse
from django.urls import path
from django.utils.module_loading import import_string
from django.views.decorators.csrf import csrf_exempt

from ._core.current import FRAME_KEY, bind, get_current, unbind, within
from ._core.door import Door, process_tracking
from ._core.endpoint import Endpoint
from ._core.follow import follow, offer_on
from ._core.run import Run
from ._core.tail import flush_after
from .exceptions import ConfigurationError
from .feedback import FORM, MOST_BYTES, Answer, fields_of, length_of, too_long, widget

if TYPE_CHECKING:
    from types import TracebackType

    from django.http import HttpRequest
    from django.http.response import HttpResponseBase
    from django.urls import URLPattern
    from ldclient import Context

__all__ = ["TrackingMiddleware", "feedback_urls"]

_OPTIONS = ("tracking", "config_key", "mode", "default", "variables", "ld_context")
_IMPORTED = ("tracking", "default", "variables", "ld_context")  # a config key is a string already


class TrackingMiddleware:
    """Give each request a LaunchDarkly context for the runs in it, or track each request as a run.

    ::

        MIDDLEWARE = ["ldai_integrations.django.TrackingMiddleware", …]
        LDAI = {"tracking": "shop.ai.tracking", "ld_context": "shop.ai.ld_context"}

    Put it where the callables find what they need: below ``AuthenticationMiddleware`` if they read ``request.user``.
    Events are flushed when the process ends, and after each request with ``Settings(flush="request")``. Before
    Django 5.0, ASGI requests whose client has left go on to their end, and so do their runs.

    Every entry of ``settings.LDAI`` may be left out; those marked † may be given as the dotted path of one:

    - ``tracking`` †: the application's :class:`~ldai_integrations.Tracking`; without one, that of the process.
    - ``config_key``: key of the AI Config of every request, or a callable from the request to a key or ``None``.
      Without it, only decorated views open runs.
    - ``mode``: ``"completion"`` or ``"agent"``.
    - ``default`` †: served where LaunchDarkly has nothing usable.
    - ``variables`` †: values for the prompt's ``{{variables}}``: a mapping, or a callable that is given the request.
    - ``ld_context`` †: called with the ``HttpRequest`` when a run first needs its LaunchDarkly context.

    Args:
        get_response: The next middleware or the view, sync or async; Django gives it.

    Raises:
        ConfigurationError: If an entry of ``settings.LDAI`` is unknown or cannot work.
        TrackingNotConfiguredError: If there is no tracking and nothing to make one of.
    """

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Callable[[HttpRequest], Any]) -> None:
        self._get_response = get_response
        self._door = Door(**_options(), secrets=_secrets())
        self._is_async = iscoroutinefunction(get_response)
        if self._is_async:
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> Any:
        """Serve one request; asynchronously, if that is how the next in line serves it."""
        return self._serve_async(request) if self._is_async else self._serve(request)

    def process_exception(self, request: HttpRequest, exception: Exception) -> None:  # noqa: ARG002  # what Django calls
        """Tell the run of an exception that Django is about to make a response of."""
        current = get_current()
        if isinstance(current, Run):
            current.fail(exception)

    def _serve(self, request: HttpRequest) -> HttpResponseBase:
        with _Exchange(self._door, request) as exchange:
            return exchange.followed(self._get_response(request))

    async def _serve_async(self, request: HttpRequest) -> HttpResponseBase:
        with _Exchange(self._door, request) as exchange:
            return exchange.followed(await self._get_response(request))


class _Exchange:
    """One request in its frame, from the middleware's call until Django closes the response."""

    __slots__ = ("_carrier", "_door", "_frame", "_head", "_outermost", "_run", "_token")

    def __init__(self, door: Door, request: HttpRequest) -> None:
        # An ASGI or WSGI middleware of ours around Django leaves its frame in the same place.
        self._carrier = getattr(request, "scope", request.META)
        self._door = door
        self._head = request.method == "HEAD"
        self._frame = self._carrier.get(FRAME_KEY)
        self._outermost = self._frame is None or self._frame.tracking is not door.tracking
        if self._outermost:
            self._frame = self._carrier[FRAME_KEY] = door.frame(request)
        self._run = door.open_run(self._frame, request)

    def __enter__(self) -> _Exchange:
        self._token = bind(self._run if self._run is not None else within(self._frame))
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        unbind(self._token)
        if exc is not None:  # cancelled: Django makes responses of all other exceptions before they get here
            if self._run is not None:
                self._run.end(exc)
            self._leave()

    def followed(self, response: HttpResponseBase) -> HttpResponseBase:
        """Follow the response to its end: for a stream that is exhaustion, or Django's closing it before."""
        offer = self._frame.offer
        if self._run is not None:
            response = follow(self._run, response)
            if self._head:
                self._run.finish()  # servers need not read a body that they do not send
        if self._outermost and offer is not None:
            with self._door.tracking.diagnostics.guard("feedback offer", "response"):
                offer_on(response, offer, response.status_code, head=self._head)
        if self._outermost:
            response._resource_closers.append(self._close)
        return response

    def _close(self) -> None:
        self._leave()
        flush_after(self._frame)  # on a thread under ASGI too

    def _leave(self) -> None:
        if self._outermost:
            self._carrier.pop(FRAME_KEY, None)
            self._frame.close()


def feedback_urls(
    route: str = "feedback", *, ld_context: Callable[[HttpRequest], Context | None] | None = None
) -> list[URLPattern]:
    """Return the URL patterns that take votes and serve the widget.

    ::

        urlpatterns = [*feedback_urls(), …]

    They are exempt from Django's CSRF protection: the token, which another site cannot know, protects them.

    Args:
        route: Where votes are posted; the widget is at ``route`` + ``/widget.js``.
        ld_context: Called with the ``HttpRequest``, returns the LaunchDarkly context of whoever votes; without it the
            one that :class:`TrackingMiddleware` has for the request.

    Raises:
        ConfigurationError: If feedback is not asked for, has no secret, or ``ld_context`` cannot work.
        TrackingNotConfiguredError: If there is no tracking and nothing to make one of.
    """
    tracking = _options()["tracking"]
    endpoint = Endpoint(tracking or process_tracking(), ld_context=ld_context, secrets=_secrets())

    def vote(request: HttpRequest) -> HttpResponse:
        meta = request.META
        length = length_of(meta.get("CONTENT_LENGTH") or "")
        answer = endpoint.refuse(request.method or "", meta.get("REMOTE_ADDR") or "", length)
        if answer is None and request.content_type == FORM:  # which may have been read already
            answer = endpoint.vote(request, request.POST.dict())
        elif answer is None:
            body = request.read(MOST_BYTES + 1)
            whole = len(body) <= MOST_BYTES
            answer = endpoint.vote(request, fields_of(request.content_type or "", body)) if whole else too_long()
        return _response(answer)

    def script(_request: HttpRequest) -> HttpResponse:
        endpoint.keep_out_of_runs()
        return _response(widget())

    return [path(route, csrf_exempt(vote)), path(f"{route}/widget.js", script)]


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
