"""The parts of HTTP that all endpoints share: errors, request bodies, query numbers, and two middlewares."""

from __future__ import annotations

import asyncio
import ipaddress
import zlib
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse, Response

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

# 10,000 events, which is the default capacity of an SDK's buffer, take about 5 MB.
MAX_BYTES = 32 * 2**20

_SECURITY_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self';"
    " connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none';"
    " require-trusted-types-for 'script'; trusted-types 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}


def error(status: int, code: str, message: str) -> JSONResponse:
    """Return an error in LaunchDarkly's format."""
    return JSONResponse({"code": code, "message": message}, status_code=status)


class HangUp(Response):
    """A response that closes the connection instead of answering."""

    def __init__(self, abort: Callable[[object], None]) -> None:
        """Prepare the response.

        Args:
            abort: Closes the connection of a client, given the client's address.
        """
        super().__init__()
        self._abort = abort

    async def __call__(self, scope: Scope, receive: Receive, _send: Send) -> None:
        """Close the connection, and wait until it is closed."""
        self._abort(scope["client"])
        while (await receive())["type"] != "http.disconnect":
            pass


class BodyTooLargeError(Exception):
    """A body over the limit, compressed or decompressed.

    Do not answer 413: an SDK then drops its events until its process ends. Close the connection instead.
    """


class BodyUnreadableError(ValueError):
    """A body that does not have the encoding that its header names."""


async def read_body(request: Request, *, limit: int = MAX_BYTES) -> bytes:
    """Read a body; a worker thread decompresses it.

    Args:
        request: The request.
        limit: The maximum number of bytes, both compressed and decompressed.

    Raises:
        BodyTooLargeError: The body is larger.
        BodyUnreadableError: The body cannot be decompressed.
        starlette.requests.ClientDisconnect: The client closed the connection.
    """
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > limit:
            raise BodyTooLargeError
    encoding = request.headers.get("content-encoding", "identity").lower()
    if encoding == "identity":
        return bytes(body)
    if encoding != "gzip":
        raise BodyUnreadableError(f"Content-Encoding {encoding[:40]!r} is not supported, only gzip is")
    return await asyncio.to_thread(_gunzip, bytes(body), limit)


def _gunzip(body: bytes, limit: int) -> bytes:
    gzip = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
    try:
        plain = gzip.decompress(body, limit + 1)
    except zlib.error as failure:
        raise BodyUnreadableError("the body is not gzip") from failure
    if len(plain) > limit:
        raise BodyTooLargeError
    if not gzip.eof:
        raise BodyUnreadableError("the gzip body is incomplete")
    return plain


def read_number(query: Mapping[str, str], name: str, default: int, *, least: int = 1, most: int) -> int:
    """Return a number from a query.

    Raises:
        ValueError: It is not a whole number, or out of range.
    """
    text = query.get(name, str(default))
    if not text.isdecimal() or not least <= int(text[:20]) <= most:
        raise ValueError(f"{name} must be a whole number from {least} to {most}")
    return int(text)


class LoopbackGuard:
    """A middleware that refuses requests that a foreign web page may have caused.

    If a page uses DNS rebinding, the Host header has its name. If a page sends requests to another origin, the Origin
    header has its origin.
    """

    def __init__(self, app: ASGIApp) -> None:
        """Wrap an application.

        Args:
            app: The application to protect.
        """
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer 403."""
        headers = Headers(scope=scope)
        host, origin = headers.get("host", ""), headers.get("origin")
        if not is_loopback(host):
            refusal = "This server accepts loopback names only: open it as http://127.0.0.1 with its port."
        elif origin is not None and origin != f"http://{host}":
            refusal = "This server accepts requests of its own pages only: the Origin header names another origin."
        else:
            await self.app(scope, receive, send)
            return
        await error(403, "forbidden", refusal)(scope, receive, send)


def is_loopback(netloc: str) -> bool:
    """Return whether ``host`` or ``host:port`` is a loopback name or address."""
    try:
        parts = urlsplit(f"//{netloc}")
        _ = parts.port
    except ValueError:
        return False
    if parts.hostname is None or parts.netloc != netloc or parts.username is not None:
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
        """Wrap an application.

        Args:
            app: The application whose responses get the headers.
        """
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
