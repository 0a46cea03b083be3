"""The kinds of objects that providers' libraries return, recognised without importing these libraries."""

from __future__ import annotations

import inspect
from abc import ABCMeta
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from decimal import Decimal
from functools import lru_cache
from typing import Any

from ..records import Usage
from ..usage import Reading, parse_amount, read
from .body import MOST_PARSED, ItemReader
from .proxy import Proxy
from .stream import StreamHooks, consumes_itself

# LiteLLM's proxy sends the cost of a call, https://docs.litellm.ai/docs/proxy/response_headers.
_COST_HEADER = "x-litellm-response-cost"
# How gateways mark an answer from their cache: Cloudflare, Helicone and Portkey (HIT or SEMANTIC HIT).
_CACHE_HEADERS = ("cf-aig-cache-status", "helicone-cache", "x-portkey-cache-status")
# Where the helpers of openai and anthropic that accumulate a stream keep the response so far.
_SNAPSHOTS = ("current_completion_snapshot", "current_message_snapshot")


@lru_cache(4_096)
def is_model(kind: type) -> bool:
    """Return whether a class is a pydantic model. It is not a stream, and slow to deny that it has an attribute."""
    return hasattr(kind, "__pydantic_fields__")


def is_botocore_body(value: object) -> bool:
    """Return whether a value is a body of botocore or aiobotocore, which can be read once, from the network."""
    kind = value.__class__
    return (hasattr(kind, "iter_chunks") and hasattr(kind, "set_socket_timeout")) or _is_async_body(value)


def _is_async_body(value: object) -> bool:
    """Return whether a value is a body of aiobotocore. Before version 3, it has the class of aiohttp's response."""
    kind = type(value)
    return hasattr(kind, "iter_chunks") and hasattr(kind, "__aenter__")


def raw_response_of(response: object) -> Any:
    """Return the HTTP response that a response is, or holds unparsed; ``None`` for others."""
    raw, kind = getattr(response, "http_response", response), response.__class__
    # A body of bytes, such as openai's speech, or a response of cohere, whose old versions have no public name for it.
    if raw is response and (hasattr(kind, "iter_bytes") or hasattr(kind, "data")) and not is_http_response(raw):
        raw = getattr(response, "response", None)
        raw = getattr(response, "_response", None) if raw is None else raw
    return raw if is_http_response(raw) else None


def is_http_response(value: object) -> bool:
    """Return whether a value is a response of httpx, or of a library that is made like it, or of requests."""
    kind = value.__class__
    is_of_httpx = all(hasattr(kind, name) for name in ("iter_bytes", "aiter_bytes", "http_version"))
    return is_of_httpx or all(hasattr(kind, name) for name in ("iter_content", "iter_lines", "apparent_encoding"))


def is_unreadable_response(kind: type) -> bool:
    """Return whether objects of a class are HTTP responses whose body only the application can read, as aiohttp's."""
    return all(hasattr(kind, name) for name in ("status", "headers", "raise_for_status", "json"))


def is_sse_event(kind: type) -> bool:
    """Return whether objects of a class are decoded Server-Sent Events, as those of httpx-sse."""
    return not is_model(kind) and all(hasattr(kind, name) for name in ("retry", "event", "data"))


def has_body(http: Any) -> bool:
    """Return whether the body of an HTTP response has been read."""
    return bool(http.is_stream_consumed if hasattr(http.__class__, "iter_bytes") else http.raw.closed)


def body_of(http: Any) -> bytes | None:
    """Return the body of an HTTP response that has been read; ``None`` if the response has not kept it."""
    try:
        body: bytes = http.content
    except Exception:  # the class depends on the library
        return None
    return body


def is_stream(kind: type) -> bool:
    """Return whether objects of a class are consumed step by step: iterators, and managers of one."""
    if hasattr(kind, "__next__") or hasattr(kind, "__anext__"):
        return True
    entered = hasattr(kind, "__enter__") or hasattr(kind, "__aenter__")
    # An asynchronous iterable is never a list of something.
    iterated = hasattr(kind, "__aiter__") or (hasattr(kind, "__iter__") and hasattr(kind, "close"))
    return (entered or iterated or may_be_whole(kind)) and not hasattr(kind, "__len__")


