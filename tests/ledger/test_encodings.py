"""Compressed responses: of the provider, and those that a middleware reads."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from starlette.responses import Response, StreamingResponse
from starlette.testclient import TestClient
from werkzeug.test import Client

from ldai_integrations import track_ai, wrap_client
from ldai_integrations.asgi import ASGITrackingMiddleware
from ldai_integrations.testing import OfflineLaunchDarkly, RecordingSink
from ldai_integrations.wsgi import WSGITrackingMiddleware

from .provider import IN, OUT, Provider

ASK: list[Any] = [{"role": "user", "content": "Hi"}]
USAGE = {"prompt_tokens": IN, "completion_tokens": OUT, "total_tokens": IN + OUT}
WHOLE = {
    "id": "c1",
    "object": "chat.completion",
    "model": "m",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hi"}, "finish_reason": "stop"}],
    "usage": USAGE,
}
CHUNKS: list[dict[str, Any]] = [
    {"id": "c1", "object": "chat.completion.chunk", "choices": [{"index": 0, "delta": {"content": "Hi"}}]},
    {"id": "c1", "object": "chat.completion.chunk", "choices": [], "usage": USAGE},
]


def compress(encoding: str, parts: list[bytes]) -> list[bytes]:
    """Compress the parts of a body one by one; other encodings than gzip and deflate are left out."""
    if encoding not in ("gzip", "deflate", "raw deflate"):
        return parts
    packer = zlib.compressobj(wbits={"gzip": 31, "deflate": 15, "raw deflate": -15}[encoding])
    return [*(packer.compress(part) + packer.flush(zlib.Z_SYNC_FLUSH) for part in parts), packer.flush()]


def serve_asgi(body: list[bytes], headers: dict[str, str], launchdarkly: OfflineLaunchDarkly) -> None:
    """Request a body through the ASGI middleware."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        async def parts() -> Any:
            for part in body:
                yield part

        response = Response(body[0], headers=headers) if len(body) == 1 else StreamingResponse(parts(), headers=headers)
        await response(scope, receive, send)

    served: Any = ASGITrackingMiddleware(app, launchdarkly.tracking, config_key="chat")
    with TestClient(served).stream("GET", "/") as response:
        for _part in response.iter_raw():
            pass


def serve_wsgi(body: list[bytes], headers: dict[str, str], launchdarkly: OfflineLaunchDarkly) -> None:
    """Request a body through the WSGI middleware."""

    def app(_environ: Any, start_response: Any) -> Any:
        start_response("200 OK", list(headers.items()))
        return body if len(body) == 1 else (part for part in body)

    Client(WSGITrackingMiddleware(app, launchdarkly.tracking, config_key="chat")).get("/", buffered=True)


@pytest.mark.parametrize("serve", [serve_asgi, serve_wsgi])
@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("encoding", ["gzip", "deflate", "raw deflate", "identity"])
def test_bodies_are_decoded(
    encoding: str,
    streamed: bool,
    serve: Callable[..., None],
    launchdarkly: OfflineLaunchDarkly,
    runs: RecordingSink,
) -> None:
    """A middleware reads compressed bodies, whole and streamed."""
    if streamed:
        body = compress(encoding, [f"data: {json.dumps(chunk)}\n\n".encode() for chunk in CHUNKS])
    else:
        body = [b"".join(compress(encoding, [json.dumps(WHOLE).encode()]))]
    kind = "text/event-stream" if streamed else "application/json"
    serve(body, {"content-type": kind, "content-encoding": encoding.removeprefix("raw ")}, launchdarkly)
    record = runs.wait()[0]
    assert record.usage is not None
    assert (record.usage.input_tokens, record.usage.output_tokens) == (IN, OUT)
    assert record.usage.source == "provider"


@pytest.mark.parametrize("serve", [serve_asgi, serve_wsgi])
@pytest.mark.parametrize("streamed", [False, True])
def test_pages_with_br(
    streamed: bool, serve: Callable[..., None], launchdarkly: OfflineLaunchDarkly, runs: RecordingSink
) -> None:
    """A request without a provider call whose body cannot be read is no generation, and a diagnostic says so."""
    kind = "text/event-stream" if streamed else "application/json"
    body = [b"\x0b\x02\x80", b"Hi\x03"] if streamed else [b"\x0b\x02\x80Hi\x03"]
    serve(body, {"content-type": kind, "content-encoding": "br"}, launchdarkly)
    record = runs.wait()[0]
    assert (record.outcome, record.usage) == ("discarded", None)
    assert launchdarkly.tracking.stats().diagnostics == {"encoding": 1}


