"""Consumers that stop reading a stream at the finish reason, before the provider sends the usage."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.responses import StreamingResponse
from starlette.testclient import TestClient

from ldai_integrations import Run, Settings, track_ai, wrap_client
from ldai_integrations.asgi import ASGITrackingMiddleware
from ldai_integrations.records import RunRecord
from ldai_integrations.testing import OfflineLaunchDarkly, RecordingSink

from .provider import IN, OUT, Provider

ASK: dict[str, Any] = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Hi"}], "stream": True}
LATE = 0.08


def assert_exact(record: RunRecord) -> None:
    """Check that a record has the provider's figures."""
    assert record.usage is not None
    assert (record.usage.input_tokens, record.usage.output_tokens) == (IN, OUT)
    assert record.usage.source == "provider"
    assert not record.usage.lower_bound
    assert (record.outcome, record.calls, record.finish_reasons) == ("success", 1, ("stop",))


@pytest.fixture(params=["include_usage", "stream_options"])
def ask(request: pytest.FixtureRequest) -> Callable[[Any], Any]:
    """Return what starts a stream with usage: by the option of ``wrap_client``, or asked by the caller."""
    if request.param == "include_usage":
        return lambda client: wrap_client(client, include_usage="always").chat.completions.create(**ASK)
    options = {"stream_options": {"include_usage": True}}
    return lambda client: wrap_client(client).chat.completions.create(**ASK, **options)


def text_until_finish(stream: Any) -> Iterator[str]:
    """Yield the text of a stream up to its finish reason."""
    for chunk in stream:
        if chunk.choices[0].finish_reason:
            break
        yield chunk.choices[0].delta.content or ""


async def atext_until_finish(stream: Any) -> AsyncIterator[str]:
    """Yield the text of a stream up to its finish reason."""
    async for chunk in stream:
        if chunk.choices[0].finish_reason:
            break
        yield chunk.choices[0].delta.content or ""


def break_out(stream: Any) -> str:
    """Leave the loop."""
    return "".join(text_until_finish(stream))


def close(stream: Any) -> str:
    """Leave the loop and close the stream."""
    try:
        return break_out(stream)
    finally:
        stream.close()


def close_response(stream: Any) -> str:
    """Leave the loop and close the HTTP response below the stream."""
    text = break_out(stream)
    stream.response.close()
    return text


def use_block(stream: Any) -> str:
    """Leave a ``with`` block of the stream."""
    with stream:
        return break_out(stream)


@pytest.mark.parametrize("consume", [break_out, close, use_block])
@pytest.mark.parametrize("late", [0.0, LATE])
def test_plain_handlers(
    consume: Callable[[Any], str],
    late: float,
    ask: Callable[[Any], Any],
    provider: Provider,
    openai: Any,
    runs: RecordingSink,
) -> None:
    """The run has the provider's exact usage, however the consumer leaves the stream."""
    provider.serve(late=late)

    @track_ai(config_key="chat")
    def handler() -> str:
        return consume(ask(openai))

    assert handler() == "Hello there"
    assert_exact(runs.wait()[0])


def test_a_generator_handler(ask: Callable[[Any], Any], provider: Provider, openai: Any, runs: RecordingSink) -> None:
    """The same for a handler that is a generator; no text waits for the usage."""
    provider.serve(late=0.3)

    @track_ai(config_key="chat")
    def handler() -> Iterator[str]:
        yield from text_until_finish(ask(openai))

    start = time.perf_counter()
    texts = handler()
    assert [next(texts), next(texts), next(texts)] == ["", "Hello", " there"]
    assert time.perf_counter() - start < 0.25
    assert list(texts) == []
    assert_exact(runs.wait()[0])


def test_async_handlers(ask: Callable[[Any], Any], provider: Provider, async_openai: Any, runs: RecordingSink) -> None:
    """The same for coroutine functions: a left loop, a closed stream and an ``async with`` block."""
    provider.serve(late=LATE)

    @track_ai(config_key="chat")
    async def leave() -> str:
        return "".join([text async for text in atext_until_finish(await ask(async_openai))])

    @track_ai(config_key="chat")
    async def close() -> str:
        stream = await ask(async_openai)
        texts = [text async for text in atext_until_finish(stream)]
        await stream.close()
        return "".join(texts)

    @track_ai(config_key="chat")
    async def use_block() -> str:
        async with await ask(async_openai) as stream:
            return "".join([text async for text in atext_until_finish(stream)])

    async def call() -> None:
        assert await leave() == await close() == await use_block() == "Hello there"
        await async_openai.close()

    asyncio.run(call())
    for record in runs.wait(3):
        assert_exact(record)


def test_an_async_generator_handler(
    ask: Callable[[Any], Any], provider: Provider, async_openai: Any, runs: RecordingSink
) -> None:
    """The same for an async generator; no text waits for the usage."""
    provider.serve(late=0.3)

    @track_ai(config_key="chat")
    async def handler() -> AsyncIterator[str]:
        async for text in atext_until_finish(await ask(async_openai)):
            yield text

    async def call() -> None:
        start, texts, seconds = time.perf_counter(), [], 0.0
        async for text in handler():
            texts.append(text)
            seconds = time.perf_counter() - start
        assert texts == ["", "Hello", " there"]
        assert seconds < 0.25
        await async_openai.close()

    asyncio.run(call())
    assert_exact(runs.wait()[0])


