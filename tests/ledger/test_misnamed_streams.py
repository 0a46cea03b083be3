"""Answers of a provider that a tracked application passes on, also with another content type."""

from __future__ import annotations

import json
from codecs import BOM_UTF8
from collections.abc import Iterator
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from ldai_integrations.asgi import ASGITrackingMiddleware
from ldai_integrations.records import RunRecord, Usage
from ldai_integrations.testing import Clock, OfflineLaunchDarkly, RecordingSink, ai_config

from ..clients.event_stream import encode
from .provider import IN, OUT

_CHUNK: dict[str, Any] = {"id": "c", "object": "chat.completion.chunk", "model": "m"}
_DELTA = {"index": 0, "delta": {"content": "Hi"}, "finish_reason": None}
_USAGE = {"prompt_tokens": IN, "completion_tokens": OUT, "total_tokens": IN + OUT}
_OLLAMA = [
    {"model": "llama3", "message": {"role": "assistant", "content": "Hi"}, "done": False},
    {"model": "llama3", "message": {"role": "assistant", "content": " you"}, "done": False},
    {"model": "llama3", "done": True, "done_reason": "stop", "prompt_eval_count": IN, "eval_count": OUT},
]
_CHAT = [
    {**_CHUNK, "choices": [_DELTA]},
    {**_CHUNK, "choices": [{**_DELTA, "delta": {}, "finish_reason": "stop"}]},
    {**_CHUNK, "choices": [], "usage": _USAGE},
]
BODIES = {
    "ollama": b"".join(json.dumps(line).encode() + b"\n" for line in _OLLAMA),
    "chat": b"".join(b"data: " + json.dumps(event).encode() + b"\n\n" for event in _CHAT),
}


def record_of(runs: RecordingSink, launchdarkly: OfflineLaunchDarkly, response: Response) -> RunRecord:
    """Return the record of a request that a middleware tracks, and that has this response."""

    async def answer(_request: Request) -> Response:
        return response

    app = Starlette(routes=[Route("/", answer)])
    tracked = ASGITrackingMiddleware(app, launchdarkly.tracking, config_key="chat")
    before = len(runs.records)
    TestClient(tracked).get("/")
    return runs.wait(before + 1)[-1]


@pytest.mark.parametrize("size", [1, 17, 50, 10_000])
@pytest.mark.parametrize(
    ("body", "content_type"),
    [("ollama", "application/json"), ("ollama", "text/plain"), ("chat", "text/plain"), ("chat", "text/html")],
)
def test_a_stream_of_a_provider(
    body: str, content_type: str, size: int, launchdarkly: OfflineLaunchDarkly, runs: RecordingSink
) -> None:
    """A provider's stream is read whatever its content type is, and wherever it is cut after its first line."""
    first, rest = BODIES[body].split(b"\n", 1)

    def parts() -> Iterator[bytes]:
        yield first + b"\n"
        for start in range(0, len(rest), size):
            yield rest[start : start + size]

    record = record_of(runs, launchdarkly, StreamingResponse(parts(), media_type=content_type))
    assert (record.outcome, record.usage) == ("success", Usage(IN, OUT, IN + OUT))
    assert record.finish_reasons == ("stop",)
    assert record.time_to_first_token_ms is not None


@pytest.mark.parametrize("size", [1, 50, 10_000])
def test_lines_that_are_cut_anywhere(size: int, launchdarkly: OfflineLaunchDarkly, runs: RecordingSink) -> None:
    """Lines of JSON that are named a JSON document are read wherever they are cut."""
    body = BODIES["ollama"]
    parts = (body[start : start + size] for start in range(0, len(body), size))
    record = record_of(runs, launchdarkly, StreamingResponse(parts, media_type="application/json"))
    assert (record.outcome, record.usage) == ("success", Usage(IN, OUT, IN + OUT))


@pytest.mark.parametrize("size", [1, 13, 10_000])
@pytest.mark.parametrize("content_type", ["application/json", "text/plain", "text/html", None])
@pytest.mark.parametrize(
    "before", [b"", b": OPENROUTER PROCESSING\n\n: OPENROUTER PROCESSING\n\n", b"event: chunk\nid: 1\n"]
)
def test_events_that_are_cut_anywhere(
    before: bytes, content_type: str | None, size: int, launchdarkly: OfflineLaunchDarkly, runs: RecordingSink
) -> None:
    """Server-Sent Events are read whatever their content type is, wherever they are cut, and after other lines."""
    body = before + BODIES["chat"]
    parts = (body[start : start + size] for start in range(0, len(body), size))
    record = record_of(runs, launchdarkly, StreamingResponse(parts, media_type=content_type))
    assert (record.outcome, record.usage) == ("success", Usage(IN, OUT, IN + OUT))
    assert record.time_to_first_token_ms is not None


@pytest.mark.parametrize("content_type", ["application/ndjson", "application/json-lines", "application/x-jsonlines"])
def test_names_of_lines(content_type: str, launchdarkly: OfflineLaunchDarkly, runs: RecordingSink) -> None:
    """Lines of JSON have many names."""
    record = record_of(runs, launchdarkly, StreamingResponse(iter([BODIES["ollama"]]), media_type=content_type))
    assert (record.outcome, record.usage) == ("success", Usage(IN, OUT, IN + OUT))