@pytest.mark.parametrize("serve", [serve_asgi, serve_wsgi])
@pytest.mark.parametrize("encoding", ["gzip", "identity"])
def test_a_long_document(
    encoding: str, serve: Callable[..., None], launchdarkly: OfflineLaunchDarkly, runs: RecordingSink
) -> None:
    """A JSON document over the limit, such as many embeddings, is not read, and a diagnostic says so."""
    vector = [position / 7 for position in range(60_000)]
    answer = {"data": [{"index": 0, "embedding": vector}], "usage": {"prompt_tokens": IN, "total_tokens": IN}}
    body = compress(encoding, [json.dumps(answer).encode()])
    serve([b"".join(body)], {"content-type": "application/json", "content-encoding": encoding}, launchdarkly)
    record = runs.wait()[0]
    assert (record.outcome, record.usage) == ("discarded", None)
    assert launchdarkly.tracking.stats().diagnostics == {"too_long": 1}


def test_a_decorated_handler_with_br(launchdarkly: OfflineLaunchDarkly, runs: RecordingSink) -> None:
    """The usage in the response of a decorated handler with br is unknown, and a diagnostic says so."""

    @track_ai(config_key="chat")
    def handler() -> StreamingResponse:
        parts: Iterator[bytes] = iter([b"\x0b\x02\x80", b"Hi\x03"])
        headers = {"content-encoding": "br"}
        return StreamingResponse(parts, media_type="text/event-stream", headers=headers)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await handler()(scope, receive, send)

    served: Any = ASGITrackingMiddleware(app, launchdarkly.tracking)
    with TestClient(served).stream("GET", "/") as response:
        list(response.iter_raw())
    record = runs.wait()[0]
    assert (record.outcome, record.usage) == ("success", None)
    assert launchdarkly.tracking.stats().diagnostics == {"encoding": 1}


def read_chat(openai: Any, anthropic: Any) -> None:
    """Read a stream of OpenAI."""
    list(openai.chat.completions.create(model="m", messages=ASK, stream=True, stream_options={"include_usage": True}))


def read_raw(openai: Any, anthropic: Any) -> None:
    """Read the lines of a raw response of OpenAI."""
    options = {"stream": True, "stream_options": {"include_usage": True}}
    with openai.chat.completions.with_streaming_response.create(model="m", messages=ASK, **options) as response:
        list(response.iter_lines())


def read_raw_whole(openai: Any, anthropic: Any) -> None:
    """Read a raw response of OpenAI."""
    openai.chat.completions.with_raw_response.create(model="m", messages=ASK).parse()


def read_messages(openai: Any, anthropic: Any) -> None:
    """Read a stream of Anthropic."""
    list(anthropic.messages.create(model="m", max_tokens=9, messages=ASK, stream=True))


@pytest.mark.parametrize("encoding", ["", "gzip", "deflate"])
@pytest.mark.parametrize("consume", [read_chat, read_raw, read_raw_whole, read_messages])
def test_streams_of_wrapped_clients(
    consume: Callable[[Any, Any], None],
    encoding: str,
    provider: Provider,
    openai: Any,
    anthropic: Any,
    runs: RecordingSink,
) -> None:
    """Compressed responses of providers are read as well, also where only their bytes pass."""
    provider.serve("m", encoding=encoding)
    with track_ai(config_key="chat"):
        consume(wrap_client(openai), wrap_client(anthropic))
    record = runs.wait()[0]
    assert record.usage is not None
    assert (record.usage.input_tokens, record.usage.output_tokens) == (IN, OUT)
    assert record.usage.source == "provider"


def test_a_stream_with_br(
    provider: Provider, anthropic: Any, launchdarkly: OfflineLaunchDarkly, runs: RecordingSink
) -> None:
    """The output tokens of a provider's stream with br are unknown, and a diagnostic says so."""
    provider.serve("m", encoding="br")
    with (
        track_ai(config_key="chat"),
        wrap_client(anthropic).messages.with_streaming_response.create(
            model="m", max_tokens=9, messages=ASK, stream=True
        ) as response,
    ):
        for _line in response.http_response.iter_raw():
            pass
    usage = runs.wait()[0].usage
    assert usage is None or usage.output_tokens is None
    assert launchdarkly.tracking.stats().diagnostics == {"encoding": 1, "estimated": 1}
