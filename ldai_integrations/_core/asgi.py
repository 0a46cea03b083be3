"""ASGI requests inside frames; shared by the doors of ASGI frameworks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from .current import FRAME_KEY, bind, unbind, within
from .lifespan import serve_lifespan
from .tail import aflush_after

if TYPE_CHECKING:
    from ..typing import ASGIApp, Message, Receive, Scope, Send
    from .door import Door
    from .offer import Offer
    from .run import Run

_REQUESTS = ("http", "websocket")


class Served:
    """Serve an ASGI application in a frame for each request, and finish what is still open when it is done.

    Args:
        app: The application.
        door: Whose frames and runs.
    """

    def __init__(self, app: ASGIApp, door: Door) -> None:
        self.app = app
        self._door = door

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, websocket or lifespan."""
        kind = scope.get("type")
        if kind not in _REQUESTS:
            return await self._serve_other(scope, receive, send)
        door = self._door
        frame, outermost = scope.get(FRAME_KEY), False
        if frame is None or frame.tracking is not door.tracking:
            frame, outermost = door.frame(scope), True
            scope[FRAME_KEY] = frame
            if frame.offer is not None and kind == "http":
                send = _offering(frame.offer, door, scope, send)
        run = door.open_run(frame, scope) if door.opens_runs and kind == "http" else None
        if run is not None:
            exchange = Exchange(run, receive, send)
            receive, send = exchange.receive, exchange.send
            token = bind(run)
        else:
            token = bind(frame if outermost else within(frame))
        try:
            # Nothing is what an application should return; what it does return is for the server to judge.
            return await self.app(scope, receive, send)
        except BaseException as exc:
            if run is not None:
                run.end(exc)
            raise
        finally:
            unbind(token)
            if outermost:
                scope.pop(FRAME_KEY, None)
                frame.close()
                if frame.had_runs:
                    await aflush_after(frame)

    async def _serve_other(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope.get("type") == "lifespan":
            return await serve_lifespan(self.app, self._door.tracking, scope, receive, send)
        return await self.app(scope, receive, send)  # what is no ASGI scope is for the application to judge


def _offering(offer: Offer, door: Door, scope: Scope, send: Send) -> Send:
    """Add the feedback token to what is sent: a header to the head, an event to the last bytes of a stream."""

    async def offered(message: Message) -> None:
        with door.tracking.diagnostics.guard("feedback offer", message["type"]):
            if message["type"] == "http.response.start":
                added = offer.begin(message["status"], _named(message), head=scope.get("method") == "HEAD")
                if added:
                    encoded = [(name.lower().encode(), value.encode()) for name, value in added.items()]
                    message = {**message, "headers": [*message.get("headers", ()), *encoded]}
            elif message["type"] == "http.response.body" and offer.streams:
                offer.passed(message.get("body", b""))
                if not message.get("more_body"):
                    message = {**message, "body": message.get("body", b"") + offer.last_event()}
        await send(message)

    return offered


def _named(message: Message) -> dict[str, str]:
    """Return the headers of a response by their names in lower case."""
    return {
        bytes(name).lower().decode("latin-1"): bytes(value).decode("latin-1")
        for name, value in message.get("headers", ())
    }


class Exchange:
    """Watch the messages of one HTTP request for its run; pass every one on unchanged."""

    __slots__ = ("_complete", "_receive", "_run", "_send", "_streaming")

    def __init__(self, run: Run, receive: Receive, send: Send) -> None:
        self._run = run
        self._receive = receive
        self._send = send
        self._streaming = False
        self._complete = False

    async def receive(self) -> Message:
        """Receive, and notice a client that left before the last byte."""
        message = await self._receive()
        if message["type"] == "http.disconnect" and not (self._complete or self._run.finished):
            self._run.evidence.cancelled = True
        return message

    async def send(self, message: Message) -> None:
        """Send, and finish the run with the last byte: background tasks come after it."""
        if isinstance(message.get("headers"), Iterator):  # which only one of us could read
            message = {**message, "headers": [*message["headers"]]}
        with self._run.frame.tracking.diagnostics.guard("response", self._run.config_key):
            self._watch(message)
        kind = message["type"]
        # Set before the last byte is passed on: Hypercorn tells of a disconnect, and so gets us cancelled, meanwhile.
        self._complete = kind == "http.response.pathsend" or (
            kind == "http.response.body" and not message.get("more_body")
        )
        try:
            await self._send(message)
        except OSError:
            self._run.evidence.cancelled = True
            raise
        except Exception as exc:
            self._run.fail(exc)
            raise
        finally:
            if self._complete:
                self._run.finish()

    def _watch(self, message: Message) -> None:
        evidence, kind = self._run.evidence, message["type"]
        if kind == "http.response.start":
            headers = {bytes(name).lower(): bytes(value) for name, value in message.get("headers", ())}
            evidence.responded(
                message["status"],
                headers.get(b"content-type", b"text/plain").decode("latin-1"),
                whole=b"content-length" in headers,
                compressed=headers.get(b"content-encoding", b"identity") != b"identity",
            )
        elif kind == "http.response.body":
            more = message.get("more_body", False)
            evidence.whole = evidence.whole or not (more or self._streaming)
            self._streaming = self._streaming or more
            if message.get("body"):
                evidence.put_out(message["body"])