@pytest.mark.parametrize("tracked_by", ["decorator", "middleware", "both"])
@pytest.mark.parametrize("kind", ["sync", "async"])
def test_streaming_responses(
    kind: str,
    tracked_by: str,
    ask: Callable[[Any], Any],
    provider: Provider,
    openai: Any,
    async_openai: Any,
    launchdarkly: OfflineLaunchDarkly,
    runs: RecordingSink,
) -> None:
    """The same for a ``StreamingResponse`` whose body Starlette consumes after the handler."""
    provider.serve(late=LATE)
    app = FastAPI()

    def handler() -> StreamingResponse:
        return StreamingResponse(text_until_finish(ask(openai)), media_type="text/plain")

    async def async_handler() -> StreamingResponse:
        return StreamingResponse(atext_until_finish(await ask(async_openai)), media_type="text/plain")

    chosen: Any = handler if kind == "sync" else async_handler
    app.get("/")(track_ai(config_key="chat")(chosen) if tracked_by != "middleware" else chosen)
    served: Any = app
    if tracked_by != "decorator":
        served = ASGITrackingMiddleware(app, launchdarkly.tracking, config_key="chat")
    with TestClient(served) as browser:
        assert browser.get("/").text == "Hello there"

    assert_exact(runs.wait()[0])


@pytest.mark.parametrize("late", [0.0, LATE])
@pytest.mark.parametrize("closes", [False, True])
def test_bedrock(late: float, closes: bool, provider: Provider, bedrock: Any, runs: RecordingSink) -> None:
    """A consumer that stops at Bedrock's ``messageStop`` gets the usage of the ``metadata`` event that follows."""
    provider.serve("amazon.nova-lite-v1:0", late=late)
    client, left = wrap_client(bedrock), []

    @track_ai(config_key="chat")
    def handler() -> str:
        messages = [{"role": "user", "content": [{"text": "Hi"}]}]
        stream, texts = client.converse_stream(modelId="amazon.nova-lite-v1:0", messages=messages)["stream"], []
        for event in stream:
            if "messageStop" in event:
                break
            texts.append(event.get("contentBlockDelta", {}).get("delta", {}).get("text", ""))
        if closes:
            stream.close()
        left.append(stream)
        return "".join(texts)

    assert handler() == "Hello there"
    left[0].close()
    record = runs.wait()[0]
    assert record.usage is not None
    assert (record.usage.input_tokens, record.usage.output_tokens) == (IN, OUT)
    assert record.usage.source == "provider"
    assert record.outcome == "success"


class TestUsageThatNeverComes:
    """Streams whose provider keeps the connection open and sends no usage."""

    @pytest.fixture
    def settings(self) -> Settings:
        """Return settings with a short wait."""
        return Settings(flush="never", judges=None, usage_wait=0.15)

    @pytest.mark.parametrize("consume", [break_out, close, use_block])
    def test_sync(self, consume: Callable[[Any], str], provider: Provider, openai: Any, runs: RecordingSink) -> None:
        """Closing waits no longer than ``Settings.usage_wait``, once; the usage is an estimate then."""
        provider.serve(silent=True)
        client = wrap_client(openai, include_usage="always")

        @track_ai(config_key="chat")
        def handler() -> str:
            return consume(client.chat.completions.create(**ASK))

        start = time.perf_counter()
        assert handler() == "Hello there"
        assert time.perf_counter() - start < 0.29
        record = runs.wait()[0]
        assert record.outcome == "success"
        assert record.usage is not None
        assert record.usage.source == "estimate"

    @pytest.mark.parametrize("closes", [False, True])
    def test_async(self, closes: bool, provider: Provider, async_openai: Any, runs: RecordingSink) -> None:
        """The same for an asynchronous stream."""
        provider.serve(silent=True)
        client = wrap_client(async_openai, include_usage="always")

        @track_ai(config_key="chat")
        async def handler() -> str:
            stream = await client.chat.completions.create(**ASK)
            text = "".join([text async for text in atext_until_finish(stream)])
            if closes:
                await stream.close()
            return text

        async def call() -> None:
            start = time.perf_counter()
            assert await handler() == "Hello there"
            assert time.perf_counter() - start < 0.29
            await async_openai.close()

        asyncio.run(call())
        assert runs.wait()[0].outcome == "success"

    def test_bedrock(self, provider: Provider, bedrock: Any, runs: RecordingSink) -> None:
        """The same for Bedrock."""
        provider.serve("amazon.nova-lite-v1:0", silent=True)
        client = wrap_client(bedrock)
        start = time.perf_counter()
        with track_ai(config_key="chat"):
            messages = [{"role": "user", "content": [{"text": "Hi"}]}]
            stream = client.converse_stream(modelId="amazon.nova-lite-v1:0", messages=messages)["stream"]
            for event in stream:
                if "messageStop" in event:
                    break
            stream.close()
        assert time.perf_counter() - start < 0.5
        assert runs.wait()[0].outcome == "success"


def test_a_stream_that_is_left_before_its_end(provider: Provider, openai: Any, runs: RecordingSink) -> None:
    """A consumer that stops in the middle of the text does not wait for the rest of it."""
    provider.serve(words=tuple("many words") * 5, pause=0.05)
    client = wrap_client(openai, include_usage="always")

    @track_ai(config_key="chat")
    def handler(run: Run) -> str:
        stream = client.chat.completions.create(**ASK)
        next(stream)
        text = next(stream).choices[0].delta.content
        stream.close()
        return str(text)

    start = time.perf_counter()
    assert handler() == "m"
    assert time.perf_counter() - start < 0.4
    usage = runs.wait()[0].usage
    assert usage is not None
    assert usage.source == "estimate"
