"""Consumers that stop reading a stream at the finish reason, before the provider sends the usage."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from queue import SimpleQueue
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.responses import StreamingResponse
from starlette.testclient import TestClient

from ldai_integrations import Run, Settings, current_run, track_ai, wrap_client
from ldai_integrations.asgi import ASGITrackingMiddleware
from ldai_integrations.records import RunRecord
from ldai_integrations.testing import OfflineLaunchDarkly, RecordingSink

from ..clients import makers
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


@pytest.mark.parametrize("late", [0.0, LATE])
def test_a_client_in_a_block(late: float, provider: Provider, runs: RecordingSink) -> None:
    """The usage is read before a block closes the client, and the streams with it."""
    provider.serve(late=late)

    @track_ai(config_key="chat")
    def handler() -> str:
        with wrap_client(makers.openai(provider.url), include_usage="always") as client:
            return break_out(client.chat.completions.create(**ASK))

    assert handler() == "Hello there"
    assert_exact(runs.wait()[0])


@pytest.mark.parametrize("late", [0.0, LATE])
def test_an_async_client_in_a_block(late: float, provider: Provider, runs: RecordingSink) -> None:
    """The same for an asynchronous client."""
    provider.serve(late=late)

    async def call() -> str:
        with track_ai(config_key="chat"):
            async with wrap_client(makers.async_openai(provider.url), include_usage="always") as client:
                words = atext_until_finish(await client.chat.completions.create(**ASK))
                return "".join([word async for word in words])

    assert asyncio.run(call()) == "Hello there"
    assert_exact(runs.wait()[0])


def test_a_generator_handler(ask: Callable[[Any], Any], provider: Provider, openai: Any, runs: RecordingSink) -> None:
    """The same for a handler that is a generator; no text waits for the usage."""
    provider.serve(silent=True)

    @track_ai(config_key="chat")
    def handler() -> Iterator[str]:
        yield from text_until_finish(ask(openai))

    texts = handler()
    assert [next(texts), next(texts), next(texts)] == ["", "Hello", " there"]
    provider.released.set()  # the provider sends the usage now
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
    provider.serve(silent=True)

    @track_ai(config_key="chat")
    async def handler() -> AsyncIterator[str]:
        async for text in atext_until_finish(await ask(async_openai)):
            yield text

    async def call() -> None:
        texts = []
        async for text in handler():
            texts.append(text)
            if len(texts) == 3:
                provider.released.set()  # the provider sends the usage now
        assert texts == ["", "Hello", " there"]
        await async_openai.close()

    asyncio.run(call())
    assert_exact(runs.wait()[0])


@pytest.mark.parametrize("kind", ["coroutine", "generator", "block", "endpoint"])
def test_async_handlers_that_fail_afterwards(
    kind: str,
    ask: Callable[[Any], Any],
    provider: Provider,
    async_openai: Any,
    launchdarkly: OfflineLaunchDarkly,
    runs: RecordingSink,
) -> None:
    """A handler that raises an exception after the finish reason has the provider's figures, too."""
    provider.serve(late=LATE)

    async def fail() -> None:
        assert [text async for text in atext_until_finish(await ask(async_openai))]
        raise LookupError

    @track_ai(config_key="chat")
    async def generate() -> AsyncIterator[str]:
        yield "Hello"
        await fail()

    async def block() -> None:
        async with track_ai(config_key="chat"):
            await fail()

    async def serve() -> None:
        async def application(*_args: Any) -> None:
            await fail()

        scope = {"type": "http", "method": "POST", "path": "/", "headers": []}
        app = ASGITrackingMiddleware(application, launchdarkly.tracking, config_key="chat")
        await app(scope, None, None)  # type: ignore[arg-type]

    async def consume() -> None:
        async for _ in generate():
            pass

    handlers = {"coroutine": track_ai(config_key="chat")(fail), "generator": consume, "block": block, "endpoint": serve}

    async def call() -> None:
        with pytest.raises(LookupError):
            await handlers[kind]()
        await async_openai.close()

    asyncio.run(call())
    record = runs.wait()[0]
    assert (record.outcome, record.calls) == ("error", 1)
    assert record.usage is not None
    assert (record.usage.input_tokens, record.usage.output_tokens) == (IN, OUT)
    assert (record.usage.source, record.usage.lower_bound) == ("provider", False)


