"""The parts of HTTP that all endpoints share: errors, request bodies, and two middlewares."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import io
import ipaddress
import zlib
from collections.abc import AsyncIterator, Callable, Mapping
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse, Response, StreamingResponse

from .._http import split_address

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

# 10,000 events, which is the default capacity of an SDK's buffer, take about 5 MB.
MAX_BYTES = 32 * 2**20
# A body of this size is always read. It holds a batch of an SDK, also while other clients send large bodies.
SMALL_BYTES = 2**20
# All bodies that are being read may hold this much together, beyond the small part of each.
MAX_HELD_BYTES = 4 * MAX_BYTES
# A gzip body may have many members, each of which takes time, even an empty one.
MAX_GZIP_MEMBERS = 1000
# Each member begins with these bytes, which are rare elsewhere.
_GZIP_START = b"\x1f\x8b\x08"

_SECURITY_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self';"
    " connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none';"
    " require-trusted-types-for 'script'; trusted-types 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}


class Error(BaseModel):
    """An error in LaunchDarkly's format."""

    code: str
    message: str


#: How routers describe the answers with an error.
ERRORS: dict[int | str, dict[str, Any]] = {"default": {"model": Error, "description": "An error"}}


def error(status: int, message: str) -> JSONResponse:
    """Return an error in LaunchDarkly's format."""
    code = "invalid_request" if status == 400 else HTTPStatus(status).phrase.lower().replace(" ", "_")
    return JSONResponse({"code": code, "message": message}, status_code=status)


def describe_body(schema: Mapping[str, object]) -> dict[str, Any]:
    """Return the description of a JSON body that an endpoint reads itself."""
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


class EventStream(StreamingResponse):
    """A response of server-sent events."""

    media_type = "text/event-stream"


class HangUp(Response):
    """A response that closes the connection instead of answering.

    Args:
        abort: Closes the connection of a client, given the client's address.
    """

    def __init__(self, abort: Callable[[object], None]) -> None:
        super().__init__()
        self._abort = abort

    async def __call__(self, scope: Scope, receive: Receive, _send: Send) -> None:
        """Close the connection, and wait until it is closed."""
        self._abort(scope["client"])
        while (await receive())["type"] != "http.disconnect":
            pass


class BodyTooLargeError(Exception):
    """A body that is too large, compressed or decompressed, or for which other large bodies leave no memory.

    Do not answer 413: an SDK then drops its events until its process ends. Close the connection instead.
    """


class Bodies:
    """The request bodies that the server reads, which share a limited memory."""

    def __init__(self) -> None:
        self._held = 0
        self._turn = asyncio.Lock()

    @contextlib.asynccontextmanager
    async def read(self, request: Request, *, limit: int) -> AsyncIterator[bytes]:
        """Read a body, decompress it in a worker thread, and yield it. Only one body at a time gets so far.

        Args:
            request: The request.
            limit: The maximum number of bytes, both compressed and decompressed.

        Raises:
            BodyTooLargeError: The body is larger, or all large bodies together are.
            ValueError: The body cannot be decompressed.
            starlette.requests.ClientDisconnect: The client closed the connection.
        """
        body, held = bytearray(), 0
        try:
            async for chunk in request.stream():
                body += chunk
                more = max(0, len(body) - SMALL_BYTES) - held
                held, self._held = held + more, self._held + more
                if len(body) > limit or self._held > MAX_HELD_BYTES:
                    raise BodyTooLargeError
            async with self._turn:
                yield await asyncio.to_thread(_decode, body, request.headers.get("content-encoding", ""), limit)
        finally:
            self._held -= held


def _decode(body: bytearray, encoding: str, limit: int) -> bytes:
    if encoding.lower() in ("", "identity"):
        return bytes(body)
    if encoding.lower() != "gzip":
        raise ValueError(f"Content-Encoding {encoding[:40]!r} is not supported, only gzip is")
    if body.count(_GZIP_START) > MAX_GZIP_MEMBERS:
        raise ValueError(f"the gzip body has more than {MAX_GZIP_MEMBERS:,} members")
    try:
        plain = gzip.GzipFile(fileobj=io.BytesIO(body)).read(limit + 1)
    except (gzip.BadGzipFile, zlib.error) as failure:
        raise ValueError("the body, or its end, is not gzip") from failure
    except EOFError as failure:
        raise ValueError("the gzip body is incomplete") from failure
    if len(plain) > limit:
        raise BodyTooLargeError
    return plain


class LoopbackGuard:
    """A middleware that refuses requests that a foreign web page may have caused.

    If a page uses DNS rebinding, the Host header has its name. If a page sends requests to another origin, the Origin
    header has its origin.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer 403."""
        headers = Headers(scope=scope)
        host, origins = headers.get("host", ""), headers.getlist("origin")
        if not is_loopback(host):
            refusal = "This server accepts loopback names only: open it as http://127.0.0.1 with its port."
        elif origins not in ([], [f"http://{host}"]):
            refusal = "This server accepts requests of its own pages only: the Origin header names another origin."
        else:
            await self.app(scope, receive, send)
            return
        await error(403, refusal)(scope, receive, send)


def is_loopback(netloc: str) -> bool:
    """Return whether ``host`` or ``host:port`` is a loopback name or address."""
    parts = split_address(f"http://{netloc}")
    if parts is None or parts.hostname is None or parts.netloc != netloc or parts.username is not None:
        return False
    if parts.hostname == "localhost":
        return True
    try:
        return ipaddress.ip_address(parts.hostname).is_loopback
    except ValueError:
        return False


class SecurityHeaders:
    """A middleware that lets browsers run the page's own scripts only, and check whether files have changed."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, and add headers to the response."""

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(_SECURITY_HEADERS)
                headers.setdefault("Cache-Control", "no-cache")
            await send(message)

        await self.app(scope, receive, send_with_headers)
