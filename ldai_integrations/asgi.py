"""Middleware for any ASGI application, and an endpoint for votes. No framework is imported."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from ldclient import Context

from ._launchdarkly.configs import AIConfigDefault
from ._run.background import call_off_loop
from ._run.context import SCOPE_KEY, RequestScope, bind, innermost, unbind
from ._run.middleware import RequestTracking, VoteEndpoint
from ._run.state import RunState
from ._run.vote_token import VoteToken
from .feedback import MOST_BYTES, Answer, fields_of, length_of, too_long, widget
from .records import Mode
from .tracking import Tracking, process_tracking, services_of
from .typing import ASGIApp, Message, Receive, Scope, Send
from .usage import warm_up
from .visitors import Visitor, Visitors

__all__ = ["ASGIFeedback", "ASGITrackingMiddleware"]

_REQUESTS = ("http", "websocket")


class ASGITrackingMiddleware:
    """Middleware that gives each request an LD context for its runs, or tracks each request as a run.

    ::

        app.add_middleware(ASGITrackingMiddleware, tracking=tracking, ld_context=context_of_scope)
        app.add_middleware(ASGITrackingMiddleware, tracking=tracking, config_key="support-bot")

    Without ``config_key``, only decorated code opens runs, and other routes cost next to nothing. With it, an existing
    application is tracked without changes: a request is a run if a provider call is seen in it, or if its response is
    in the format of a known provider. The run ends with the last byte of the body. Pages, assets and health checks are
    not reported. If ``config_key`` is a function, each request for which it returns a key is a run.
    Events are flushed before the shutdown of the application completes.

    Args:
        app: The ASGI application.
        tracking: The application's :class:`~ldai_integrations.Tracking`; without one, that of the process.
        config_key: The key of the AI Config of every request, or a callable from the scope to a key or ``None``. A
            request for which a callable returns a key is a run, whether a provider call is seen in it or not.
        mode: ``"completion"`` or ``"agent"``. Like the next two, it needs a ``config_key``.
        default: Used if LaunchDarkly has no usable variation.
        variables: Values for the prompt's ``{{variables}}``: a mapping, or a callable that is called with the scope.
        ld_context: Called with the scope when a run first needs the LD context of the request.

    Raises:
        ConfigurationError: If a value cannot work.
        TrackingNotConfiguredError: If no tracking is given and none can be created.
    """

    def __init__(
        self,
        app: ASGIApp,
        tracking: Tracking | None = None,
        *,
        config_key: str | Callable[[Scope], str | None] | None = None,
        mode: Mode = "completion",
        default: AIConfigDefault | None = None,
        variables: Mapping[str, Any] | Callable[[Scope], Mapping[str, Any]] | None = None,
        ld_context: Callable[[Scope], Context | None] | None = None,
    ) -> None:
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

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, websocket or lifespan."""
        kind = scope.get("type")
        if kind not in _REQUESTS:
            return await self._serve_other(scope, receive, send)
        requests = self._requests
        if not requests.services.start.is_over:
            await requests.services.start.await_end()
        tracked, is_outermost = scope.get(SCOPE_KEY), False
        if not isinstance(tracked, RequestScope) or tracked.services is not requests.services:
            visitor = _visitor(requests.visitors, scope) if requests.visitors is not None else None
            tracked, is_outermost = requests.scope(scope, visitor), True
            tracked.is_connection = kind == "websocket"
            scope[SCOPE_KEY] = tracked
            if kind == "http":
                send = _send_with_headers(tracked, scope, send)
        run = requests.open_run(tracked, scope) if kind == "http" else None
        if run is not None:
            exchange = _Exchange(run, receive, send)
            receive, send = exchange.receive, exchange.send
        token = bind(run or innermost(tracked))
        try:
            # An application should return nothing. If it does return something, the server decides about it.
            return await self.app(scope, receive, send)
        except BaseException as exc:
            if run is not None:
                await run.settle(exc)
                run.end(exc)
            raise
        finally:
            unbind(token)
            if is_outermost:
                scope.pop(SCOPE_KEY, None)
                requests.check_handler(scope.get("endpoint"))
                tracked.close()
                if tracked.had_runs:
                    await requests.services.flushing.aflush_after_request()

    async def _serve_other(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a lifespan: connect first, and flush when the application has shut down, before the server knows."""
        if scope.get("type") != "lifespan":
            return await self.app(scope, receive, send)
        services = self._requests.services
        flushing = services.flushing
        with services.diagnostics.guard("start", "lifespan"):
            # A server may have forked after the import. Here, neither the restart nor a thread delays a request.
            flushing.ensure_started()
            flushing.worker.start()
            await services.start.await_end()
            # tiktoken holds Python's global lock while it loads an encoding. Here no request has to wait for it.
            await call_off_loop(lambda: warm_up(timeout=services.settings.start_wait))

        async def send_after_flush(message: Message) -> None:
            if message["type"] in ("lifespan.shutdown.complete", "lifespan.shutdown.failed"):
                await flushing.aflush_at_shutdown()
            await send(message)

        return await self.app(scope, receive, send_after_flush)


class _Exchange:
    """The messages of one HTTP request, read for its run and passed on unchanged."""

    __slots__ = ("_is_complete", "_is_streaming", "_receive", "_run", "_send")

    def __init__(self, run: RunState, receive: Receive, send: Send) -> None:
        self._run = run
        self._receive = receive
        self._send = send
        self._is_streaming = False
        self._is_complete = False

    async def receive(self) -> Message:
        """Receive a message, and notice a client that disconnects before the last byte."""
        message = await self._receive()
        if message["type"] == "http.disconnect" and not (self._is_complete or self._run.finished):
            self._run.is_cancelled = True
        return message

    async def send(self, message: Message) -> None:
        """Send a message. The last byte of the body ends the run: background tasks come after it."""
        run, kind = self._run, message["type"]
        if isinstance(message.get("headers"), Iterator):  # which can be read only once
            message = {**message, "headers": [*message["headers"]]}
        with run.services.diagnostics.guard("response", run.config_key):
            self._read(message)
        is_complete = kind == "http.response.pathsend" or (
            kind in ("http.response.body", "http.response.zerocopysend") and not message.get("more_body")
        )
        if is_complete:
            await run.settle()
            if run.parent is not None:
                run.end()  # before the run of an outer middleware, which reads the same body
        # Set before the last byte is passed on: meanwhile Hypercorn reports a disconnect and cancels the request.
        self._is_complete = is_complete
        try:
            await self._send(message)
        except OSError:
            run.is_cancelled = True
            raise
        except Exception as exc:
            run.fail(exc)
            raise
        finally:
            if is_complete:
                run.end()

    def _read(self, message: Message) -> None:
        output = self._run.output
        if message["type"] == "http.response.start":
            headers = _lower_names(message)
            output.respond(
                message["status"],
                headers.get("content-type", "text/plain"),
                content_encoding=headers.get("content-encoding", ""),
                is_whole="content-length" in headers,
            )
        elif message["type"] == "http.response.body":
            more = message.get("more_body", False)
            output.is_whole = output.is_whole or not (more or self._is_streaming)
            self._is_streaming = self._is_streaming or more
            if message.get("body"):
                output.add(message["body"])


def _send_with_headers(tracked: RequestScope, scope: Scope, send: Send) -> Send:
    """Return a ``send`` that adds what the response needs: the cookie of a new visitor, and a feedback token."""
    if tracked.visitor is not None and tracked.visitor.cookie:
        send = _send_with_cookie(tracked, send)
    if tracked.vote_token is not None:
        send = _send_with_token(tracked, tracked.vote_token, scope, send)
    return send


def _send_with_token(tracked: RequestScope, vote_token: VoteToken, scope: Scope, send: Send) -> Send:
    """Return a ``send`` that adds the feedback token: a header, or an event at the end of a stream."""

    async def send_with_token(message: Message) -> None:
        with tracked.services.diagnostics.guard("feedback token", message["type"]):
            if message["type"] == "http.response.start":
                added = vote_token.begin(message["status"], _lower_names(message), head=scope.get("method") == "HEAD")
                if added:
                    encoded = [(name.lower().encode(), value.encode()) for name, value in added.items()]
                    message = {**message, "headers": [*message.get("headers", ()), *encoded]}
            elif message["type"] == "http.response.body" and vote_token.streams:
                body = bytes(message.get("body", b""))  # servers take a bytearray or a memoryview, too
                vote_token.pass_on(body)
                if not message.get("more_body"):
                    message = {**message, "body": body + vote_token.last_event()}
        await send(message)

    return send_with_token


def _visitor(visitors: Visitors, scope: Scope) -> Visitor:
    cookies = "; ".join(value.decode("latin-1") for name, value in scope["headers"] if name.lower() == b"cookie")
    return visitors.recognize(cookies, is_https=scope.get("scheme") in ("https", "wss"))


def _send_with_cookie(tracked: RequestScope, send: Send) -> Send:
    """Return a ``send`` that sets the cookie of a new visitor, if a run needs one."""

    async def send_with_cookie(message: Message) -> None:
        if message["type"] == "http.response.start":
            with tracked.services.diagnostics.guard("visitor", message["type"]):
                message = {**message, "headers": [*message.get("headers", ())]}
                named = _lower_names(message)
                cookie = tracked.new_cookie(named, is_whole="content-length" in named)
                if cookie:
                    message["headers"].append((b"set-cookie", cookie.encode()))
        await send(message)

    return send_with_cookie


def _lower_names(message: Message) -> dict[str, str]:
    """Return the headers of a message by their names in lower case."""
    headers = message.get("headers", ())
    return {bytes(name).lower().decode("latin-1"): bytes(value).decode("latin-1") for name, value in headers}


class ASGIFeedback:
    """An ASGI application that takes votes and serves the widget.

    ``POST`` a JSON object or a form with ``token`` and ``kind`` (``"positive"`` or ``"negative"``) to it. Every path
    that ends in ``/widget.js`` is the widget.

    Args:
        tracking: The application's :class:`~ldai_integrations.Tracking`, with ``Settings.feedback``.
        ld_context: Called with the scope, returns the LD context of the voter. Without it, the LD context that the
            middleware determined for the request is used.

    Raises:
        ConfigurationError: If the settings have no feedback, there is no secret, or ``ld_context`` cannot work.
    """

    def __init__(self, tracking: Tracking, *, ld_context: Callable[[Scope], Context | None] | None = None) -> None:
        self._endpoint = VoteEndpoint(services_of(tracking), ld_context=ld_context)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            raise RuntimeError(
                f"The feedback endpoint serves HTTP only, not {scope['type']!r}; mount it in an application"
            )
        answer = await self._answer(scope, receive)
        if answer is None:
            return
        headers = [(name.lower().encode(), value.encode()) for name, value in answer.headers]
        if answer.status != 204:
            headers.append((b"content-length", str(len(answer.body)).encode()))
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else answer.body})

    async def _answer(self, scope: Scope, receive: Receive) -> Answer | None:
        """Return the answer; ``None`` if the client has disconnected."""
        if scope["path"].endswith("/widget.js"):
            self._endpoint.keep_out_of_runs()
            return widget(scope["method"])
        headers = {name.lower(): value.decode("latin-1") for name, value in scope["headers"]}
        client = scope["client"][0] if scope.get("client") else ""
        length = length_of(headers.get(b"content-length", ""))
        answer = self._endpoint.refuse(scope["method"], client, length)
        if answer is not None:
            return answer
        body, more = b"", True
        while more and len(body) <= MOST_BYTES:
            message = await receive()
            if message["type"] != "http.request":
                return None
            body += message.get("body", b"")
            more = message.get("more_body", False)
        if len(body) > MOST_BYTES:
            return too_long()
        return await self._endpoint.avote(scope, fields_of(headers.get(b"content-type", ""), body), client)