_WHOLE = {
    "id": "c",
    "object": "chat.completion",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hi"}, "finish_reason": "stop"}],
    "usage": _USAGE,
}


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("content_type", ["text/plain", "text/html", "text/event-stream", "application/x-ndjson"])
def test_a_misnamed_document(
    content_type: str, indent: int | None, streamed: bool, launchdarkly: OfflineLaunchDarkly, runs: RecordingSink
) -> None:
    """A whole response is read whatever its content type is, and also if it has many lines, as OpenAI's has."""
    body = json.dumps(_WHOLE, indent=indent).encode()
    response: Response = Response(body, media_type=content_type)
    if streamed:
        parts = (body[start : start + 40] for start in range(0, len(body), 40))
        response = StreamingResponse(parts, media_type=content_type)
    record = record_of(runs, launchdarkly, response)
    assert (record.outcome, record.usage) == ("success", Usage(IN, OUT, IN + OUT))
    assert record.time_to_first_token_ms is None


@pytest.mark.parametrize(("body", "calls"), [(BODIES["chat"], 1), (json.dumps(_WHOLE).encode(), 1), (b"{}", 0)])
def test_a_body_that_counts_is_a_call(
    body: bytes, calls: int, launchdarkly: OfflineLaunchDarkly, runs: RecordingSink
) -> None:
    """A provider's answer with tokens is one call, with one finish reason, and another body is none."""
    record = record_of(runs, launchdarkly, StreamingResponse(iter([body]), media_type="application/json"))
    assert (record.calls, record.failed_calls, len(record.finish_reasons)) == (calls, 0, calls)


@pytest.mark.parametrize("is_alone", [False, True])
@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("content_type", ["application/json", "text/plain", "text/event-stream"])
@pytest.mark.parametrize("name", ["chat", "ollama", "whole"])
def test_a_byte_order_mark(
    name: str,
    content_type: str,
    indent: int | None,
    is_alone: bool,
    launchdarkly: OfflineLaunchDarkly,
    runs: RecordingSink,
) -> None:
    """A body may begin with a byte order mark, which a server may send before everything else."""
    body = json.dumps(_WHOLE, indent=indent).encode() if name == "whole" else BODIES[name]
    parts = [BOM_UTF8, body] if is_alone else [BOM_UTF8 + body]
    record = record_of(runs, launchdarkly, StreamingResponse(iter(parts), media_type=content_type))
    assert (record.outcome, record.usage) == ("success", Usage(IN, OUT, IN + OUT))


@pytest.mark.parametrize("content_type", ["application/json", "application/jsonl", "text/plain", "text/html"])
def test_a_page_with_a_stored_response(
    content_type: str, launchdarkly: OfflineLaunchDarkly, runs: RecordingSink
) -> None:
    """A document that contains a response, or the results of a batch, are no generation, whatever their type is."""
    body = json.dumps({"status": "done", "result": _WHOLE})
    if content_type == "application/jsonl":
        body = "".join(json.dumps({"result": {"message": {**_WHOLE, "id": name}}}) + "\n" for name in "ab")
    record = record_of(runs, launchdarkly, Response(body, media_type=content_type))
    assert (record.outcome, record.usage) == ("discarded", None)


_CONVERSE = [
    encode("messageStart", {"role": "assistant"}),
    encode("contentBlockDelta", {"delta": {"text": "Hi"}, "contentBlockIndex": 0}),
    encode("messageStop", {"stopReason": "end_turn"}),
    encode("metadata", {"usage": {"inputTokens": IN, "outputTokens": OUT, "totalTokens": IN + OUT}}),
]


@pytest.mark.parametrize("size", [1, 50, 10_000])
def test_an_event_stream_of_amazon(size: int, launchdarkly: OfflineLaunchDarkly, runs: RecordingSink) -> None:
    """A proxy of Bedrock passes on Amazon's event stream."""
    pytest.importorskip("botocore.eventstream")
    body = b"".join(_CONVERSE)
    parts = (body[start : start + size] for start in range(0, len(body), size))
    record = record_of(runs, launchdarkly, StreamingResponse(parts, media_type="application/vnd.amazon.eventstream"))
    assert (record.outcome, record.usage) == ("success", Usage(IN, OUT, IN + OUT))
    assert record.time_to_first_token_ms is not None


_COHERE = [
    {"type": "message-start", "id": "c", "delta": {"message": {"role": "assistant", "content": []}}},
    {"type": "content-delta", "index": 0, "delta": {"message": {"content": {"text": "Hi"}}}},
]


