"""Read request bodies that an SDK sent: bounded, unzipped, never answered with 413.

A 413 would make the SDK drop its events for the life of the process, so a body that is too large gets no answer at all.
"""

from __future__ import annotations

import asyncio
import zlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from starlette.requests import Request

# Generous: 10,000 events of an SDK's full buffer are about 5 MB.
MAX_BYTES = 32 * 2**20


class BodyTooLargeError(Exception):
    """Say that a body is over the limit, zipped or not."""


class BodyUnreadableError(ValueError):
    """Say that a body is not encoded as its header says."""


async def read_body(request: Request, *, limit: int = MAX_BYTES) -> bytes:
    """Read a body and unzip it, off the event loop.

    Args:
        request: The request.
        limit: Most bytes to take, both as sent and unzipped.

    Raises:
        BodyTooLargeError: There are more.
        BodyUnreadableError: It cannot be unzipped.
        starlette.requests.ClientDisconnect: The client went away.
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
    except zlib.error as error:
        raise BodyUnreadableError("the body is not gzip") from error
    if len(plain) > limit:
        raise BodyTooLargeError
    if not gzip.eof:
        raise BodyUnreadableError("the gzip body is cut short")
    return plain
