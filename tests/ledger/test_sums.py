"""What providers really send: the counts of a record always add up."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from werkzeug.test import Client

from ldai_integrations import track_ai, wrap_client
from ldai_integrations.records import RunRecord, Usage
from ldai_integrations.testing import OfflineLaunchDarkly, RecordingSink
from ldai_integrations.wsgi import WSGITrackingMiddleware

from ..clients import makers
from .provider import IN, OUT, Provider

ASK: list[Any] = [{"role": "user", "content": "Hi"}]


def assert_consistent(record: RunRecord) -> Usage:
    """Check that the counts of a record add up and are not smaller than their parts."""
    usage = record.usage
    assert usage is not None
    if usage.input_tokens is not None:
        assert usage.input_tokens >= (usage.cached_input_tokens or 0)
        assert usage.input_tokens >= (usage.cache_write_input_tokens or 0)
    if usage.output_tokens is not None:
        assert usage.output_tokens >= (usage.reasoning_tokens or 0)
    if None not in (usage.input_tokens, usage.output_tokens, usage.total_tokens):
        parts = (usage.input_tokens or 0) + (usage.output_tokens or 0) + (usage.other_tokens or 0)
        assert parts == usage.total_tokens
    return usage


def whole(usage: dict[str, Any]) -> list[dict[str, Any]]:
    """Return a whole chat completion."""
    choice = {"index": 0, "message": {"role": "assistant", "content": "Hello there"}, "finish_reason": "stop"}
    return [{"id": "c1", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice], "usage": usage}]


def streamed(*usages: dict[str, Any] | None) -> list[dict[str, Any]]:
    """Return the chunks of a chat completion with a usage each; the last one has no choice."""
    head = {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    last = len(usages) - 2
    choices = [
        {"index": 0, "delta": {"content": " word"}, "finish_reason": "stop" if index == last else None}
        for index in range(len(usages))
    ]
    return [
        {**head, "choices": [] if index > last else [choices[index]], **({"usage": usage} if usage else {})}
        for index, usage in enumerate(usages)
    ]


def counts(inputs: int, outputs: int, total: int, **details: int) -> dict[str, Any]:
    """Return a usage in OpenAI's format."""
    more = {"prompt_tokens_details": details} if details else {}
    return {"prompt_tokens": inputs, "completion_tokens": outputs, "total_tokens": total, **more}


CACHE = counts(2168, 100, 2268, cached_tokens=2161, cache_write_tokens=2161)
GROK = counts(10, 213, 223, cached_tokens=161)
RUNNING = [counts(8, output, 8 + output) for output in (1, 100, 213)]
CASES = {
    "usage in every chunk": (streamed(*RUNNING, RUNNING[-1]), Usage(8, 213, 221)),
    "usage in every chunk, without a summary": (streamed(*RUNNING, None)[:-1], Usage(8, 213, 221)),
    "a cache that is nearly the prompt": (whole(CACHE), Usage(2168, 100, 2268, 2161, 2161)),
    "the same, streamed": (streamed(None, None, CACHE), Usage(2168, 100, 2268, 2161, 2161)),
    "a cache outside of the prompt": (whole(GROK), Usage(171, 213, 384, 161)),
    "the same in a stream": (streamed(None, None, GROK), Usage(171, 213, 384, 161)),
}