@pytest.mark.parametrize("breaks_with", ["nothing", "an exception"])
@pytest.mark.parametrize("host", ["cohere", "bedrock"])
def test_a_stream_that_breaks_off(
    host: str, breaks_with: str, launchdarkly: OfflineLaunchDarkly, runs: RecordingSink
) -> None:
    """A stream whose first event is a provider's is a generation, although it has neither model nor usage yet."""
    if host == "bedrock":
        pytest.importorskip("botocore.eventstream")
        kind, parts = "application/vnd.amazon.eventstream", _CONVERSE[:2]
        error = encode("throttlingException", {"message": "Too many requests"}, exception=True)
    else:
        kind, parts = "text/event-stream", [f"data: {json.dumps(event)}\n\n".encode() for event in _COHERE]
        error = b'event: error\ndata: {"message": "Too many requests"}\n\n'
    parts = [*parts, error] if breaks_with == "an exception" else parts
    record = record_of(runs, launchdarkly, StreamingResponse(iter(parts), media_type=kind))
    assert record.outcome == ("error" if breaks_with == "an exception" else "success")
    assert record.usage is not None
    assert (record.usage.input_tokens, record.usage.source, record.usage.lower_bound) == (None, "estimate", True)


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        ({"error": {"type": "overloaded_error", "message": "later"}}, "error"),
        ({"type": "error", "error": {"type": "overloaded_error", "message": "later"}, "request_id": "r"}, "error"),
        ({"jsonrpc": "2.0", "id": 1, "error": {"code": -32601, "message": "Method not found"}}, "discarded"),
        ({"success": False, "data": None, "error": {"code": "NOT_FOUND", "message": "No such user"}}, "discarded"),
    ],
    ids=["openai", "anthropic", "json-rpc", "application"],
)
def test_error_objects(
    answer: dict[str, Any], outcome: str, launchdarkly: OfflineLaunchDarkly, runs: RecordingSink
) -> None:
    """An error object of a provider is an error, and one of the application or of JSON-RPC is no generation."""
    record = record_of(runs, launchdarkly, Response(json.dumps(answer), media_type="application/json"))
    assert record.outcome == outcome


@pytest.mark.parametrize("data", ["The answer broke off, sorry.", '{"message": "The answer broke off, sorry."}'])
def test_the_text_of_an_error_event(data: str, launchdarkly: OfflineLaunchDarkly, runs: RecordingSink) -> None:
    """The text of an error event is not counted as output of the model."""
    stream = b"data: %b\n\n" % json.dumps(_CHAT[0]).encode()
    parts = [stream, f"event: error\ndata: {data}\n\n".encode()]
    record = record_of(runs, launchdarkly, StreamingResponse(iter(parts), media_type="text/event-stream"))
    alone = record_of(runs, launchdarkly, StreamingResponse(iter([stream]), media_type="text/event-stream"))
    assert (record.outcome, alone.outcome) == ("error", "success")
    assert record.usage == alone.usage


@pytest.mark.parametrize("end", ["", "\n", "\n\n"])
def test_a_document_with_an_end_of_line(end: str, launchdarkly: OfflineLaunchDarkly, runs: RecordingSink) -> None:
    """A whole response is no stream, even if a line feed follows it."""
    message = {"index": 0, "message": {"role": "assistant", "content": "Hi"}, "finish_reason": "stop"}
    body = json.dumps({"id": "c", "object": "chat.completion", "choices": [message], "usage": _USAGE}) + end
    record = record_of(runs, launchdarkly, Response(body, media_type="application/json"))
    assert (record.usage, record.time_to_first_token_ms) == (Usage(IN, OUT, IN + OUT), None)


@pytest.mark.parametrize("content_type", ["application/json", "text/plain", "text/html"])
@pytest.mark.parametrize(
    "body", ['{"a": 1}\n{"b": 2}\n', json.dumps({"runs": _OLLAMA}) + "\n{}\n", "data: yes\n\n", "\n{"]
)
def test_pages(body: str, content_type: str, launchdarkly: OfflineLaunchDarkly, runs: RecordingSink) -> None:
    """Other lines are no generation."""
    record = record_of(runs, launchdarkly, StreamingResponse(iter([body]), media_type=content_type))
    assert (record.outcome, record.usage) == ("discarded", None)


def test_the_first_token_of_lines_with_usage(runs: RecordingSink) -> None:
    """The first line of Google's stream may be a whole answer. If another one follows, it had the first token."""
    clock = Clock()

    def lines() -> Iterator[str]:
        for count, reason in ((11, {}), (OUT, {"finishReason": "STOP"})):
            usage = {"promptTokenCount": IN, "candidatesTokenCount": count, "totalTokenCount": IN + count}
            candidate = {"content": {"parts": [{"text": "Hi"}]}, **reason}
            clock.advance(ms=100)
            yield json.dumps({"candidates": [candidate], "usageMetadata": usage}) + "\n"

    async def answer(_request: Request) -> Response:
        return StreamingResponse(lines(), media_type="text/plain")

    with OfflineLaunchDarkly({"chat": ai_config()}, clock=clock) as launchdarkly:
        app = Starlette(routes=[Route("/", answer)])
        TestClient(ASGITrackingMiddleware(app, launchdarkly.tracking, config_key="chat")).get("/")
        record = launchdarkly.sink.wait()[0]
    assert record.usage == Usage(IN, OUT, IN + OUT)
    assert record.time_to_first_token_ms == 100
