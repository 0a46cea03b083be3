"""``run.observe``: responses, streams of the real openai package, stream managers, awaitables."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Iterator
from enum import IntEnum
from types import SimpleNamespace, TracebackType
from typing import Any, cast

import httpx
import openai
import pytest

from ldai_integrations import RunRecord, Settings, Tracking, track_ai
from ldai_integrations.records import Usage

from ..clients.answers import AMAZON
from ..clients.event_stream import encode
from ..conftest import Clock
from ..waiting import eventually

ROLE = {"choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}, "finish_reason": None}]}
HELLO = {"choices": [{"index": 0, "delta": {"content": "Hello"}, "finish_reason": None}]}
USAGE: dict[str, Any] = {
    "choices": [],
    "usage": {"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 11},
}
CHUNKS = [
    {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "gpt-4o-mini", **chunk}
    for chunk in (ROLE, HELLO, USAGE)
]
SSE = "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in CHUNKS) + "data: [DONE]\n\n"


def answer(request: httpx.Request) -> httpx.Response:
    """Answer as OpenAI does."""
    return httpx.Response(200, headers={"content-type": "text/event-stream"}, text=SSE)


@pytest.fixture
def block(tracking: Tracking) -> track_ai:
    """Open a run with ``with``."""
    return track_ai(config_key="chat", tracking=tracking)


@pytest.fixture
def model() -> Iterator[openai.OpenAI]:
    """Give the real client over a wire that answers at once."""
    wire = httpx.Client(transport=httpx.MockTransport(answer))
    with openai.OpenAI(api_key="none", base_url="http://model/v1", http_client=cast(Any, wire)) as client:
        yield client


def ask(model: openai.OpenAI) -> openai.Stream[Any]:
    """Ask for a stream."""
    return model.chat.completions.create(model="gpt-4o-mini", messages=[], stream=True)


def test_a_stream_of_openai(block: track_ai, model: openai.OpenAI, records: list[RunRecord], clock: Clock) -> None:
    """Chunks pass untouched, the first text stops the clock, and the usage chunk gives the usage of the run."""
    with block as run:
        seen = []
        for chunk in run.observe(ask(model)):
            clock.advance(10)
            seen.append(chunk.model_dump(exclude_unset=True))

    assert seen == CHUNKS
    record = records[0]
    assert (record.outcome, record.time_to_first_token_ms, record.duration_ms) == ("success", 10, 30)
    assert record.usage == Usage(input_tokens=9, output_tokens=2, total_tokens=11)


def test_a_stream_in_a_block(block: track_ai, model: openai.OpenAI, records: list[RunRecord]) -> None:
    """The stream's own ``with`` block works on the observed stream, and closes the response."""
    with block as run:
        with run.observe(ask(model)) as stream:
            next(stream)
        assert stream.response.is_closed

    assert records[0].outcome == "success"


def test_an_async_stream_of_openai(block: track_ai, records: list[RunRecord], clock: Clock) -> None:
    """The same for the async client, whether the awaitable or the stream is observed."""

    async def consume() -> None:
        wire = httpx.AsyncClient(transport=httpx.MockTransport(answer))
        async with openai.AsyncOpenAI(api_key="none", base_url="http://model/v1", http_client=cast(Any, wire)) as model:
            async with block as run:
                pending = model.chat.completions.create(model="gpt-4o-mini", messages=[], stream=True)
                stream = await run.observe(pending)
                assert isinstance(stream, openai.AsyncStream)
                assert not hasattr(stream, "__iter__")
                clock.advance(5)
                assert [chunk.model for chunk in [chunk async for chunk in stream]] == ["gpt-4o-mini"] * 3
            async with block as run:
                stream = run.observe(await model.chat.completions.create(model="m", messages=[], stream=True))
                async with stream:
                    await stream.__anext__()
                await stream.close()

    asyncio.run(consume())

    assert [record.outcome for record in records] == ["success", "success"]
    assert records[0].usage == Usage(input_tokens=9, output_tokens=2, total_tokens=11)
    assert records[0].time_to_first_token_ms == 5