@pytest.mark.parametrize(("frames", "expected"), CASES.values(), ids=CASES)
@pytest.mark.parametrize("source", ["client", "observed", "body"])
def test_chats(
    source: str,
    frames: list[dict[str, Any]],
    expected: Usage,
    provider: Provider,
    openai: Any,
    launchdarkly: OfflineLaunchDarkly,
    runs: RecordingSink,
) -> None:
    """Consistent counts are kept, others are made consistent; it does not matter who reads them."""
    provider.serve("m", frames=frames)
    is_stream = len(frames) > 1
    if source == "body":

        def app(_environ: Any, start_response: Any) -> list[bytes]:
            start_response("200 OK", [("Content-Type", "text/event-stream" if is_stream else "application/json")])
            if not is_stream:
                return [json.dumps(frames[0]).encode()]
            return [f"data: {json.dumps(frame)}\n\n".encode() for frame in frames]

        Client(WSGITrackingMiddleware(app, launchdarkly.tracking, config_key="chat")).get("/", buffered=True)
    else:
        client = wrap_client(openai) if source == "client" else openai
        with track_ai(config_key="chat") as run:
            response = run.observe(client.chat.completions.create(model="m", messages=ASK, stream=is_stream))
            for _chunk in response if is_stream else ():
                pass
    record = runs.wait()[0]
    assert assert_consistent(record) == expected
    assert record.outcome == "success"


def test_embeddings(provider: Provider, openai: Any, bedrock: Any, runs: RecordingSink) -> None:
    """The total of embeddings is their input."""
    provider.serve("amazon.titan-embed-text-v2:0", frames=[{"embedding": [0.1], "inputTextTokenCount": IN}])
    with track_ai(config_key="chat"):
        wrap_client(openai).embeddings.create(model="text-embedding-3-small", input="Hi")
    with track_ai(config_key="chat"):
        body = json.dumps({"inputText": "Hi"})
        response = wrap_client(bedrock).invoke_model(modelId="amazon.titan-embed-text-v2:0", body=body)
        assert json.load(response["body"])["inputTextTokenCount"] == IN
    for record in runs.wait(2):
        assert assert_consistent(record) == Usage(IN, None, IN)


def test_several_generations(provider: Provider, runs: RecordingSink) -> None:
    """Gemini's own tools make several generations in one response; the last usage is that of all."""
    usages = [
        {"promptTokenCount": 50, "candidatesTokenCount": 4, "toolUsePromptTokenCount": 30, "totalTokenCount": 84},
        {"promptTokenCount": 90, "candidatesTokenCount": 20, "thoughtsTokenCount": 7, "totalTokenCount": 117},
    ]
    content = {"role": "model", "parts": [{"text": "Hi"}]}
    provider.serve(
        "gemini-2.5-flash",
        frames=[
            {
                "responseId": "r",
                "modelVersion": "gemini-2.5-flash",
                "candidates": [{"index": 0, "content": content, "finishReason": "STOP"}],
                "usageMetadata": usage,
            }
            for usage in usages
        ],
    )
    client = wrap_client(makers.genai(provider.url))
    with track_ai(config_key="chat"):
        for _chunk in client.models.generate_content_stream(model="gemini-2.5-flash", contents="Hi"):
            pass
    assert assert_consistent(runs.wait()[0]) == Usage(90, 27, 117, reasoning_tokens=7)


def test_several_calls(provider: Provider, openai: Any, anthropic: Any, runs: RecordingSink) -> None:
    """The counts of several providers, some of them estimated, add up as well."""
    claude = {"input_tokens": 7, "cache_read_input_tokens": IN, "cache_creation_input_tokens": 11, "output_tokens": OUT}
    provider.serve("claude", usage=claude)
    provider.serve("quiet", tokens=None)
    provider.serve("m", frames=whole(GROK))
    client, other = wrap_client(openai), wrap_client(anthropic)
    with track_ai(config_key="chat"):
        client.chat.completions.create(model="m", messages=ASK)
        client.chat.completions.create(model="quiet", messages=ASK)
        other.messages.create(model="claude", max_tokens=9, messages=ASK)
        client.embeddings.create(model="text-embedding-3-small", input="Hi")
    usage = assert_consistent(runs.wait()[0])
    assert usage.source == "estimate"
    assert usage.input_tokens is not None
    assert usage.input_tokens > 171 + 18 + 2 * IN
    assert usage.cached_input_tokens == 161 + IN
    assert usage.estimated >= {"input_tokens", "cached_input_tokens"}


