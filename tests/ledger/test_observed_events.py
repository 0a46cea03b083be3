"""Streams whose events are observed one by one, and responses of HTTP libraries."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from operator import methodcaller
from types import SimpleNamespace
from typing import Any, ClassVar

import httpx
import pytest
import requests

from ldai_integrations import track_ai, wrap_client
from ldai_integrations.records import RunRecord
from ldai_integrations.testing import OfflineLaunchDarkly, RecordingSink

from ..usage.bodies import BODIES, Body
from .provider import IN, OUT, Provider

Events = list[dict[str, Any]]
ASK: list[Any] = [{"role": "user", "content": "Hi"}]


def chat(name: str) -> Events:
    """Return the chunks of an OpenAI stream."""
    head = {"id": name, "object": "chat.completion.chunk", "model": "m"}
    usage = {"prompt_tokens": IN, "completion_tokens": OUT, "total_tokens": IN + OUT}
    return [
        {**head, "choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}]},
        *({**head, "choices": [{"index": 0, "delta": {"content": word}}]} for word in ("Hello", " there")),
        {**head, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]},
        {**head, "choices": [], "usage": usage},
    ]


def one_chunk(name: str) -> Events:
    """Return an OpenAI stream whose whole answer is in one chunk."""
    choice = {"index": 0, "delta": {"role": "assistant", "content": "Hello"}, "finish_reason": "stop"}
    return [{**chat(name)[0], "choices": [choice]}, chat(name)[-1]]


def gemini(*names: str) -> Events:
    """Return the responses of a Gemini stream, which have one of these ids each, or none."""
    usage = {"promptTokenCount": IN, "candidatesTokenCount": 3, "totalTokenCount": IN + 3}
    last = {**usage, "candidatesTokenCount": OUT, "totalTokenCount": IN + OUT}
    events: Events = [
        {"candidates": [{"content": {"parts": [{"text": "Hello"}]}}], "usageMetadata": usage},
        {"candidates": [{"content": {"parts": [{"text": "!"}]}, "finishReason": "stop"}], "usageMetadata": last},
    ]
    return [{**event, "responseId": name} for event, name in zip(events, names, strict=True)] if names else events


def claude() -> Events:
    """Return the events of a stream of Anthropic, which has its usage together with the finish reason."""
    return [
        {"type": "message_start", "message": {"id": "m1", "usage": {"input_tokens": IN, "output_tokens": 1}}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hello"}},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": OUT}},
        {"type": "message_stop"},
    ]


def cohere_v1(name: str, *words: str) -> Events:
    """Return the events of a stream of Cohere's chat v1, of which only the last one has the id."""
    text = "".join(words)
    meta = {"tokens": {"input_tokens": IN, "output_tokens": OUT}}
    response = {"response_id": name, "generation_id": f"{name}-1", "text": text, "finish_reason": "stop", "meta": meta}
    return [
        {"is_finished": False, "event_type": "stream-start", "generation_id": f"{name}-1"},
        *({"is_finished": False, "event_type": "text-generation", "text": word} for word in words),
        {"is_finished": True, "event_type": "stream-end", "finish_reason": "stop", "response": response},
    ]


