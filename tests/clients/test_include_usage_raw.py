"""Asking OpenAI for the usage of a stream that the caller reads from the HTTP response, or posts itself."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Callable
from typing import Any

import pytest

from ldai_integrations import RunRecord, Tracking, track_ai, wrap_client
from ldai_integrations.records import Usage

from ..waiting import eventually
from .answers import SSE, Answer, Answering, chat
from .cases import CHAT
from .makers import async_openai, openai
from .provider import Provider

TOLD = Usage(input_tokens=20, output_tokens=9, total_tokens=29)
STREAM: dict[str, Any] = {**CHAT, "stream": True}
RAW = {"headers": {"X-Stainless-Raw-Response": "true"}}
COMPLETE: dict[str, Any] = {"model": "gpt-3.5-turbo-instruct", "prompt": "Hi", "stream": True}


def _raw(client: Any) -> Any:
    return client.chat.completions.with_raw_response.create(**STREAM)


def _streaming(client: Any) -> Any:
    return client.chat.completions.with_streaming_response.create(**STREAM)


def _post(client: Any, **more: Any) -> Any:
    package, types = pytest.importorskip("openai"), pytest.importorskip("openai.types.chat")
    kind = package.Stream if isinstance(client, package.OpenAI) else package.AsyncStream
    return client.post(
        "/chat/completions",
        body=STREAM,
        cast_to=types.ChatCompletion,
        stream=True,
        stream_cls=kind[types.ChatCompletionChunk],
        **more,
    )


def _dumped(chunks: Any) -> list[Any]:
    return [chunk.to_json() for chunk in chunks]


def _in_block(read: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def call(client: Any) -> Any:
        with _streaming(client) as response:
            return list(read(response))

    return call


WAYS: dict[str, Callable[[Any], Any]] = {
    "raw, parsed": lambda client: _dumped(_raw(client).parse()),
    "raw, read": lambda client: _raw(client).http_response.read(),
    "raw, lines": lambda client: list(_raw(client).http_response.iter_lines()),
    "raw completions": lambda client: _dumped(client.completions.with_raw_response.create(**COMPLETE).parse()),
    "streaming, parsed": _in_block(lambda response: _dumped(response.parse())),
    "streaming, lines": _in_block(lambda response: response.iter_lines()),
    "streaming, text": _in_block(lambda response: "".join(response.iter_text())),
    "streaming, bytes": _in_block(lambda response: b"".join(response.iter_bytes(7))),
    "post": lambda client: _dumped(_post(client)),
    "post, raw": lambda client: _dumped(_post(client, options=RAW).parse()),
}


@pytest.mark.parametrize("way", WAYS)
def test_the_caller_sees_what_it_would_have_seen(
    way: str, provider: Provider, tracking: Tracking, records: list[RunRecord]
) -> None:
    """However the stream is read, the usage is asked for, counted exactly, and kept from the caller."""
    client: Any = openai(provider.url)
    plain = WAYS[way](client)
    with track_ai(config_key="chat", tracking=tracking):
        assert WAYS[way](wrap_client(client, include_usage="always")) == plain

    assert provider.requests[-1] == {**provider.requests[0], "stream_options": {"include_usage": True}}
    assert (records[0].usage, records[0].calls) == (TOLD, 1)
    assert records[0].time_to_first_token_ms is not None


async def _araw_parsed(client: Any) -> Any:
    return [chunk.to_json() async for chunk in (await _raw(client)).parse()]


async def _araw_lines(client: Any) -> Any:
    return [line async for line in (await _raw(client)).http_response.aiter_lines()]


async def _astreaming_parsed(client: Any) -> Any:
    async with _streaming(client) as response:
        return [chunk.to_json() async for chunk in await response.parse()]


async def _astreaming_lines(client: Any) -> Any:
    async with _streaming(client) as response:
        return [line async for line in response.iter_lines()]


async def _apost(client: Any) -> Any:
    return [chunk.to_json() async for chunk in await _post(client)]


async def _apost_raw(client: Any) -> Any:
    return [chunk.to_json() async for chunk in (await _post(client, options=RAW)).parse()]


@pytest.mark.parametrize("call", [_araw_parsed, _araw_lines, _astreaming_parsed, _astreaming_lines, _apost, _apost_raw])
def test_async(call: Any, provider: Provider, tracking: Tracking, records: list[RunRecord]) -> None:
    """The same for the async client."""

    async def compare() -> None:
        async with async_openai(provider.url) as client:
            plain = await call(client)
            with track_ai(config_key="chat", tracking=tracking):
                assert await call(wrap_client(client, include_usage="always")) == plain

    asyncio.run(compare())

    assert provider.requests[-1]["stream_options"] == {"include_usage": True}
    assert (records[0].usage, records[0].calls) == (TOLD, 1)


def _until_finished(lines: Any) -> list[str]:
    seen = []
    for line in lines:
        seen.append(line)
        if '"finish_reason": "stop"' in line:
            break
    return seen


def _leave_parsed(stream: Any) -> Any:
    with stream:
        return next(chunk for chunk in stream if chunk.choices[0].finish_reason)


@pytest.mark.parametrize(
    "leave",
    [
        _in_block(lambda response: _until_finished(response.iter_lines())),
        lambda client: _until_finished(_raw(client).http_response.iter_lines()),
        lambda client: _leave_parsed(_raw(client).parse()),
        lambda client: _leave_parsed(_post(client)),
        lambda client: _leave_parsed(_post(client, options=RAW).parse()),
    ],
    ids=["streaming", "raw", "raw, parsed", "post", "post, raw"],
)
def test_a_caller_who_leaves_at_the_finish_reason(
    leave: Any, provider: Provider, tracking: Tracking, records: list[RunRecord]
) -> None:
    """The usage that follows the finish reason is counted, although the caller reads no further."""
    client: Any = wrap_client(openai(provider.url), include_usage="always")
    with track_ai(config_key="chat", tracking=tracking):
        assert leave(client)

    assert (records[0].usage, records[0].calls) == (TOLD, 1)


def test_an_async_caller_who_leaves_at_the_finish_reason(
    provider: Provider, tracking: Tracking, records: list[RunRecord]
) -> None:
    """The same for the async client."""

    async def leave() -> None:
        async with async_openai(provider.url) as made:
            client = wrap_client(made, include_usage="always")
            with track_ai(config_key="chat", tracking=tracking):
                async with _streaming(client) as response:
                    async for line in response.iter_lines():
                        if '"finish_reason": "stop"' in line:
                            break
            with track_ai(config_key="chat", tracking=tracking):
                async with (await _raw(client)).parse() as stream:
                    async for chunk in stream:
                        if chunk.choices[0].finish_reason:
                            break

    asyncio.run(leave())

    assert [record.usage for record in records] == [TOLD, TOLD]


def _cut(size: int, end: bytes = b"\n\n") -> Answering:
    def answer(request: dict[str, Any]) -> Answer:
        body = b"".join(chat(request).parts).replace(b"\n\n", end)
        return Answer([body[at : at + size] for at in range(0, len(body), size)], SSE)

    return answer


@pytest.mark.parametrize("end", [b"\n\n", b"\r\n\r\n", b"\r\r"], ids=["LF", "CRLF", "CR"])
@pytest.mark.parametrize("size", [1, 50, 100_000])
def test_chunks_of_any_size(
    size: int, end: bytes, provider: Provider, tracking: Tracking, records: list[RunRecord]
) -> None:
    """The bytes may be cut anywhere, and the lines may end in any way that Server-Sent Events allow."""
    client: Any = openai(provider.url)
    provider.queued += [_cut(size, end)] * 2
    plain = _raw(client).http_response.read()
    with track_ai(config_key="chat", tracking=tracking):
        assert _raw(wrap_client(client, include_usage="always")).http_response.read() == plain

    assert records[0].usage == TOLD


def test_other_events_without_choices(provider: Provider, tracking: Tracking, records: list[RunRecord]) -> None:
    """An event without choices and without usage, as Azure sends it, a long one and an unfinished one stay.

    So does a text about usage.
    """
    kept = [
        b'data: {"choices": []}\n\n',
        b'data: {"choices": [{"delta": {"content": "{\\"a\\": 1, \\"usage\\": null}"}}]}\n\n',
        b'data: {"choices":[]\n\n',
        b"data: %b\n\n" % (b"x" * 50_000),
    ]
    sent = [b'data: {"choices": [], "usage": null}\n\n', *kept[1:]]
    usage = b'data: {"choices":[],"usage":{"prompt_tokens":20,"completion_tokens":9}}\n\n'
    provider.queued.append(lambda _request: Answer([*sent, usage, b"data: "], SSE))
    client: Any = wrap_client(openai(provider.url), include_usage="always")
    with track_ai(config_key="chat", tracking=tracking):
        assert _raw(client).http_response.read() == b"".join([*kept, b"data: "])

    assert eventually(lambda: records != [])  # a worker reads what follows a long event
    assert records[0].usage == TOLD


def test_a_compressed_body(provider: Provider, tracking: Tracking, records: list[RunRecord]) -> None:
    """The event stays in a body that the server has compressed, and counts."""

    def compressed(request: dict[str, Any]) -> Answer:
        return Answer([gzip.compress(b"".join(chat(request).parts))], SSE, headers={"content-encoding": "gzip"})

    provider.queued.append(compressed)
    client: Any = wrap_client(openai(provider.url), include_usage="always")
    with track_ai(config_key="chat", tracking=tracking):
        assert len(list(_raw(client).parse())) == 5

    assert records[0].usage == TOLD


@pytest.mark.parametrize(
    "said",
    [
        {"body": {**STREAM, "stream_options": {"include_usage": False}}},
        {"body": STREAM, "options": {"extra_json": {"stream_options": {"include_usage": False}}}},
    ],
    ids=["body", "extra_json"],
)
def test_a_body_that_says_anything_is_not_changed(said: Any, provider: Provider, tracking: Tracking) -> None:
    """A request that says something about ``stream_options`` is posted as it is."""
    client: Any = wrap_client(openai(provider.url), include_usage="always")
    with track_ai(config_key="chat", tracking=tracking):
        client.post("/chat/completions", cast_to=str, **said)

    assert provider.requests[0]["stream_options"] == {"include_usage": False}