def test_a_stream_that_is_returned_is_followed(
    tracking: Tracking, model: openai.OpenAI, records: list[RunRecord], clock: Clock
) -> None:
    """If a function returns the provider's stream, the end of the stream ends the run, with the stream's usage."""
    stream = track_ai(config_key="chat", tracking=tracking)(lambda: ask(model))()
    assert isinstance(stream, openai.Stream)
    clock.advance(70)
    assert records == []

    assert len(list(stream)) == 3
    assert (records[0].outcome, records[0].duration_ms) == ("success", 70)
    assert records[0].usage == Usage(input_tokens=9, output_tokens=2, total_tokens=11)


def test_a_returned_stream_that_is_closed_early(
    tracking: Tracking, model: openai.OpenAI, records: list[RunRecord]
) -> None:
    """Closing the stream early cancels the run, and unreported tokens are estimated."""
    stream = track_ai(config_key="chat", tracking=tracking)(lambda: ask(model))()
    next(stream), next(stream)
    stream.close()

    usage = records[0].usage
    assert records[0].outcome == "cancelled"
    assert usage is not None
    assert usage.output_tokens == 1
    assert usage.source == "estimate"


class Events:
    """A stream that is iterated but is no iterator, as Bedrock's event stream."""

    def __init__(self, events: list[Any]) -> None:
        self._events = events
        self.closed = False

    def __iter__(self) -> Iterator[Any]:
        for event in self._events:
            if isinstance(event, Exception):
                raise event
            yield event

    def close(self) -> None:
        """Close it."""
        self.closed = True


class EventStream(Events):
    """A class whose name says that it is a stream."""


BEDROCK = [
    {"messageStart": {"role": "assistant"}},
    {"contentBlockDelta": {"delta": {"text": "Hello"}, "contentBlockIndex": 0}},
    {"messageStop": {"stopReason": "end_turn"}},
    {"metadata": {"usage": {"inputTokens": 4, "outputTokens": 1, "totalTokens": 5}, "metrics": {"latencyMs": 9}}},
]


def test_bedrocks_stream_in_a_dict(tracking: Tracking, block: track_ai, records: list[RunRecord]) -> None:
    """The stream inside of Bedrock's response is read up to the usage, which follows the stop reason."""
    response = {"ResponseMetadata": {"HTTPStatusCode": 200}, "stream": EventStream(BEDROCK)}
    with block as run:
        assert list(run.observe(cast(Any, response))["stream"]) == BEDROCK
    followed: Any = track_ai(config_key="chat", tracking=tracking)(lambda: response)()
    assert followed.keys() == response.keys()
    assert list(followed["stream"]) == BEDROCK

    assert [record.usage for record in records] == [Usage(input_tokens=4, output_tokens=1, total_tokens=5)] * 2


def test_a_stream_that_fails(tracking: Tracking, records: list[RunRecord]) -> None:
    """An exception of the stream is raised unchanged and is the error of the run."""
    stream = track_ai(config_key="chat", tracking=tracking)(lambda: EventStream([BEDROCK[1], OSError("reset")]))()

    with pytest.raises(OSError, match="reset"):
        list(stream)

    assert [(record.outcome, str(record.error)) for record in records] == [("error", "reset")]


class MessageStreamManager:
    """A context manager that gives a stream, as Anthropic's."""

    def __init__(self, *, suppress: bool = False) -> None:
        self.stream = iter(BEDROCK)
        self.suppress = suppress
        self.left: list[Any] = []

    def __enter__(self) -> Iterator[Any]:
        return self.stream

    def __exit__(self, kind: Any, exc: BaseException | None, traceback: TracebackType | None) -> bool:
        self.left.append(exc)
        return self.suppress

    async def __aenter__(self) -> AsyncIterator[Any]:
        return _asynchronously(self.stream)

    async def __aexit__(self, kind: Any, exc: BaseException | None, traceback: TracebackType | None) -> bool:
        self.left.append(exc)
        return self.suppress


async def _asynchronously(events: Iterator[Any]) -> AsyncIterator[Any]:
    for event in events:
        yield event


class Manager:
    """The synchronous manager of a stream."""

    def __init__(self, manager: MessageStreamManager) -> None:
        self._manager = manager

    def __enter__(self) -> Iterator[Any]:
        return self._manager.__enter__()

    def __exit__(self, *exc_info: Any) -> bool:
        return self._manager.__exit__(*exc_info)