AZURE = {"id": "", "object": "", "model": "", "choices": [], "prompt_filter_results": []}
CLAUDE: Events = [
    {"type": "message_start", "message": {"id": "msg_1", "usage": {"input_tokens": IN, "output_tokens": 1}}},
    {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
    {"type": "ping"},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hello"}},
    {"type": "content_block_stop", "index": 0},
    {"type": "message_delta", "delta": {"stop_reason": "stop"}, "usage": {"output_tokens": OUT}},
    {"type": "message_stop"},
]
CONVERSE: Events = [
    {"messageStart": {"role": "assistant"}},
    {"contentBlockDelta": {"contentBlockIndex": 0, "delta": {"text": "Hello"}}},
    {"messageStop": {"stopReason": "stop"}},
    {"metadata": {"usage": {"inputTokens": IN, "outputTokens": OUT, "totalTokens": IN + OUT}}},
]
COHERE: Events = [
    {"type": "message-start", "id": "co"},
    {"type": "content-delta", "index": 0, "delta": {"message": {"content": {"text": "Hello"}}}},
    {
        "type": "message-end",
        "delta": {"finish_reason": "stop", "usage": {"tokens": {"input_tokens": IN, "output_tokens": OUT}}},
    },
]
OLLAMA: Events = [
    {"model": "llama3", "message": {"role": "assistant", "content": "Hello"}, "done": False},
    {"model": "llama3", "done": True, "done_reason": "stop", "prompt_eval_count": IN, "eval_count": OUT},
]
LLAMA_CPP: Events = [
    {"content": "Hello", "stop": False, "tokens_predicted": 1, "tokens_evaluated": IN},
    {"content": "!", "stop": False, "tokens_predicted": 2, "tokens_evaluated": IN},
    {"content": "", "stop": True, "stop_type": "stop", "tokens_predicted": OUT, "tokens_evaluated": IN},
]
WATSONX: Events = [
    {
        "model_id": "m",
        "results": [
            {"generated_text": text, "generated_token_count": made, "input_token_count": IN, "stop_reason": reason}
        ],
    }
    for text, made, reason in (("Hello", 1, "not_finished"), ("!", 2, "not_finished"), ("", OUT, "stop"))
]
STREAMS = {
    "openai": chat("c1"),
    "azure": [AZURE, *chat("c1")],
    "claude": CLAUDE,
    "gemini": gemini("g1", "g1"),
    "gemini, two ids": gemini("g1", "g2"),
    "gemini, no ids": gemini(),
    "converse": CONVERSE,
    "cohere": COHERE,
    "cohere v1": cohere_v1("co", "Hello", " there"),
    "llama.cpp": LLAMA_CPP,
    "ollama": OLLAMA,
    "watsonx": WATSONX,
    "openai, one chunk": one_chunk("c1"),
}
# Without ids, or with an id for each event, only lines of such streams can be observed one by one.
ONE_BY_ONE = {name: events for name, events in STREAMS.items() if "ids" not in name}
_RESPONSE = {
    "id": "w",
    "object": "response",
    "status": "completed",
    "output": [{"type": "message", "content": [{"type": "output_text", "text": "Good morning"}]}],
    "usage": {"input_tokens": IN, "output_tokens": OUT, "total_tokens": IN + OUT},
}
NAMED: dict[str, dict[str, Any]] = {
    "completion": {
        "id": "w",
        "choices": [{"index": 0, "text": "Hi", "finish_reason": "stop"}],
        "usage": chat("w")[-1]["usage"],
    },
    "gemini": {**gemini("", "w")[1], "candidates": [{"content": {"parts": [{"text": "Hi"}]}, "finishReason": "STOP"}]},
    "cohere v1": cohere_v1("w", "Hi")[-1]["response"],
    "response": _RESPONSE,
    "the end of a stream": {"type": "response.completed", "response": _RESPONSE},
}


def is_exact(record: RunRecord, calls: int = 1) -> bool:
    """Return whether a record has the provider's tokens of so many successful calls."""
    usage = record.usage
    assert usage is not None
    figures = (usage.input_tokens, usage.output_tokens, usage.source, usage.lower_bound, record.failed_calls)
    return figures == (calls * IN, calls * OUT, "provider", False, 0) and record.calls == calls


@pytest.mark.parametrize("events", ONE_BY_ONE.values(), ids=ONE_BY_ONE)
def test_events_are_one_call(events: Events, runs: RecordingSink) -> None:
    """The events of a stream that are observed one by one are one call, as the stream would be."""
    with track_ai(config_key="chat") as run:
        for event in events:
            assert run.observe(event) is event
    record = runs.wait()[0]
    assert is_exact(record)
    assert record.finish_reasons == ("stop",)
    assert record.time_to_first_token_ms is not None


def as_line(event: Any) -> str:
    """Return an event as a line of Server-Sent Events."""
    return f"data: {json.dumps(event)}"


@pytest.mark.parametrize("has_threads", [False, True], ids=["one thread", "threads"])
@pytest.mark.parametrize("encode", [dict, json.dumps, as_line])
@pytest.mark.parametrize("body", [pytest.param(body, id=body.provider) for body in BODIES if body.events])
def test_events_of_every_provider(
    body: Body, encode: Callable[[Any], object], has_threads: bool, runs: RecordingSink
) -> None:
    """The events of every provider's stream are one call with exact figures, also if each comes on another thread."""
    with ExitStack() as threads, track_ai(config_key="chat") as run:
        for event in map(encode, body.events):
            if has_threads:
                threads.enter_context(ThreadPoolExecutor(1)).submit(run.observe, event).result()
            else:
                run.observe(event)
    record = runs.wait()[0]
    assert (record.calls, record.failed_calls, record.usage) == (1, 0, body.usage)
    assert (record.response_model, record.finish_reasons) == (body.model or "", body.finish_reasons)
    assert record.tool_calls == tuple(tool.name for tool in body.tool_calls)
    assert record.time_to_first_token_ms is not None


@pytest.mark.parametrize("events", STREAMS.values(), ids=STREAMS)
def test_the_stream_itself(events: Events, runs: RecordingSink) -> None:
    """The same events are the same call if the stream is observed."""
    with track_ai(config_key="chat") as run:
        assert len(list(run.observe(iter(events)))) == len(events)
    record = runs.wait()[0]
    assert is_exact(record)
    assert record.finish_reasons == ("stop",)


def test_events_of_llama_index(runs: RecordingSink) -> None:
    """Chunks of LlamaIndex contain the provider's chunks, and the last one the usage a second time."""
    chunks = [SimpleNamespace(raw=chunk, delta="", additional_kwargs={}) for chunk in chat("c1")]
    chunks[-1].additional_kwargs = chat("c1")[-1]["usage"]
    with track_ai(config_key="chat") as run:
        for chunk in chunks:
            run.observe(chunk)
    assert is_exact(runs.wait()[0])


def test_the_response_after_its_events(runs: RecordingSink) -> None:
    """The whole response that helpers put together from the events adds nothing to them."""
    head = {"id": "c1", "object": "chat.completion", "model": "m", "usage": chat("c1")[-1]["usage"]}
    choice = {"index": 0, "message": {"role": "assistant", "content": "Hello there"}, "finish_reason": "stop"}
    with track_ai(config_key="chat") as run:
        for event in [*chat("c1"), {**head, "choices": [choice]}]:
            run.observe(event)
    record = runs.wait()[0]
    assert is_exact(record)
    assert record.finish_reasons == ("stop",)


@pytest.mark.parametrize("is_alternating", [False, True])
@pytest.mark.parametrize(
    ("first", "second"),
    [
        (chat("c1"), chat("c2")),
        (chat("c1")[2:], chat("c2")[2:]),
        (one_chunk("c1"), one_chunk("c2")),
        (chat("c1")[-2:], chat("c2")[-2:]),
        (cohere_v1("c1", "Hello", " there"), cohere_v1("c2", "Good", " morning")),
    ],
    ids=["openai", "openai, without a role", "openai, one chunk", "openai, without text", "cohere v1"],
)
def test_two_streams(first: Events, second: Events, is_alternating: bool, runs: RecordingSink) -> None:
    """The ids of the responses tell several streams apart."""
    events = [*first, *second]
    if is_alternating:
        events = [event for pair in zip(first, second, strict=True) for event in pair]
    with track_ai(config_key="chat") as run:
        for event in events:
            run.observe(event)
    assert is_exact(runs.wait()[0], calls=2)


@pytest.mark.parametrize("events", ONE_BY_ONE.values(), ids=ONE_BY_ONE)
def test_streams_with_one_id(events: Events, runs: RecordingSink) -> None:
    """Streams that are observed one after the other are one call each, also if their ids are the same."""
    with track_ai(config_key="chat") as run:
        for event in [*events, *events, *events]:
            run.observe(dict(event))
    assert is_exact(runs.wait()[0], calls=3)


def test_a_response_between_events(runs: RecordingSink) -> None:
    """A whole response, such as an embedding, is a call of its own."""
    usage = {"prompt_tokens": IN, "total_tokens": IN}
    embeddings = {"object": "list", "data": [{"embedding": [0.0]}], "model": "e", "usage": usage}
    answer = {"id": "c2", "choices": [{"index": 0, "message": {"content": "Hi"}, "finish_reason": "stop"}]}
    with track_ai(config_key="chat") as run:
        for event in CONVERSE[:2]:
            run.observe(event)
        run.observe(embeddings)
        run.observe({**answer, "usage": chat("c2")[-1]["usage"]})
        for event in CONVERSE[2:]:
            run.observe(event)
    record = runs.wait()[0]
    assert record.usage is not None
    assert (record.usage.input_tokens, record.usage.output_tokens, record.calls) == (3 * IN, 2 * OUT, 3)


@pytest.mark.parametrize("encode", [dict, json.dumps])
@pytest.mark.parametrize("answer", NAMED.values(), ids=NAMED)
def test_a_response_with_an_id_between_events(answer: dict[str, Any], encode: Any, runs: RecordingSink) -> None:
    """A response with an id and a finish reason is not the end of a stream whose events have no id so far."""
    events = cohere_v1("c1", "Hello", " there")
    with track_ai(config_key="chat") as run:
        for event in [*events[:2], answer, *events[2:]]:
            run.observe(encode(event))
    assert is_exact(runs.wait()[0], calls=2)


def test_the_end_of_a_stream_whose_start_was_not_observed(runs: RecordingSink) -> None:
    """The last event of the Responses API has the id of the response, and belongs to the deltas before it."""
    with track_ai(config_key="chat") as run:
        for word in ("Good", " morning"):
            run.observe({"type": "response.output_text.delta", "output_index": 0, "delta": word})
        run.observe(dict(NAMED["the end of a stream"]))
    assert is_exact(runs.wait()[0])


@pytest.mark.parametrize(
    "answer",
    [
        {"choices": [{"index": 0, "text": "Hi"}], "usage": chat("c1")[-1]["usage"]},
        {"content": "Hi", "stop": True, "tokens_evaluated": IN, "tokens_predicted": OUT},
        gemini()[0] | {"usageMetadata": gemini()[1]["usageMetadata"]},
    ],
    ids=["completion", "llama.cpp", "gemini"],
)
def test_responses_without_an_end(answer: dict[str, Any], runs: RecordingSink) -> None:
    """Responses with usage are calls of their own, although they have neither an id nor a finish reason."""
    with track_ai(config_key="chat") as run:
        for _ in range(2):
            run.observe(dict(answer))
    assert is_exact(runs.wait()[0], calls=2)


def test_a_failure_after_lines(runs: RecordingSink) -> None:
    """An exception after the last line of a stream is that of another call."""
    with track_ai(config_key="chat") as run:
        for event in chat("c1"):
            run.observe(f"data: {json.dumps(event)}")
        run.observe("data: [DONE]")
        run.observe(ConnectionError())
    record = runs.wait()[0]
    assert (record.calls, record.failed_calls, record.outcome) == (2, 1, "error")


@pytest.mark.parametrize("events", ONE_BY_ONE.values(), ids=ONE_BY_ONE)
@pytest.mark.parametrize("copy", [lambda event: event, json.dumps, lambda event: SimpleNamespace(**event), as_line])
def test_events_that_two_functions_observe(copy: Callable[[Any], Any], events: Events, runs: RecordingSink) -> None:
    """An event counts once if a second function observes it as well, as the same object or in another form."""
    with track_ai(config_key="chat") as run:
        for event in events:
            run.observe(event)
            run.observe(copy(event))
    assert is_exact(runs.wait()[0])


@pytest.mark.parametrize("copy", [lambda chunk: chunk, methodcaller("model_dump"), methodcaller("model_dump_json")])
@pytest.mark.parametrize("asks", [True, False], ids=["with usage", "without usage"])
def test_chunks_of_a_wrapped_client_that_two_functions_observe(
    asks: bool, copy: Callable[[Any], Any], provider: Provider, openai: Any, runs: RecordingSink
) -> None:
    """The same for the chunks of a wrapped client, whether or not the application asks for the usage."""
    options: dict[str, Any] = {"stream_options": {"include_usage": True}} if asks else {}
    client = wrap_client(openai, include_usage="always")
    with track_ai(config_key="chat") as run:
        for chunk in client.chat.completions.create(model="gpt-4o-mini", messages=ASK, stream=True, **options):
            run.observe(run.observe(chunk))
            run.observe(copy(chunk))
    assert is_exact(runs.wait()[0])


def test_chunks_of_a_wrapped_client(provider: Provider, openai: Any, runs: RecordingSink) -> None:
    """The chunks of a wrapped client's stream add nothing to the call."""
    client = wrap_client(openai, include_usage="always")
    with track_ai(config_key="chat") as run:
        for chunk in client.chat.completions.create(model="gpt-4o-mini", messages=ASK, stream=True):
            run.observe(chunk)
    assert is_exact(runs.wait()[0])


@pytest.mark.parametrize("error", [ConnectionError(), {"error": {"message": "no", "type": "overloaded"}}])
def test_a_stream_that_breaks_off(error: Any, runs: RecordingSink) -> None:
    """An exception or an error after some of the events means that their call has failed."""
    with track_ai(config_key="chat") as run:
        for event in [*chat("c1")[:3], error]:
            run.observe(event)
    record = runs.wait()[0]
    assert record.usage is not None
    assert (record.calls, record.failed_calls, record.outcome, record.usage.lower_bound) == (1, 1, "error", True)


@pytest.mark.parametrize(("code", "has_text"), [(429, False), ("400", False), (504, False), (429, True), (200, False)])
def test_a_stream_that_is_a_refusal(*, code: Any, has_text: bool, runs: RecordingSink) -> None:
    """A stream with nothing but the status of a refusal is not billed; after text, or a timeout, it may be."""
    events = [*chat("c1")[: 2 * has_text], {"error": {"message": "no", "code": code}}]
    with track_ai(config_key="chat") as run:
        run.messages(user="Hi")
        assert list(run.observe(iter(events))) == events
    record = runs.wait()[0]
    assert (record.calls, record.failed_calls, record.outcome) == (1, 1, "error")
    is_refusal = int(code) in (429, 400) and not has_text
    assert (record.usage is None) is is_refusal
    assert is_refusal or (record.usage is not None and record.usage.lower_bound)


def test_a_failure_after_a_stream(runs: RecordingSink) -> None:
    """An exception after the finish reason is that of another call."""
    with track_ai(config_key="chat") as run:
        for event in [*chat("c1"), ConnectionError()]:
            run.observe(event)
    record = runs.wait()[0]
    assert (record.calls, record.failed_calls, record.outcome) == (2, 1, "error")


@pytest.mark.parametrize("is_stream", [True, False])
@pytest.mark.parametrize("name", ["chat", "gemini", "claude"])
def test_a_failure_after_the_finish_reason(name: str, is_stream: bool, runs: RecordingSink) -> None:
    """An answer that is complete does not replace a later call, even if more events of its stream follow."""
    events = {"chat": chat("c1"), "gemini": gemini("g1", "g1"), "claude": claude()}[name]
    with track_ai(config_key="chat") as run:
        for event in run.observe(iter(events)) if is_stream else map(run.observe, events):
            if any(f"'{name}'" in str(event) for name in ("finish_reason", "finishReason", "stop_reason")):
                run.observe(ConnectionError())
    record = runs.wait()[0]
    assert (record.calls, record.failed_calls, record.outcome) == (2, 1, "error")


def test_a_failure_after_another_answer_has_begun(runs: RecordingSink) -> None:
    """In a stream of two answers, the first one does not replace a later call because the second one has begun."""
    with track_ai(config_key="chat") as run:
        stream = run.observe(event for event in [*chat("c1"), *chat("c2")[:1]])
        list(zip(range(len(chat("c1")) + 1), stream, strict=False))
        run.observe(ConnectionError())
        stream.close()
    record = runs.wait()[0]
    assert (record.failed_calls, record.outcome) == (1, "error")


def test_a_stream_that_ends_without_its_end(provider: Provider, openai: Any, runs: RecordingSink) -> None:
    """A stream without finish reason and usage was cut off on its way, so that its estimate is a lower bound."""
    provider.serve(frames=chat("c1")[:3])
    client = wrap_client(openai)
    with track_ai(config_key="chat"):
        assert len(list(client.chat.completions.create(model="gpt-4o-mini", messages=ASK, stream=True))) == 3
    record = runs.wait()[0]
    assert record.usage is not None
    assert (record.usage.source, record.usage.lower_bound, record.outcome) == ("estimate", True, "success")


@pytest.mark.parametrize("library", [httpx, requests], ids=["httpx", "requests"])
def test_responses_of_http_libraries(library: Any, provider: Provider, runs: RecordingSink) -> None:
    """The response of an HTTP library is read like its JSON."""
    with track_ai(config_key="chat") as run:
        response = library.post(f"{provider.url}/v1/chat/completions", json={"model": "m", "messages": ASK})
        assert run.observe(response) is response
        assert response.json()["choices"]
    assert is_exact(runs.wait()[0])


@pytest.mark.parametrize("library", [httpx, requests], ids=["httpx", "requests"])
@pytest.mark.parametrize("frames", [None, [{"detail": "Bad gateway"}]], ids=["error", "unknown error"])
def test_errors_of_http_libraries(library: Any, frames: Any, provider: Provider, runs: RecordingSink) -> None:
    """The status of an HTTP response says that the call has failed, whatever its body is."""
    provider.serve("m", status=502, frames=frames)
    with track_ai(config_key="chat") as run:
        run.observe(library.post(f"{provider.url}/v1/chat/completions", json={"model": "m", "messages": ASK}))
    record = runs.wait()[0]
    assert (record.calls, record.failed_calls, record.outcome, record.usage) == (1, 1, "error", None)


@pytest.mark.parametrize("body", [{"text": "Hello"}, {"created": 1, "data": [{"url": "https://example.com/1.png"}]}])
def test_an_http_response_in_another_format(
    body: dict[str, Any], launchdarkly: OfflineLaunchDarkly, runs: RecordingSink
) -> None:
    """A response that is not in the format of any provider, such as one of an image, is refused with a diagnostic."""
    with track_ai(config_key="chat") as run:
        run.observe(httpx.Response(200, json=body))
    assert runs.wait()[0].calls == 0
    assert launchdarkly.tracking.stats().diagnostics == {"observe_unknown": 1}


def test_a_stream_of_requests(provider: Provider, launchdarkly: OfflineLaunchDarkly, runs: RecordingSink) -> None:
    """A response of requests that is still to be read is refused, with the hint to observe its lines."""
    with track_ai(config_key="chat") as run:
        response = requests.post(f"{provider.url}/v1/chat/completions", json={"model": "m"}, stream=True)
        assert run.observe(response) is response
        response.close()
    assert runs.wait()[0].calls == 0
    assert launchdarkly.tracking.stats().diagnostics == {"observe_unknown": 1}


def test_a_refused_stream_of_requests(provider: Provider, runs: RecordingSink) -> None:
    """The status of a response that is still to be read says that the call has failed."""
    provider.serve("m", status=429)
    with track_ai(config_key="chat") as run:
        run.observe(requests.post(f"{provider.url}/v1/chat/completions", json={"model": "m"}, stream=True)).close()
    record = runs.wait()[0]
    assert (record.calls, record.failed_calls, record.outcome) == (1, 1, "error")


def test_a_line_that_is_a_whole_stream(runs: RecordingSink) -> None:
    """A stream of one event has a first token."""
    part = {"functionCall": {"name": "weather", "args": {}}}
    usage = {"promptTokenCount": IN, "candidatesTokenCount": OUT, "totalTokenCount": IN + OUT}
    candidate = {"content": {"role": "model", "parts": [part]}, "finishReason": "STOP"}
    with track_ai(config_key="chat") as run:
        run.observe(f"data: {json.dumps({'candidates': [candidate], 'usageMetadata': usage})}")
    record = runs.wait()[0]
    assert is_exact(record)
    assert record.tool_calls == ("weather",)
    assert record.time_to_first_token_ms is not None


class Request:
    """A request that may be awaited or entered, as those of aiohttp."""

    def __await__(self) -> Generator[Any, None, dict[str, Any]]:
        return self.__aenter__().__await__()

    async def __aenter__(self) -> dict[str, Any]:
        choice = {"index": 0, "message": {"content": "Hi"}, "finish_reason": "stop"}
        return {"id": "c1", "choices": [choice], "usage": chat("c1")[-1]["usage"]}

    async def __aexit__(self, *exc_info: object) -> None:
        pass


@pytest.mark.parametrize("is_entered", [False, True])
def test_requests_that_may_be_awaited_or_entered(is_entered: bool, runs: RecordingSink) -> None:
    """A request of a library such as aiohttp may still be awaited or entered when it is observed."""

    async def handler() -> Any:
        with track_ai(config_key="chat") as run:
            if not is_entered:
                return await run.observe(Request())
            async with run.observe(Request()) as response:
                return response

    assert asyncio.run(handler())["id"] == "c1"
    assert is_exact(runs.wait()[0])


class Response:
    """A response whose body only the application can read, as that of aiohttp."""

    status = 0
    headers: ClassVar[dict[str, str]] = {}

    def __init__(self, status: int) -> None:
        self.status = status

    def raise_for_status(self) -> None:
        """Raise an exception if the status is that of an error."""
        assert self.status < 400

    async def json(self) -> dict[str, Any]:
        """Return the body."""
        return await Request().__aenter__()

    async def __aenter__(self) -> Response:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        pass


def test_a_response_and_its_body(runs: RecordingSink, caplog: pytest.LogCaptureFixture) -> None:
    """A response that cannot be read is no call, which the log says; its JSON is one."""

    async def handler() -> None:
        with track_ai(config_key="chat") as run:
            run.observe(await run.observe(Response(200)).json())

    asyncio.run(handler())
    record = runs.wait()[0]
    assert record.calls == 1
    assert is_exact(record)
    assert "what json() returns" in caplog.text


def test_a_refusal_that_cannot_be_read(runs: RecordingSink) -> None:
    """A response with the status of an error is a failed call."""
    with track_ai(config_key="chat") as run:
        run.observe(Response(429))
    record = runs.wait()[0]
    assert (record.outcome, record.calls, record.failed_calls) == ("error", 1, 1)


@pytest.mark.parametrize("content_type", ["application/json", "text/event-stream"])
def test_a_refusal_has_no_tokens(runs: RecordingSink, content_type: str) -> None:
    """A request that was refused is not billed, whatever the format of the refusal is."""
    refusal = httpx.Response(429, headers={"content-type": content_type}, content=b"data: too many requests\n\n")
    with track_ai(config_key="chat") as run:
        run.messages(user="Where is my parcel?")
        run.observe(refusal)
    record = runs.wait()[0]
    assert (record.outcome, record.failed_calls, record.usage) == ("error", 1, None)


class Lines:
    """The lines of a body, as a library without a class for closing them gives them."""

    def __init__(self, events: Events) -> None:
        self.events = events

    def __aiter__(self) -> AsyncIterator[dict[str, Any]]:
        return self._read()

    async def _read(self) -> AsyncIterator[dict[str, Any]]:
        for event in self.events:
            yield event


def test_any_asynchronous_iterable(runs: RecordingSink) -> None:
    """Whatever can be iterated asynchronously is a stream."""

    async def handler() -> list[Any]:
        with track_ai(config_key="chat") as run:
            return [event async for event in run.observe(Lines(chat("c1")))]

    assert len(asyncio.run(handler())) == 5
    assert is_exact(runs.wait()[0])


def test_code_that_the_provider_runs_is_no_tool_call(runs: RecordingSink) -> None:
    """The code that a model writes for the provider's interpreter is output, and calls no tool of the application."""
    usage = {"input_tokens": IN, "output_tokens": OUT, "total_tokens": IN + OUT}
    events: list[dict[str, Any]] = [
        {"type": "response.created", "response": {"id": "r1", "object": "response", "status": "in_progress"}},
        {"type": "response.code_interpreter_call_code.delta", "delta": "x = 1", "output_index": 0},
        {
            "type": "response.completed",
            "response": {"id": "r1", "object": "response", "status": "completed", "output": [], "usage": usage},
        },
    ]
    with track_ai(config_key="chat") as run:
        assert list(run.observe(iter(events)))
    record = runs.wait()[0]
    assert is_exact(record)
    assert record.tool_calls == ()
    assert record.time_to_first_token_ms is not None