def test_a_task_that_is_cancelled_while_it_waits_for_usage(
    provider: Provider, async_openai: Any, runs: RecordingSink
) -> None:
    """The run of a handler whose caller stops waiting meanwhile is cancelled at once."""
    provider.serve(silent=True)
    client = wrap_client(async_openai, include_usage="always")

    @track_ai(config_key="chat")
    async def handler() -> None:
        assert [text async for text in atext_until_finish(await client.chat.completions.create(**ASK))]

    async def call() -> None:
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(handler(), LATE)
        await async_openai.close()

    asyncio.run(call())
    assert runs.wait()[0].outcome == "cancelled"


@pytest.mark.parametrize("kind", ["function", "coroutine function"])
def test_the_wait_for_usage_is_not_part_of_the_duration(
    kind: str, provider: Provider, openai: Any, async_openai: Any, runs: RecordingSink
) -> None:
    """The run lasts until its handler returns."""
    provider.serve(late=0.4)
    begun, took = time.perf_counter(), []

    @track_ai(config_key="chat")
    def handler() -> None:
        break_out(wrap_client(openai, include_usage="always").chat.completions.create(**ASK))
        took.append(time.perf_counter() - begun)

    @track_ai(config_key="chat")
    async def ahandler() -> None:
        stream = await wrap_client(async_openai, include_usage="always").chat.completions.create(**ASK)
        _ = [text async for text in atext_until_finish(stream)]
        took.append(time.perf_counter() - begun)

    async def call() -> None:
        await ahandler()
        await async_openai.close()

    handler() if kind == "function" else asyncio.run(call())
    record = runs.wait()[0]
    assert_exact(record)
    assert record.duration_ms < took[0] * 1000 + 350


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


def leave_helper(openai: Any, anthropic: Any) -> None:
    """Leave the helper of openai that accumulates a stream."""
    options: Any = {"model": "gpt-4o-mini", "messages": ASK["messages"], "stream_options": {"include_usage": True}}
    with wrap_client(openai).chat.completions.stream(**options) as stream:
        for event in stream:
            if event.type == "chunk" and event.chunk.choices and event.chunk.choices[0].finish_reason:
                break


def close_helper(openai: Any, anthropic: Any) -> None:
    """Close the helper of openai, which is asked for the usage by ``include_usage``."""
    client = wrap_client(openai, include_usage="always")
    stream = client.chat.completions.stream(model="gpt-4o-mini", messages=ASK["messages"]).__enter__()
    for event in stream:
        if event.type == "content.done":
            break
    stream.close()


def leave_lines(openai: Any, anthropic: Any) -> None:
    """Leave the lines of a raw response."""
    options: Any = {**ASK, "stream_options": {"include_usage": True}}
    with wrap_client(openai).chat.completions.with_streaming_response.create(**options) as response:
        for line in response.iter_lines():
            if '"finish_reason": "stop"' in line:
                break


def leave_observed(openai: Any, anthropic: Any) -> None:
    """Leave a stream of a client that is not wrapped."""
    options: Any = {**ASK, "stream_options": {"include_usage": True}}
    break_out(current_run().observe(openai.chat.completions.create(**options)))


def leave_messages(openai: Any, anthropic: Any) -> None:
    """Leave a stream of Anthropic, which sends finish reason and usage together."""
    for event in wrap_client(anthropic).messages.create(**ASK, max_tokens=9):
        if event.type == "message_delta":
            break


def leave_messages_helper(openai: Any, anthropic: Any) -> None:
    """Leave Anthropic's helper at the end of the text."""
    options: Any = {"model": "claude", "messages": ASK["messages"], "max_tokens": 9}
    with wrap_client(anthropic).messages.stream(**options) as stream:
        for event in stream:
            if event.type == "message_delta":
                break