class StreamManager(Manager):
    """A class whose name says that it is one."""


def test_a_stream_manager(block: track_ai, tracking: Tracking, records: list[RunRecord]) -> None:
    """The stream of a stream manager is read, and leaving the block leaves the manager's block."""
    manager = MessageStreamManager()
    with block as run, run.observe(StreamManager(manager)) as stream:
        assert list(stream) == BEDROCK
    with track_ai(config_key="chat", tracking=tracking)(lambda: StreamManager(MessageStreamManager()))() as stream:
        assert list(stream) == BEDROCK

    assert manager.left == [None]
    assert [record.usage for record in records] == [Usage(input_tokens=4, output_tokens=1, total_tokens=5)] * 2
    assert [record.outcome for record in records] == ["success"] * 2


def test_an_async_stream_manager(block: track_ai, records: list[RunRecord]) -> None:
    """The same for an async one."""

    async def consume() -> None:
        async with block as run, run.observe(MessageStreamManager()) as stream:
            assert [event async for event in stream] == BEDROCK

    asyncio.run(consume())

    assert records[0].usage == Usage(input_tokens=4, output_tokens=1, total_tokens=5)


def test_several_calls_add_up(block: track_ai, model: openai.OpenAI, records: list[RunRecord]) -> None:
    """The usage of all provider calls of a run is reported once, as a sum."""
    with block as run:
        for _ in range(3):
            list(run.observe(ask(model)))
        run.add_usage(input_tokens=1, output_tokens=1)
        run.add_usage(Usage(input_tokens=2, output_tokens=2, total_tokens=4))

    assert records[0].usage == Usage(input_tokens=30, output_tokens=9, total_tokens=39)


def test_a_provider_wins_over_the_handlers_own_words(
    tracking: Tracking, model: openai.OpenAI, records: list[RunRecord]
) -> None:
    """The handler's output is not counted in addition to an observed stream."""

    @track_ai(config_key="chat", tracking=tracking)
    def words() -> Iterator[str]:
        from ldai_integrations import current_run

        for chunk in current_run().observe(ask(model)):
            yield from (choice.delta.content or "" for choice in chunk.choices)

    assert "".join(words()) == "Hello"
    assert records[0].usage == Usage(input_tokens=9, output_tokens=2, total_tokens=11)


class Hostile:
    """Raise on everything one might do with it."""

    def __getattribute__(self, name: str) -> Any:
        raise RuntimeError(f"touched {name}")

    def __repr__(self) -> str:
        raise RuntimeError("shown")


def test_what_cannot_be_read_is_returned(block: track_ai, records: list[RunRecord]) -> None:
    """An object that raises on every access is returned unchanged, observed or not."""
    hostile = Hostile()
    with block as run:
        assert run.observe(hostile) is hostile

    assert records[0].outcome == "success"


def test_a_hostile_result(tracking: Tracking, records: list[RunRecord]) -> None:
    """A handler may return an object that raises on everything."""
    hostile = Hostile()

    assert track_ai(config_key="chat", tracking=tracking)(lambda: hostile)() is hostile
    assert [record.outcome for record in records] == ["success"]


def test_after_the_end_nothing_changes(block: track_ai, model: openai.OpenAI, records: list[RunRecord]) -> None:
    """A run that has ended passes responses on and is reported once."""
    with block as run:
        pass
    stream = ask(model)

    assert run.observe(stream) is stream
    run.finish()
    assert len(records) == 1
    stream.close()


EVENT_STREAMS: dict[str, list[tuple[str, dict[str, Any]]]] = {
    "Converse": [
        ("messageStart", {"role": "assistant"}),
        ("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": "Hi"}}),
        ("messageStop", {"stopReason": "end_turn"}),
        ("metadata", {"usage": {"inputTokens": 7317, "outputTokens": 3863, "totalTokens": 11180}}),
    ],
    "InvokeModel": [
        ("chunk", {"bytes": base64.b64encode(json.dumps(event).encode()).decode()})
        for event in (
            {"type": "message_start", "message": {"id": "msg_1", "usage": {"input_tokens": 7317, "output_tokens": 1}}},
            {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hi"}},
            {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 3863}},
            {"type": "message_stop"},
        )
    ],
}


