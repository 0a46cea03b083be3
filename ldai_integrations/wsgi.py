"""Middleware for any WSGI application, and an endpoint for votes. No framework is imported."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from http import HTTPStatus
from typing import Any

from ldclient import Context

from ._launchdarkly.configs import AIConfigDefault
from ._run.context import SCOPE_KEY, RequestScope, bind, unbind
from ._run.middleware import RequestTracking, VoteEndpoint
from ._run.response import RunHooks, TokenHooks
from ._run.state import RunState
from ._run.stream import StreamHooks, TrackedStream
from ._run.web import as_status
from .exceptions import ConfigurationError
from .feedback import MOST_BYTES, Answer, fields_of, length_of, no_fields_if_unreadable, too_long, widget
from .records import Mode
from .tracking import Tracking, process_tracking, services_of
from .typing import StartResponse, WSGIApp, WSGIEnviron
from .visitors import Visitor

__all__ = ["WSGIFeedback", "WSGITrackingMiddleware"]


class WSGITrackingMiddleware:
    """Middleware that gives each request an LD context for its runs, or tracks each request as a run.

    ::

        application = WSGITrackingMiddleware(application, tracking, config_key="support-bot")

    Without ``config_key``, only decorated code opens runs, and other routes cost next to nothing. With it, an existing
    application is tracked without changes: a request is a run if a provider call is seen in it, or if its response is
    in the format of a known provider. The run ends when the body is complete or closed. Pages, assets and health checks
    are not reported. If ``config_key`` is a function, each request for which it returns a key is a run.

    Args:
        app: The WSGI application.
        tracking: The application's :class:`~ldai_integrations.Tracking`; without one, that of the process.
        config_key: The key of the AI Config of every request, or a callable from the environ to a key or ``None``. A
            request for which a callable returns a key is a run, whether a provider call is seen in it or not.
        mode: ``"completion"`` or ``"agent"``. Like the next two, it needs a ``config_key``.
        default: Used if LaunchDarkly has no usable variation.
        variables: Values for the prompt's ``{{variables}}``: a mapping, or a callable that is called with the environ.
        ld_context: Called with the environ when a run first needs the LD context of the request.

    Raises:
        ConfigurationError: If a value cannot work.
        TrackingNotConfiguredError: If no tracking is given and none can be created.
    """

    def __init__(
        self,
        app: WSGIApp,
        tracking: Tracking | None = None,
        *,
        config_key: str | Callable[[WSGIEnviron], str | None] | None = None,
        mode: Mode = "completion",
        default: AIConfigDefault | None = None,
        variables: Mapping[str, Any] | Callable[[WSGIEnviron], Mapping[str, Any]] | None = None,
        ld_context: Callable[[WSGIEnviron], Context | None] | None = None,
    ) -> None:
        if inspect.iscoroutinefunction(getattr(app, "__call__", app)):  # noqa: B004  # the method itself is asked
            raise ConfigurationError(
                f"app is the ASGI application {app!r}; use ldai_integrations.asgi.ASGITrackingMiddleware"
            )
        self.app = app
        self._tracking = process_tracking(tracking)
        self._requests = RequestTracking(
            services_of(self._tracking),
            config_key=config_key,
            mode=mode,
            default=default,
            variables=variables,
            ld_context=ld_context,
        )

    def __call__(self, environ: WSGIEnviron, start_response: StartResponse) -> Iterable[bytes]:
        """Serve one request."""
        return serve(self.app, self._requests, environ, start_response)


def serve(
    app: WSGIApp, requests: RequestTracking, environ: WSGIEnviron, start_response: StartResponse
) -> Iterable[bytes]:
    """Call a WSGI application in a request scope; end the runs in it when the body is closed."""
    scope, is_inner = environ.get(SCOPE_KEY), True
    if not isinstance(scope, RequestScope) or scope.services is not requests.services:
        scope, is_inner = requests.scope(environ, _visitor(requests, environ)), False
        environ[SCOPE_KEY] = scope
        start_response = _start_with_cookie(scope, start_response)
        start_response = _start_with_token(scope, environ, start_response)
    run = requests.open_run(scope, environ)
    if run is None and is_inner:
        return app(environ, start_response)
    vote_token = None if is_inner else scope.vote_token

    def close() -> None:
        if not is_inner:
            environ.pop(SCOPE_KEY, None)
            scope.close()
            if scope.had_runs:
                requests.services.flushing.flush_after_request()

    token = bind(run if run is not None else scope)
    try:
        body = app(environ, start_response if run is None else _start_run(run, start_response))
    except BaseException as exc:
        if run is not None:
            run.end(exc)
        close()
        raise
    finally:
        unbind(token)
    is_file = _is_file(body, environ)
    if is_file or isinstance(body, (list, tuple)):  # servers treat these better than iterators
        if run is not None:
            _read_whole(run, () if is_file else body)
        event = b"" if vote_token is None or is_file else vote_token.last_event()
        close()
        return [*body, event] if event else body
    is_head = environ.get("REQUEST_METHOD") == "HEAD"
    hooks = StreamHooks(scope) if run is None else _BodyHooks(run, is_head=is_head)
    hooks = hooks if vote_token is None else TokenHooks(vote_token, hooks)
    return _Body(body, hooks, close)


def _read_whole(run: RunState, parts: Iterable[bytes]) -> None:
    """Read a body that is complete, and end the run."""
    run.output.is_whole = True
    for part in parts:
        run.output.add(part)
    run.end()


class _BodyHooks(RunHooks):
    """The hooks of a response body that the server iterates and closes."""

    def __init__(self, run: RunState, *, is_head: bool) -> None:
        super().__init__(run)
        self._is_head = is_head

    @property
    def _is_complete(self) -> bool:
        """Whether the client has everything when the server closes the body, although it was not read to its end."""
        return self._is_head or self.run.output.is_whole

    def on_drop(self) -> None:
        """Leave the run to another thread, if the server drops the body without closing it."""
        self.run.end_from_finalizer(is_complete=self._is_complete)

    def on_end(self, exc: BaseException | None) -> None:
        """End the run. A streamed body that was not read to its end was cancelled by the client."""
        super().on_end(None if isinstance(exc, GeneratorExit) and self._is_complete else exc)


class _Body(TrackedStream):
    """A response body whose steps run in the request's scope or run.

    Args:
        body: The body of the application.
        hooks: What happens at its chunks and at its end, and the run or scope that they are bound to.
        close: Ends what is open in the request.
    """

    def __init__(self, body: Iterable[bytes], hooks: StreamHooks, close: Callable[[], None]) -> None:
        super().__init__(body, hooks)
        self._self_close = close
        self._self_next: Callable[[], bytes] | None = None

    def __iter__(self) -> _Body:
        return self

    def __next__(self) -> object:
        return self._self_steps.take(self._self_next or self._self_begin)

    def _self_begin(self) -> bytes:
        self._self_next = iter(self.__wrapped__).__next__
        return self._self_next()

    def close(self) -> None:
        """Close the body, and end what is open in the request."""
        try:
            with self._self_steps.binding():
                close = getattr(self.__wrapped__, "close", None)
                if close is not None:
                    close()
        finally:
            self._self_hooks.on_end(GeneratorExit())
            self._self_close()


def _start_run(run: RunState, start_response: StartResponse) -> StartResponse:
    """Return a ``start_response`` that reads status and headers for a run."""

    def start(status: str, headers: list[tuple[str, str]], *exc_info: object) -> Callable[[bytes], object]:
        with run.services.diagnostics.guard("response", run.config_key):
            named = {name.lower(): value for name, value in headers}
            run.output.respond(
                as_status(status),
                named.get("content-type", "text/plain"),
                content_encoding=named.get("content-encoding", ""),
                is_whole="content-length" in named,
            )
        write = start_response(status, headers, *exc_info)

        def write_and_read(data: bytes) -> object:
            run.output.add(data)
            return write(data)

        return write_and_read

    return start


def _start_with_token(scope: RequestScope, environ: WSGIEnviron, start_response: StartResponse) -> StartResponse:
    """Return a ``start_response`` that adds the feedback token to the headers, if the application wants that."""
    vote_token = scope.vote_token
    if vote_token is None:
        return start_response

    def start(status: str, headers: list[tuple[str, str]], *exc_info: object) -> Callable[[bytes], object]:
        with scope.services.diagnostics.guard("feedback token", "headers"):
            named = {name.lower(): value for name, value in headers}
            added = vote_token.begin(as_status(status), named, head=environ.get("REQUEST_METHOD") == "HEAD")
            headers = [*headers, *added.items()]
        return start_response(status, headers, *exc_info)

    return start


def _visitor(requests: RequestTracking, environ: WSGIEnviron) -> Visitor | None:
    """Return the visitor who sent a request, if the application recognizes visitors."""
    if requests.visitors is None:
        return None
    return requests.visitors.recognize(
        environ.get("HTTP_COOKIE", ""), is_https=environ.get("wsgi.url_scheme") == "https"
    )


def _start_with_cookie(scope: RequestScope, start_response: StartResponse) -> StartResponse:
    """Return a ``start_response`` that sets the cookie of a new visitor, if a run needs one."""
    if scope.visitor is None or not scope.visitor.cookie:
        return start_response

    def start(status: str, headers: list[tuple[str, str]], *exc_info: Any) -> Callable[[bytes], object]:
        with scope.services.diagnostics.guard("visitor", "headers"):
            named = {name.lower(): value for name, value in headers}
            cookie = scope.new_cookie(named, is_whole="content-length" in named)
            if cookie:
                headers = [*headers, ("Set-Cookie", cookie)]
        return start_response(status, headers, *exc_info)

    return start


def _is_file(body: Iterable[bytes], environ: WSGIEnviron) -> bool:
    wrapper = environ.get("wsgi.file_wrapper")
    return isinstance(wrapper, type) and isinstance(body, wrapper)


class WSGIFeedback:
    """A WSGI application that takes votes and serves the widget.

    Arguments and errors are those of :class:`~ldai_integrations.asgi.ASGIFeedback`. ``ld_context`` is called with the
    environ.
    """

    def __init__(
        self, tracking: Tracking, *, ld_context: Callable[[WSGIEnviron], Context | None] | None = None
    ) -> None:
        self._endpoint = VoteEndpoint(services_of(tracking), ld_context=ld_context)

    def __call__(self, environ: WSGIEnviron, start_response: StartResponse) -> Iterable[bytes]:
        """Answer one request."""
        answer = self._answer(environ)
        headers = answer.headers
        if answer.status != 204:
            headers = [*headers, ("Content-Length", str(len(answer.body)))]
        start_response(f"{answer.status} {HTTPStatus(answer.status).phrase}", list(headers))
        return [] if environ["REQUEST_METHOD"] == "HEAD" else [answer.body]

    def _answer(self, environ: WSGIEnviron) -> Answer:
        method = environ["REQUEST_METHOD"]
        if environ.get("PATH_INFO", "").endswith("/widget.js"):
            self._endpoint.keep_out_of_runs()
            return widget(method)
        stated = environ.get("CONTENT_LENGTH") or ""
        length = length_of(stated)
        client = environ.get("REMOTE_ADDR", "")
        answer = self._endpoint.refuse(method, client, length)
        if answer is not None:
            return answer
        if not stated and environ.get("wsgi.input_terminated"):  # sent in chunks, and the server knows where they end
            length = MOST_BYTES + 1
        fields: Mapping[str, object] = {}
        with no_fields_if_unreadable():
            body = environ["wsgi.input"].read(length)
            if len(body) > MOST_BYTES:
                return too_long()
            fields = fields_of(environ.get("CONTENT_TYPE", ""), body)
        return self._endpoint.vote(environ, fields, client, is_multiprocess=environ.get("wsgi.multiprocess"))