@pytest.mark.parametrize(
    "leave",
    [leave_helper, close_helper, leave_lines, leave_observed, leave_messages, leave_messages_helper],
)
def test_other_streams(
    leave: Callable[[Any, Any], None], provider: Provider, openai: Any, anthropic: Any, runs: RecordingSink
) -> None:
    """The same for helpers, for raw lines, for streams that are observed, and for Anthropic."""
    provider.serve(late=LATE)
    with track_ai(config_key="chat"):
        leave(openai, anthropic)
    record = runs.wait()[0]
    assert record.usage is not None
    assert (record.usage.input_tokens, record.usage.output_tokens) == (IN, OUT)
    assert (record.outcome, record.usage.source) == ("success", "provider")


@pytest.mark.parametrize("asked_by", ["include_usage", "stream_options"])
@pytest.mark.parametrize("closes", [False, True])
def test_async_helpers(closes: bool, asked_by: str, provider: Provider, async_openai: Any, runs: RecordingSink) -> None:
    """The same for openai's asynchronous helper, whether its block or its ``close`` ends it."""
    provider.serve(late=LATE)
    client = wrap_client(async_openai, include_usage="always")
    options: Any = {"stream_options": {"include_usage": True}} if asked_by == "stream_options" else {}

    async def until_finish(stream: Any) -> None:
        async for event in stream:
            if event.type == "chunk" and event.chunk.choices[0].finish_reason:
                return

    @track_ai(config_key="chat")
    async def handler() -> None:
        manager = client.chat.completions.stream(model="gpt-4o-mini", messages=ASK["messages"], **options)
        if closes:
            stream = await manager.__aenter__()
            await until_finish(stream)
            await stream.close()
            return
        async with manager as stream:
            await until_finish(stream)

    async def call() -> None:
        await handler()
        await async_openai.close()

    asyncio.run(call())
    assert_exact(runs.wait()[0])


