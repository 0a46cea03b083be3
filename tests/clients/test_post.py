"""``client.post``, through which frameworks such as LiteLLM send their requests."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from ldai_integrations import RunRecord, Tracking, track_ai, wrap_client
from ldai_integrations.records import Usage

from .answers import Answer, sse, whole
from .cases import ASK, CHAT, MESSAGES, RESPONSES, USAGE
from .makers import anthropic, async_openai, openai
from .provider import Provider

RAW = {"headers": {"X-Stainless-Raw-Response": "true"}}
TOLD = Usage(input_tokens=7317, output_tokens=3863, total_tokens=11180)
_HEAD = {"id": "chatcmpl-post", "created": 1, "model": "gpt-4o-mini"}
_COUNTS = {"prompt_tokens": 7317, "completion_tokens": 3863, "total_tokens": 11180}


def _chat(request: dict[str, Any]) -> Answer:
    if not request.get("stream"):
        choice = {"index": 0, "message": {"role": "assistant", "content": "Hello"}, "finish_reason": "stop"}
        return whole({**_HEAD, "object": "chat.completion", "choices": [choice], "usage": _COUNTS})
    head = {**_HEAD, "object": "chat.completion.chunk"}
    choice = {"index": 0, "delta": {"content": "Hello"}, "finish_reason": None}
    last = {"index": 0, "delta": {}, "finish_reason": "stop"}
    frames = [{**head, "choices": [choice]}, {**head, "choices": [last]}, {**head, "choices": [], "usage": _COUNTS}]
    return sse(*frames, done=True)


@pytest.fixture
def provider(provider: Provider) -> Provider:
    """Give a provider whose next answer has counts that no tokenizer gives."""
    provider.queued.append(_chat)
    return provider


def _types() -> Any:
    return pytest.importorskip("openai.types.chat")


def _check(record: RunRecord, *, streamed: bool = False) -> None:
    assert (record.usage, record.calls, record.outcome) == (TOLD, 1, "success")
    assert (record.time_to_first_token_ms is not None) is streamed


@pytest.mark.parametrize("raw", [False, True], ids=["parsed", "raw"])
@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "stream"])
def test_post(streamed: bool, raw: bool, provider: Provider, tracking: Tracking, records: list[RunRecord]) -> None:
    """A posted chat completion counts once, whole or streamed, parsed or raw."""
    package, types = pytest.importorskip("openai"), _types()
    client: Any = wrap_client(openai(provider.url))
    asked: dict[str, Any] = {"cast_to": types.ChatCompletion, "options": RAW if raw else {}}
    if streamed:
        asked |= {"stream": True, "stream_cls": package.Stream[types.ChatCompletionChunk]}
    with track_ai(config_key="chat", tracking=tracking):
        answer = client.post("/chat/completions", body={**CHAT, **(USAGE if streamed else {})}, **asked)
        answer = answer.parse() if raw else answer
        if streamed:
            assert "".join(chunk.choices[0].delta.content or "" for chunk in answer if chunk.choices) == "Hello"
        else:
            assert answer.choices[0].message.content == "Hello"

    _check(records[0], streamed=streamed)


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "stream"])
def test_async_post(streamed: bool, provider: Provider, tracking: Tracking, records: list[RunRecord]) -> None:
    """The same for an async client."""
    package, types = pytest.importorskip("openai"), _types()

    async def call() -> None:
        async with wrap_client(async_openai(provider.url)) as client, track_ai(config_key="chat", tracking=tracking):
            asked: dict[str, Any] = {"cast_to": types.ChatCompletion, "options": RAW}
            if streamed:
                asked |= {"stream": True, "stream_cls": package.AsyncStream[types.ChatCompletionChunk]}
            raw = await client.post("/chat/completions", body={**CHAT, **(USAGE if streamed else {})}, **asked)
            if streamed:
                assert len([chunk async for chunk in raw.parse()]) == 3
            else:
                assert raw.parse().choices[0].message.content == "Hello"

    asyncio.run(call())

    _check(records[0], streamed=streamed)


def test_the_http_response(provider: Provider, tracking: Tracking, records: list[RunRecord]) -> None:
    """A caller that asks for the HTTP response itself gets it, and the call counts."""
    client: Any = wrap_client(openai(provider.url))
    kind = type(client.chat.completions.with_raw_response.create(**CHAT).http_response)
    provider.queued.append(_chat)
    with track_ai(config_key="chat", tracking=tracking):
        response = client.post("/chat/completions", body=CHAT, cast_to=kind)
        assert response.json()["usage"] == _COUNTS

    _check(records[0])


def test_an_error(provider: Provider, tracking: Tracking, records: list[RunRecord]) -> None:
    """The provider's error comes out as it is, and the call has failed."""
    provider.queued.clear()
    provider.fail(times=2)
    client: Any = wrap_client(openai(provider.url))
    package, types = pytest.importorskip("openai"), _types()
    with pytest.raises(package.InternalServerError), track_ai(config_key="chat", tracking=tracking):
        client.post("/chat/completions", body=CHAT, cast_to=types.ChatCompletion)

    assert (records[0].outcome, records[0].calls, records[0].failed_calls) == ("error", 1, 1)


def test_other_paths(provider: Provider, tracking: Tracking, records: list[RunRecord]) -> None:
    """Paths of other models count too; a path that calls no model does not."""
    provider.queued.clear()
    client: Any = wrap_client(openai(provider.url))
    claude: Any = wrap_client(anthropic(provider.url))
    with track_ai(config_key="chat", tracking=tracking):
        client.post("/responses", body=RESPONSES, cast_to=object)
        client.post("/embeddings", body={"model": "text-embedding-3-small", "input": "Hi"}, cast_to=object)
        claude.post("/v1/messages", body=MESSAGES, cast_to=object)
        provider.queued.append(lambda _request: whole({"id": "file-1", "object": "file"}))
        client.post("/files/uploads", body={"messages": ASK}, cast_to=object)

    usage = records[0].usage
    assert usage is not None
    assert (records[0].calls, usage.input_tokens, usage.output_tokens) == (3, 60, 18)


def test_outside_of_a_run(provider: Provider, records: list[RunRecord]) -> None:
    """Without a run, the request goes out as it is."""
    client: Any = wrap_client(openai(provider.url), include_usage="always")
    assert client.post("/chat/completions", body=CHAT, cast_to=object)["usage"] == _COUNTS

    assert provider.requests == [CHAT]
    assert records == []