def may_be_whole(kind: type) -> bool:
    """Return whether objects of a class are streams, or whole responses: those of the package google-generativeai.

    Such a stream keeps the response so far, and ``resolve()`` reads all of it.
    """
    return hasattr(kind, "resolve") and (hasattr(kind, "__iter__") or hasattr(kind, "__aiter__"))


def is_finished(response: object) -> bool:
    """Return whether a response has a finish reason."""
    reading = read(response)
    return reading is not None and bool(reading.finish_reasons)


def may_be_response(value: object) -> bool:
    """Return whether a value is the response of a provider, or may become it. Long texts and streams are not read."""
    if isinstance(value, BaseException):
        return False
    if isinstance(value, (str, bytes)) and len(value) > MOST_PARSED:
        return True
    return inspect.isawaitable(value) or is_http_response(value) or is_stream(type(value)) or read(value) is not None


def must_stay(kind: type) -> bool:
    """Return whether a stream cannot be replaced by a stand-in.

    Some classes decide about ``isinstance`` by themselves, such as anthropic's ``Stream``.
    """
    checks = type(kind).__instancecheck__
    return checks not in (type.__instancecheck__, ABCMeta.__instancecheck__) or consumes_itself(kind)


def reading_of_stream(reader: ItemReader, stream: object) -> Reading | None:
    """Return what was read of a stream, or of the response that a helper has accumulated from it."""
    reading = reader.reading()
    if not reader.recognised:
        reading = None
    if reading is not None and reading.usage is not None:
        return reading
    if may_be_whole(stream.__class__):
        return read(stream) or reading
    for name in _SNAPSHOTS:
        if hasattr(stream.__class__, name):
            try:
                return read(getattr(stream, name)) or reading
            except Exception:  # there is none before the first chunk
                break
    return reading


def add_billing(reading: Reading | None, headers: Mapping[str, Any]) -> Reading | None:
    """Add what a gateway says about the bill in its headers: the cost, or that its cache answered at no cost."""
    if reading is None:
        return None
    if any(str(headers.get(name)).upper().endswith("HIT") for name in _CACHE_HEADERS):
        return replace(reading, usage=Usage(0, 0, 0), cost=Decimal(0))
    cost = parse_amount(headers.get(_COST_HEADER))
    return reading if cost is None else replace(reading, cost=cost)


def add_metered(reading: Reading | None, metered: Usage | None) -> Reading | None:
    """Add the figures in the headers of an InvokeModel response to what its body leaves out."""
    if metered is None or (reading is not None and reading.usage is not None and reading.usage.total_tokens):
        return reading
    reading = reading if reading is not None else Reading()
    usage = reading.usage or Usage()
    merged = replace(
        usage,
        input_tokens=metered.input_tokens if usage.input_tokens is None else usage.input_tokens,
        output_tokens=metered.output_tokens if usage.output_tokens is None else usage.output_tokens,
    )
    if merged.output_tokens is None and not reading.has_output:  # an embedding
        merged = replace(merged, total_tokens=merged.input_tokens)
    return replace(reading, usage=merged.with_total())


def tier_of(response: Mapping[str, Any]) -> str:
    """Return the service tier in what InvokeModel returns; a lower latency has prices of its own, too."""
    latency, tier = response.get("performanceConfigLatency"), response.get("serviceTier")
    return "optimized" if latency == "optimized" else tier if isinstance(tier, str) else ""


def add_tier(reading: Reading | None, service_tier: str) -> Reading | None:
    """Add the service tier to a response that does not have it."""
    return replace(reading, service_tier=service_tier) if reading is not None and service_tier else reading