@pytest.mark.parametrize("how", ["chunks", "bytes"])
def test_a_finish_reason_with_text(how: str, provider: Provider, openai: Any, runs: RecordingSink) -> None:
    """The same if the finish reason comes together with the last text, as some servers send it."""
    head = {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    choice = {"index": 0, "delta": {"content": "Hello there"}, "finish_reason": "stop"}
    usage = {"prompt_tokens": IN, "completion_tokens": OUT, "total_tokens": IN + OUT}
    provider.serve(frames=[{**head, "choices": [choice]}, {**head, "choices": [], "usage": usage}])
    client = wrap_client(openai)
    with track_ai(config_key="chat"):
        if how == "chunks":
            for chunk in client.chat.completions.create(**ASK, stream_options={"include_usage": True}):
                assert chunk.choices[0].finish_reason
                break
        else:
            with client.chat.completions.with_streaming_response.create(**ASK) as response:
                assert "Hello" in next(response.iter_lines())
    assert_exact(runs.wait()[0])


@pytest.mark.parametrize("consume", [close, use_block])
def test_a_sync_stream_that_a_coroutine_closes(
    consume: Callable[[Any], str],
    provider: Provider,
    openai: Any,
    runs: RecordingSink,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The usage is an estimate, because nothing waits for it on an event loop, and the log says what to do."""
    provider.serve(late=LATE)
    client = wrap_client(openai, include_usage="always")

    @track_ai(config_key="chat")
    async def handler() -> str:
        return consume(client.chat.completions.create(**ASK))

    assert asyncio.run(handler()) == "Hello there"
    usage = runs.wait()[0].usage
    assert usage is not None
    assert (usage.source, usage.lower_bound) == ("estimate", False)
    [line] = caplog.messages
    assert "was closed at its finish reason in a run of 'chat'" in line
    assert "In a coroutine, you can also use an async client" in line


class TestUsageThatNeverComes:
    """Streams whose provider keeps the connection open and sends no usage."""

    @pytest.fixture
    def settings(self) -> Settings:
        """Return settings with a short wait."""
        return Settings(flush="never", judges=None, usage_wait=0.5)

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
        assert time.perf_counter() - start < 0.95
        record = runs.wait()[0]
        assert record.outcome == "success"
        assert record.usage is not None
        assert record.usage.source == "estimate"

    def test_three_streams(self, provider: Provider, openai: Any, runs: RecordingSink) -> None:
        """One limit holds for all streams that were left."""
        provider.serve(silent=True)
        client = wrap_client(openai, include_usage="always")
        start = time.perf_counter()
        with track_ai(config_key="chat"):
            streams = [client.chat.completions.create(**ASK) for _ in range(3)]
            assert [break_out(stream) for stream in streams] == ["Hello there"] * 3
        seconds = time.perf_counter() - start
        for stream in streams:
            stream.response.close()
        assert runs.wait()[0].outcome == "success"
        assert seconds < 1.4  # three waits would take 1.5 s

    def test_three_closed_streams(self, provider: Provider, openai: Any, runs: RecordingSink) -> None:
        """The same if the application closes each of them."""
        provider.serve(silent=True)
        client = wrap_client(openai, include_usage="always")
        start = time.perf_counter()
        with track_ai(config_key="chat"):
            for _ in range(3):
                assert close(client.chat.completions.create(**ASK)) == "Hello there"
        assert time.perf_counter() - start < 1.4  # three waits would take 1.5 s
        record = runs.wait()[0]
        assert (record.outcome, record.calls) == ("success", 3)

    def test_three_closed_async_streams(self, provider: Provider, async_openai: Any, runs: RecordingSink) -> None:
        """Streams that tasks close at the same time are waited for at the same time, and for the same limit."""
        provider.serve(silent=True)
        client = wrap_client(async_openai, include_usage="always")

        async def read() -> None:
            stream = await client.chat.completions.create(**ASK)
            async for _ in atext_until_finish(stream):
                pass
            start = time.perf_counter()
            await stream.close()
            seconds.append(time.perf_counter() - start)

        @track_ai(config_key="chat")
        async def handler() -> None:
            await asyncio.gather(read(), read(), read())

        async def call() -> None:
            async with async_openai:
                await handler()

        seconds: list[float] = []
        asyncio.run(call())
        assert min(seconds) > 0.3
        assert max(seconds) < 0.95
        record = runs.wait()[0]
        assert (record.outcome, record.calls) == ("success", 3)

    def test_a_sync_stream_on_an_event_loop(self, provider: Provider, openai: Any, runs: RecordingSink) -> None:
        """A coroutine that left a synchronous stream does not block its event loop while the usage is awaited."""
        provider.serve(silent=True)
        client = wrap_client(openai, include_usage="always")
        ticks = []

        async def tick() -> None:
            while True:
                ticks.append(time.perf_counter())
                await asyncio.sleep(0.01)

        @track_ai(config_key="chat")
        async def handler() -> str:
            return break_out(client.chat.completions.create(**ASK))

        async def call() -> None:
            ticking = asyncio.create_task(tick())
            await asyncio.sleep(0)
            assert await handler() == "Hello there"
            ticking.cancel()

        asyncio.run(call())
        assert len(ticks) > 6
        assert runs.wait()[0].outcome == "success"

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
            assert time.perf_counter() - start < 0.95
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
        assert time.perf_counter() - start < 0.95
        assert runs.wait()[0].outcome == "success"


def test_a_stream_that_is_left_before_its_end(
    provider: Provider, openai: Any, runs: RecordingSink, caplog: pytest.LogCaptureFixture
) -> None:
    """A consumer that stops in the middle of the text does not wait for the rest of it, and the log says so."""
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
    assert time.perf_counter() - start < 1.5
    usage = runs.wait()[0].usage
    assert usage is not None
    assert (usage.source, usage.lower_bound) == ("estimate", True)
    assert "was not read to its end in a run of 'chat'" in caplog.text
    assert "include_usage" not in caplog.text


@pytest.mark.parametrize(("has_usage", "is_read"), [(True, True), (False, True), (False, False), (True, False)])
def test_one_of_several_choices_has_ended(
    has_usage: bool, is_read: bool, provider: Provider, openai: Any, runs: RecordingSink
) -> None:
    """A stream that is left, or ends, before all of its choices have ended is a lower bound, unless its usage came."""
    chunk = {"id": "c", "object": "chat.completion.chunk", "model": "m"}
    deltas: list[tuple[int, str, str | None]] = [(0, "one", None), (1, "uno", None), (0, "", "stop"), (1, " dos", None)]
    choices = [{"index": index, "delta": {"content": text}, "finish_reason": end} for index, text, end in deltas]
    frames: list[dict[str, Any]] = [{**chunk, "choices": [choice]} for choice in choices]
    if has_usage:
        usage = {"prompt_tokens": IN, "completion_tokens": OUT, "total_tokens": IN + OUT}
        frames.append({**chunk, "choices": [], "usage": usage})
    provider.serve(frames=frames)
    client = wrap_client(openai, include_usage="always")

    @track_ai(config_key="chat")
    def handler() -> None:
        stream = client.chat.completions.create(**ASK, n=2)
        if is_read:
            list(stream)
        else:
            break_out(stream)

    handler()
    usage_of_run = runs.wait()[0].usage
    assert usage_of_run is not None
    assert (usage_of_run.output_tokens == OUT, usage_of_run.lower_bound) == (has_usage, not has_usage)


@pytest.mark.parametrize("api", ["openai", "anthropic"])
def test_a_stream_that_the_server_ends_before_the_first_word(
    api: str, provider: Provider, openai: Any, anthropic: Any, runs: RecordingSink, caplog: pytest.LogCaptureFixture
) -> None:
    """A stream that ends without any output is a lower bound, and nobody is told to ask for its usage."""
    message: dict[str, Any] = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "m",
        "content": [],
        "stop_reason": None,
    }
    usage = {"input_tokens": IN, "output_tokens": 1}
    chunk = {"id": "c", "object": "chat.completion.chunk", "model": "m"}
    role = {**chunk, "choices": [{"index": 0, "delta": {"role": "assistant"}, "finish_reason": None}]}
    frames: dict[str, list[dict[str, Any]]] = {
        "openai": [role, role],
        "anthropic": [{"type": "message_start", "message": {**message, "usage": usage}}, {"type": "ping"}],
    }
    provider.serve(frames=frames[api])
    client = wrap_client(openai if api == "openai" else anthropic)

    @track_ai(config_key="chat")
    def handler() -> None:
        if api == "openai":
            list(client.chat.completions.create(**ASK))
        else:
            asked = {"model": ASK["model"], "messages": ASK["messages"], "max_tokens": 9}
            list(client.messages.create(**asked, stream=True))

    handler()
    usage_of_run = runs.wait()[0].usage
    assert usage_of_run is not None
    assert usage_of_run.lower_bound
    assert usage_of_run.output_tokens is None
    assert (usage_of_run.input_tokens == IN) == (api == "anthropic")
    assert "include_usage" not in caplog.text


@pytest.mark.parametrize("closes", [True, False])
def test_usage_so_far_is_a_lower_bound(closes: bool, provider: Provider, openai: Any, runs: RecordingSink) -> None:
    """The usage in the chunks of a stream that is left before its finish reason counts a part of the answer only."""
    usage = {"prompt_tokens": IN, "completion_tokens": OUT, "total_tokens": IN + OUT}
    provider.serve(words=("many", "words"), usage=usage, usage_in_every_chunk=True)
    client = wrap_client(openai)
    kept = []

    @track_ai(config_key="chat")
    def handler() -> None:
        stream = client.chat.completions.create(**ASK)
        kept.append(stream)
        next(chunk for chunk in stream if chunk.choices[0].delta.content)
        if closes:
            stream.close()

    handler()

    record = runs.wait()[0]
    assert record.usage is not None
    assert (record.usage.input_tokens, record.usage.lower_bound) == (IN, True)
    kept[0].close()


def test_a_run_that_is_left_before_the_first_word(openai: Any, runs: RecordingSink) -> None:
    """Its output is unknown, and its usage is a lower bound, because the provider may bill an answer.

    So its total has the tokens that are known, and the totals of many runs agree with their parts.
    """

    @track_ai("chat")
    def words() -> Iterator[str]:
        stream = wrap_client(openai).chat.completions.create(**ASK)
        yield ""
        yield from text_until_finish(stream)

    steps = words()
    next(steps)
    steps.close()  # type: ignore[attr-defined]  # a generator

    record = runs.wait()[0]
    assert (record.outcome, record.calls) == ("cancelled", 1)
    assert record.usage is not None
    assert record.usage.input_tokens
    assert (record.usage.output_tokens, record.usage.total_tokens) == (None, record.usage.input_tokens)
    assert (record.usage.lower_bound, record.usage.source) == (True, "estimate")


def leave_unread(stream: Any) -> None:
    """Do not read a stream at all."""
    del stream


def close_unread(stream: Any) -> None:
    """Close a stream without reading it."""
    stream.close()


@pytest.mark.parametrize("leave", [leave_unread, close_unread])
def test_a_stream_that_nobody_reads(
    leave: Callable[[Any], None],
    ask: Callable[[Any], Any],
    openai: Any,
    runs: RecordingSink,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Usage and cost are lower bounds, the output is unknown, and the log says that the stream was not read."""

    @track_ai(config_key="chat")
    def handler() -> str:
        leave(ask(openai))
        return "The answer was not needed."

    handler()
    record = runs.wait()[0]
    assert (record.outcome, record.calls) == ("success", 1)
    assert record.usage is not None
    assert record.usage.input_tokens
    assert (record.usage.output_tokens, record.usage.lower_bound) == (None, True)
    assert record.cost is not None
    assert record.cost.lower_bound
    assert [line.args for line in caplog.records if "was not read to its end" in line.getMessage()] == [("chat",)]


def is_last(chunk: Any) -> bool:
    """Return whether a chunk has the finish reason."""
    return bool(chunk.choices) and chunk.choices[0].finish_reason is not None


WITH_USAGE: dict[str, Any] = {**ASK, "stream_options": {"include_usage": True}}


@pytest.mark.parametrize("saving", [0.0, LATE / 2, LATE * 2])
def test_a_task_that_reads_on(saving: float, provider: Provider, async_openai: Any, runs: RecordingSink) -> None:
    """The run waits for the usage that another task of the application reads, and takes nothing from that task."""
    provider.serve(late=LATE)
    client = wrap_client(async_openai)
    seen: list[Any] = []

    async def produce(queue: asyncio.Queue[Any]) -> None:
        async for chunk in await client.chat.completions.create(**WITH_USAGE):
            seen.append(chunk)
            await queue.put(chunk)
            if is_last(chunk):
                await asyncio.sleep(saving)

    @track_ai(config_key="chat")
    async def handler() -> AsyncIterator[str]:
        queue: asyncio.Queue[Any] = asyncio.Queue()
        producers.append(asyncio.create_task(produce(queue)))
        while not is_last(chunk := await queue.get()):
            yield chunk.choices[0].delta.content or ""

    async def consume() -> str:
        async with async_openai:
            text = "".join([word async for word in handler()])
            await asyncio.gather(*producers)
        return text

    producers: list[asyncio.Task[None]] = []
    assert asyncio.run(consume()) == "Hello there"
    assert seen[-1].usage.prompt_tokens == IN
    assert_exact(runs.wait()[0])


@pytest.mark.parametrize("saving", [0.0, LATE / 2, LATE * 2])
def test_a_thread_that_reads_on(saving: float, provider: Provider, openai: Any, runs: RecordingSink) -> None:
    """The same for a thread."""
    provider.serve(late=LATE)
    client = wrap_client(openai)
    seen: list[Any] = []
    queue: SimpleQueue[Any] = SimpleQueue()

    def produce() -> None:
        for chunk in client.chat.completions.create(**WITH_USAGE):
            seen.append(chunk)
            queue.put(chunk)
            if is_last(chunk):
                time.sleep(saving)

    with ThreadPoolExecutor() as pool:

        @track_ai(config_key="chat")
        def handler(run: Run) -> Iterator[str]:
            producers.append(pool.submit(run.bind(produce)))
            while not is_last(chunk := queue.get()):
                yield chunk.choices[0].delta.content or ""

        producers: list[Future[None]] = []
        assert "".join(handler()) == "Hello there"
        producers[0].result()
    assert seen[-1].usage.prompt_tokens == IN
    assert_exact(runs.wait()[0])


def test_a_stream_that_another_thread_has_left(runs: RecordingSink) -> None:
    """A stream that is its own iterator, and still referred to, does not show that its reader has left. It is exact."""

    def events() -> Iterator[dict[str, Any]]:
        chunk = {"id": "c1", "object": "chat.completion.chunk", "model": "gpt-4o-mini"}
        yield {**chunk, "choices": [{"index": 0, "delta": {"content": "Hello"}, "finish_reason": None}]}
        yield {**chunk, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
        yield {**chunk, "choices": [], "usage": {"prompt_tokens": IN, "completion_tokens": OUT}}

    def read(stream: Iterator[Any]) -> None:
        for event in stream:
            if event["choices"][0]["finish_reason"]:
                return

    @track_ai(config_key="chat")
    def handler(run: Run) -> str:
        kept.append(run.observe(events()))
        with ThreadPoolExecutor() as pool:
            pool.submit(read, kept[0]).result()
        return "Hello"

    kept: list[Iterator[Any]] = []
    handler()
    assert_exact(runs.wait()[0])


def test_a_task_that_reads_too_slowly(provider: Provider, async_openai: Any, runs: RecordingSink) -> None:
    """The run waits for another task no longer than ``Settings.usage_wait``; its usage is an estimate then."""
    client = wrap_client(async_openai)
    seen: list[Any] = []

    async def produce(is_finished: asyncio.Event) -> None:
        async for chunk in await client.chat.completions.create(**WITH_USAGE):
            seen.append(chunk)
            if is_last(chunk):
                is_finished.set()
                await is_over.wait()

    @track_ai(config_key="chat")
    async def handler() -> None:
        is_finished = asyncio.Event()
        producers.append(asyncio.create_task(produce(is_finished)))
        await is_finished.wait()

    async def call() -> None:
        async with async_openai:
            await handler()
            is_over.set()
            await asyncio.gather(*producers)

    is_over = asyncio.Event()
    producers: list[asyncio.Task[None]] = []
    asyncio.run(call())
    assert seen[-1].usage.prompt_tokens == IN
    record = runs.wait()[0]
    assert record.outcome == "success"
    assert record.usage is not None
    assert record.usage.source == "estimate"


@pytest.mark.filterwarnings("ignore:Async generator:ResourceWarning")  # openai does not close those of its streams
def test_a_task_of_trio_that_reads_on(provider: Provider, runs: RecordingSink) -> None:
    """The run waits for the usage that another task of Trio reads, and takes nothing from that task."""
    trio = pytest.importorskip("trio")
    provider.serve(late=LATE)
    seen: list[Any] = []

    async def produce(client: Any, channel: Any) -> None:
        async for chunk in await client.chat.completions.create(**WITH_USAGE):
            seen.append(chunk)
            await channel.send(chunk)
            if is_last(chunk):
                await trio.sleep(LATE / 2)

    async def call() -> None:
        async with makers.async_openai(provider.url) as client, trio.open_nursery() as nursery:

            @track_ai(config_key="chat")
            async def handler() -> None:
                channel, received = trio.open_memory_channel(9)
                nursery.start_soon(produce, wrap_client(client), channel)
                while not is_last(await received.receive()):
                    pass

            await handler()

    trio.run(call)
    assert seen[-1].usage.prompt_tokens == IN
    assert_exact(runs.wait()[0])


@pytest.mark.parametrize("is_iterator", [True, False])
def test_the_end_of_a_stream_without_usage(is_iterator: bool, runs: RecordingSink) -> None:
    """Nothing is read after a stream that has ended, so that no other task runs before its reader goes on."""
    head = {"id": "c1", "object": "chat.completion.chunk"}
    order: list[str] = []

    async def provider() -> AsyncIterator[Any]:
        yield {**head, "choices": [{"index": 0, "delta": {"content": "Hi"}}]}
        yield {**head, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
        asyncio.get_running_loop().call_soon(order.append, "another task")

    class Stream:
        """A stream whose iterator is another object."""

        def __aiter__(self) -> AsyncIterator[Any]:
            return provider()

        async def __anext__(self) -> Any:
            raise AssertionError("its iterator is used")

    async def main() -> None:
        async with track_ai(config_key="chat") as run:
            async for _chunk in run.observe(provider() if is_iterator else Stream()):
                pass
            order.append("the reader")
            await asyncio.sleep(0)

    asyncio.run(main())
    assert order == ["the reader", "another task"]
    usage = runs.wait()[0].usage
    assert usage is not None
    assert usage.source == "estimate"
