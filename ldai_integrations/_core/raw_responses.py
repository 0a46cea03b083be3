"""HTTP responses that a provider's library hands out unparsed, read as their bytes pass."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

Feed = Callable[[Any], object]


def http_response_of(response: Any) -> Any:
    """Return the httpx response inside of a raw response of ``openai`` or ``anthropic``; ``None`` if it is none."""
    http = getattr(response, "http_response", None)
    return http if hasattr(type(http), "iter_bytes") and hasattr(type(http), "aiter_bytes") else None


def content_type_of(http: Any) -> str | None:
    """Return the media type of a response."""
    value = http.headers.get("content-type")
    return value if isinstance(value, str) else None


def tee(http: Any, feed: Feed) -> None:
    """Have ``feed`` take the decoded bytes of a response, now if they are there, else as they are read.

    Everything that reads a response goes through its ``iter_bytes`` or ``aiter_bytes``: ``read``, ``json``, lines,
    text and the provider's own stream of events. They are replaced on this one response.
    """
    if http.is_stream_consumed:
        feed(http.content)
        return
    iter_bytes, aiter_bytes = http.iter_bytes, http.aiter_bytes

    def passing(chunk_size: int | None = None) -> Iterator[bytes]:
        chunks = iter_bytes(chunk_size)
        try:
            for chunk in chunks:
                feed(chunk)
                yield chunk
        finally:
            chunks.close()

    async def apassing(chunk_size: int | None = None) -> AsyncIterator[bytes]:
        chunks = aiter_bytes(chunk_size)
        try:
            async for chunk in chunks:
                feed(chunk)
                yield chunk
        finally:
            await chunks.aclose()

    http.iter_bytes, http.aiter_bytes = passing, apassing