def track_body(body: Any, hooks: StreamHooks) -> object:
    """Return what reads a body in its place, and reports its bytes and its end.

    For a botocore body, it is another one of the same class. For one of aiobotocore, it is a stand-in.
    """
    return _AsyncBody(body, hooks) if _is_async_body(body) else body.__class__(_BotocoreTee(body, hooks), None)


class _AsyncBody(Proxy):
    """A stand-in for a body of aiobotocore. The methods of the body read through it."""

    def __init__(self, body: Any, hooks: StreamHooks) -> None:
        super().__init__(body)
        self._self_hooks = hooks
        self._self_is_over = False

    def __getattr__(self, name: str) -> Any:
        return self._self_bind(getattr(self.__wrapped__, name))

    async def read(self, amt: int | None = None) -> bytes:
        """Read at most so many bytes; all of them without a number."""
        data: bytes = await self._self_take(self.__wrapped__.read() if amt is None else self.__wrapped__.read(amt))
        self._self_note(data, is_end=amt is None or amt < 0 or (amt > 0 and not data))
        return data

    async def readinto(self, buffer: Any) -> int:
        """Read bytes into a buffer; return their number."""
        size: int = await self._self_take(self.__wrapped__.readinto(buffer))
        self._self_note(bytes(memoryview(buffer)[:size]), is_end=not size and len(buffer) > 0)
        return size

    def __aiter__(self) -> Any:
        return type(self.__wrapped__).__aiter__(self)

    def __anext__(self) -> Any:
        return type(self.__wrapped__).__anext__(self)

    async def __aenter__(self) -> object:
        entered = await self.__wrapped__.__aenter__()
        return self if entered is self.__wrapped__ else _AsyncBody(entered, self._self_hooks)

    async def __aexit__(self, *exc_info: object) -> object:
        try:
            return await self.__wrapped__.__aexit__(*exc_info)
        finally:
            self._self_hooks.on_end(GeneratorExit())

    def close(self) -> object:
        """Close the body."""
        self._self_hooks.on_end(GeneratorExit())
        return self.__wrapped__.close()

    def _self_wrap(self, other: object) -> object:
        return _AsyncBody(other, self._self_hooks)

    async def _self_take(self, step: Awaitable[Any]) -> Any:
        try:
            return await step
        except BaseException as exc:
            self._self_hooks.on_end(exc)
            raise

    def _self_note(self, data: bytes, *, is_end: bool) -> None:
        if data and not self._self_is_over:  # aiohttp returns the same bytes again
            self._self_hooks.on_item(data)
        if is_end:
            self._self_is_over = True
            self._self_hooks.on_end(None)


class _BotocoreTee:
    """The raw stream of a botocore body, read as its bytes pass."""

    def __init__(self, body: Any, hooks: StreamHooks) -> None:
        self._body = body
        self._hooks = hooks

    def __getattr__(self, name: str) -> Any:
        return getattr(self._body, name)

    def read(self, amt: int | None = None, *more: Any) -> bytes:
        data: bytes = self._take(self._body.read, amt, *more)
        self._note(data, is_end=amt is None or amt < 0 or (amt > 0 and not data))
        return data

    def readinto(self, buffer: Any) -> int:
        size: int = self._take(self._body.readinto, buffer)
        self._note(bytes(memoryview(buffer)[:size]), is_end=not size and len(buffer) > 0)
        return size

    def readlines(self, *hint: object) -> list[bytes]:
        lines: list[bytes] = self._take(self._body.readlines, *hint)
        self._note(b"".join(lines), is_end=True)
        return lines

    def close(self) -> None:
        self._take(self._body.close)
        self._hooks.on_end(GeneratorExit())

    def _take(self, step: Callable[..., Any], *args: object) -> Any:
        try:
            return step(*args)
        except BaseException as exc:
            self._hooks.on_end(exc)
            raise

    def _note(self, data: bytes, *, is_end: bool) -> None:
        if data:
            self._hooks.on_item(data)
        if is_end:
            self._hooks.on_end(None)