def test_parts_of_an_estimate_are_not_known() -> None:
    """Cached and reasoning tokens are marked beside an estimate without them, and exact beside exact calls."""
    exact = Usage(1233, 99, cached_input_tokens=633, reasoning_tokens=29)
    estimate = Usage(4, 1, estimated=frozenset({"input_tokens", "output_tokens"}))
    total = exact + estimate
    assert (total.cached_input_tokens, total.reasoning_tokens) == (633, 29)
    assert total.estimated >= {"cached_input_tokens", "reasoning_tokens"}
    assert not (exact + Usage(7, 2)).estimated


@pytest.mark.parametrize("wrapped_first", [True, False])
def test_two_calls_with_equal_output(
    wrapped_first: bool, bedrock: Any, provider: Provider, launchdarkly: OfflineLaunchDarkly, runs: RecordingSink
) -> None:
    """A wrapped and an observed call without ids are two calls, although both have one output token."""
    provider.serve("first", tokens=(7317, 1))
    provider.serve("second", tokens=(4001, 1))
    ask: Any = {"messages": [{"role": "user", "content": [{"text": "Hi"}]}]}
    with track_ai(config_key="chat") as run:
        calls: list[Callable[[], Any]] = [
            lambda: wrap_client(bedrock).converse(modelId="first", **ask),
            lambda: run.observe(bedrock.converse(modelId="second", **ask)),
        ]
        for call in calls if wrapped_first else calls[::-1]:
            call()

    record = runs.wait(1)[-1]
    assert record.calls == 2
    assert record.usage is not None
    assert (record.usage.input_tokens, record.usage.output_tokens) == (11318, 2)


# Numbers that cannot be true


def test_a_wrong_count_of_a_provider(
    provider: Provider,
    openai: Any,
    launchdarkly: OfflineLaunchDarkly,
    runs: RecordingSink,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A negative number of a gateway is unknown and estimated, and one log line names the cause."""
    provider.serve("m", frames=whole({"prompt_tokens": IN, "completion_tokens": -1, "total_tokens": 10**9}))
    for _ in range(2):
        with track_ai(config_key="chat"):
            wrap_client(openai).chat.completions.create(model="m", messages=ASK)
    usage = assert_consistent(runs.wait(2)[-1])

    assert (usage.input_tokens, usage.estimated >= {"output_tokens"}) == (IN, True)
    assert [line for line in caplog.messages if "cannot be true" in line] == [
        "A provider gave a number that cannot be true, in a run of 'chat'. It is computed from the other "
        "numbers, estimated or unknown. Correct the server or gateway that sends it."
    ]


def test_a_wrong_count_that_the_total_corrects(provider: Provider, openai: Any, runs: RecordingSink) -> None:
    """What the provider's other numbers say about a wrong one is exact."""
    counts = {"prompt_tokens": IN, "completion_tokens": -1, "total_tokens": IN + 4711}
    provider.serve("m", frames=whole(counts))
    with track_ai(config_key="chat"):
        wrap_client(openai).chat.completions.create(model="m", messages=ASK)

    usage = assert_consistent(runs.wait()[-1])
    assert (usage.input_tokens, usage.output_tokens, usage.source) == (IN, 4711, "provider")
    assert not usage.lower_bound


@pytest.mark.parametrize("wrong", [-1, True, 1.5, 10**9])
def test_a_wrong_count_of_the_application(
    wrong: Any, launchdarkly: OfflineLaunchDarkly, runs: RecordingSink, caplog: pytest.LogCaptureFixture
) -> None:
    """What the application reports with a wrong number is not counted, and the log line says so; what adds up is."""
    with track_ai(config_key="chat") as run:
        run.add_usage(input_tokens=wrong, output_tokens=5)
        run.add_usage(Usage(10, 5, 99))

    assert runs.wait()[0].usage == Usage(10, 89, 99)
    assert launchdarkly.tracking.stats().diagnostics["usage"] == 1
    assert caplog.messages == [
        "run.add_usage() gave a number that cannot be true, in a run of 'chat'. This report is not counted. "
        "Give whole numbers from zero to 100 million."
    ]