@pytest.mark.parametrize("size", [7, 100_000])
@pytest.mark.parametrize("api", EVENT_STREAMS)
def test_an_event_stream_of_amazon(api: str, size: int, block: track_ai, records: list[RunRecord]) -> None:
    """The events in the bytes of an HTTP response of Bedrock are read, wherever the bytes are cut."""
    pytest.importorskip("botocore")
    body = b"".join(encode(name, event) for name, event in EVENT_STREAMS[api])
    parts = [body[at : at + size] for at in range(0, len(body), size)]
    answer = httpx.Response(200, headers={"content-type": AMAZON}, content=iter(parts))
    with block as run:
        assert b"".join(run.observe(answer).iter_bytes()) == body

    [record] = records
    assert record.usage is not None
    assert (record.usage.input_tokens, record.usage.output_tokens, record.usage.source) == (7317, 3863, "provider")
    assert (record.finish_reasons, record.time_to_first_token_ms is not None) == (("end_turn",), True)


def test_a_response_that_is_longer_than_what_is_kept_of_a_body(block: track_ai, records: list[RunRecord]) -> None:
    """The body of a response that has arrived is read whatever its length is, such as many embeddings."""
    embeddings = [{"object": "embedding", "index": index, "embedding": [0.25] * 1_536} for index in range(200)]
    body = {"object": "list", "data": embeddings, "model": "m", "usage": {"prompt_tokens": 811, "total_tokens": 811}}
    answer = httpx.Response(200, json=body)
    assert len(answer.content) > Settings().max_body_bytes
    with block as run:
        run.observe(answer)
    assert eventually(lambda: bool(records))
    assert (records[0].calls, records[0].usage) == (1, Usage(811, total_tokens=811))


class Reason(IntEnum):
    """Why an answer ended, as the classes of protobuf name it."""

    UNSPECIFIED = 0
    STOP = 1


class GoogleResponse:
    """A response of the package google-generativeai: a whole one, or a stream that keeps the response so far."""

    def __init__(self, *words: str) -> None:
        self._words = words
        self._has_come = 1

    @property
    def candidates(self) -> list[Any]:
        """The answer; an error while not all of it has come."""
        if self._has_come < len(self._words):
            raise RuntimeError("iterate over the response before you read it")
        parts = [SimpleNamespace(text=word, function_call=SimpleNamespace(name="", args=None)) for word in self._words]
        reason = Reason.STOP if self._words[-1] == "!" else Reason.UNSPECIFIED
        return [SimpleNamespace(content=SimpleNamespace(parts=parts), finish_reason=reason)]

    @property
    def usage_metadata(self) -> Any:
        """The usage, of which only the last event has the output."""
        output = 77 if self._has_come == len(self._words) and self._words[-1] == "!" else 0
        return SimpleNamespace(prompt_token_count=1013, candidates_token_count=output, total_token_count=1013 + output)

    def __iter__(self) -> Iterator[GoogleResponse]:
        for word in self._words:
            yield GoogleResponse(word)
        self.resolve()

    def resolve(self) -> None:
        """Wait for all of it."""
        self._has_come = len(self._words)


@pytest.mark.parametrize("way", ["whole", "stream", "resolve", "left"])
def test_a_response_that_may_be_a_stream(way: str, block: track_ai, records: list[RunRecord]) -> None:
    """A response of google-generativeai is read as it is used: whole, event by event, or after ``resolve()``."""
    with block as run:
        response = run.observe(GoogleResponse("!") if way == "whole" else GoogleResponse("Hel", "lo", "!"))
        if way == "resolve":
            response.resolve()
        elif way != "whole":
            assert next(iter(response)).candidates[0].content.parts[0].text == "Hel"
            assert way == "left" or len(list(response)) == 3

    [record] = records
    assert record.usage is not None
    assert record.usage.lower_bound is (way == "left")
    assert (record.time_to_first_token_ms is not None) is (way in ("stream", "left"))
    if way != "left":
        assert (record.usage.input_tokens, record.usage.output_tokens) == (1013, 77)
        assert record.finish_reasons == ("STOP",)
