"""Reports that are not about the same provider call, although some of their figures are missing or larger."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest

from ldai_integrations import Run, current_run, track_ai, wrap_client
from ldai_integrations._diagnostics import Diagnostics
from ldai_integrations.frameworks._calls import FrameworkCalls
from ldai_integrations.records import RunRecord
from ldai_integrations.testing import Clock, OfflineLaunchDarkly, RecordingSink, ai_config

from .provider import IN, OUT, Provider
from .test_sources import ASK, agents_result, pydantic_result, sum_as_dict, usage_of

MANY_IN, MANY_OUT = 70_001, 13_337


def _openai(text: str, **usage: int) -> dict[str, Any]:
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    return {"id": "gen-1", "object": "chat.completion", "model": "other", "choices": [choice], "usage": usage}


#: Responses of other providers, with ids of another kind than OpenAI's, or with none.
OTHERS: dict[str, dict[str, Any]] = {
    "anthropic": {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "other",
        "content": [{"type": "text", "text": "Good evening"}],
        "stop_reason": "end_turn",
        "usage": {"input_tokens": MANY_IN, "output_tokens": MANY_OUT},
    },
    "ollama": {
        "model": "other",
        "message": {"role": "assistant", "content": "Good evening"},
        "done": True,
        "done_reason": "stop",
        "prompt_eval_count": MANY_IN,
        "eval_count": MANY_OUT,
    },
    "bedrock": {
        "output": {"message": {"role": "assistant", "content": [{"text": "Good evening"}]}},
        "stopReason": "end_turn",
        "usage": {"inputTokens": MANY_IN, "outputTokens": MANY_OUT, "totalTokens": MANY_IN + MANY_OUT},
    },
    "openrouter": _openai("Good evening", prompt_tokens=MANY_IN, completion_tokens=MANY_OUT),
}


def _figures(record: RunRecord) -> tuple[int, int | None, int | None, bool]:
    assert record.usage is not None
    return record.calls, record.usage.input_tokens, record.usage.output_tokens, record.usage.lower_bound


@pytest.mark.parametrize("is_first", [False, True], ids=["after", "before"])
@pytest.mark.parametrize("other", OTHERS.values(), ids=OTHERS)
def test_a_larger_response(
    other: dict[str, Any], is_first: bool, provider: Provider, openai: Any, runs: RecordingSink
) -> None:
    """A response that the application observes is not the sum of the calls of a wrapped client."""
    with track_ai(config_key="chat") as run:
        if is_first:
            run.observe(other)
        wrap_client(openai).chat.completions.create(model="gpt-4o-mini", messages=ASK)
        if not is_first:
            run.observe(other)

    assert _figures(runs.wait()[0]) == (2, IN + MANY_IN, OUT + MANY_OUT, False)


@pytest.mark.parametrize("other", OTHERS.values(), ids=OTHERS)
def test_an_answer_after_embeddings(
    other: dict[str, Any], provider: Provider, openai: Any, runs: RecordingSink
) -> None:
    """The answer with what was found is a call of its own, beside the wrapped call of the embeddings."""
    provider.serve("text-embedding-3-small", tokens=(IN, 0))
    with track_ai(config_key="chat") as run:
        wrap_client(openai).embeddings.create(model="text-embedding-3-small", input="Hi")
        run.observe(other)

    record = runs.wait()[0]
    assert _figures(record) == (2, IN + MANY_IN, MANY_OUT, False)
    assert record.finish_reasons[-1] in ("stop", "end_turn")


def _stream_without_usage(client: Any) -> None:
    list(client.chat.completions.create(model="gpt-4o-mini", messages=ASK, stream=True))


def _stream_that_is_left(client: Any) -> None:
    next(iter(client.chat.completions.create(model="gpt-4o-mini", messages=ASK, stream=True)))


def _answer_without_usage(client: Any) -> None:
    client.chat.completions.create(model="silent", messages=ASK)


CALLS: list[Callable[[Any], None]] = [_stream_without_usage, _stream_that_is_left, _answer_without_usage]


@pytest.mark.parametrize("is_first", [False, True], ids=["after", "before"])
@pytest.mark.parametrize("other", OTHERS.values(), ids=OTHERS)
@pytest.mark.parametrize("call", CALLS)
def test_a_response_beside_a_call_without_usage(
    call: Callable[[Any], None],
    other: dict[str, Any],
    is_first: bool,
    provider: Provider,
    openai: Any,
    runs: RecordingSink,
) -> None:
    """Another response does not fill in the tokens of a call that has none: these are estimated, and marked."""
    provider.serve("silent", tokens=None)
    with track_ai(config_key="chat") as run:
        if is_first:
            run.observe(other)
        call(wrap_client(openai))
        if not is_first:
            run.observe(other)

    record = runs.wait()[0]
    calls, inputs, outputs, _lower_bound = _figures(record)
    assert calls == 2
    assert inputs is not None
    assert outputs is not None
    assert MANY_IN < inputs < MANY_IN + 100
    assert MANY_OUT <= outputs < MANY_OUT + 100
    assert record.usage is not None
    assert record.usage.source == "estimate"


def test_a_response_beside_a_call_that_nobody_waited_for(
    provider: Provider, async_openai: Any, runs: RecordingSink
) -> None:
    """A wrapped call that was cancelled has no answer, so that another response is not its own."""
    provider.serve(delay=5.0)

    @track_ai(config_key="chat")
    async def ask(run: Run) -> None:
        with suppress(asyncio.TimeoutError):
            request = wrap_client(async_openai).chat.completions.create(model="gpt-4o-mini", messages=ASK)
            await asyncio.wait_for(request, 0.1)
        run.observe(usage_of((MANY_IN, MANY_OUT)))

    asyncio.run(ask())

    calls, inputs, outputs, lower_bound = _figures(runs.wait()[0])
    assert (calls, outputs, lower_bound) == (2, MANY_OUT, True)
    assert inputs is not None
    assert MANY_IN < inputs < MANY_IN + 100


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("result", [agents_result, pydantic_result])
def test_a_sum_beside_a_call_without_usage(
    result: Callable[..., Any],
    call: Callable[[Any], None],
    provider: Provider,
    openai: Any,
    runs: RecordingSink,
) -> None:
    """The sum of two known calls is not the usage of a third one."""
    provider.serve("silent", tokens=None)
    provider.serve("small", tokens=(MANY_IN, MANY_OUT))
    client = wrap_client(openai)
    with track_ai(config_key="chat") as run:
        call(client)
        client.chat.completions.create(model="small", messages=ASK)
        provider.serve()
        client.chat.completions.create(model="gpt-4o-mini", messages=ASK)
        run.observe(result((MANY_IN, MANY_OUT), (IN, OUT)))

    calls, inputs, outputs, _lower_bound = _figures(runs.wait()[0])
    assert calls == 3
    assert inputs is not None
    assert outputs is not None
    assert MANY_IN + IN < inputs < MANY_IN + IN + 100
    assert MANY_OUT + OUT <= outputs < MANY_OUT + OUT + 100


def test_a_result_and_its_usage(runs: RecordingSink) -> None:
    """The result of an agent, and the usage object in it, are one report."""
    result = agents_result((MANY_IN, MANY_OUT))
    with track_ai(config_key="chat") as run:
        run.observe(result)
        run.observe(sum_as_dict((MANY_IN, MANY_OUT)))

    assert _figures(runs.wait()[0]) == (1, MANY_IN, MANY_OUT, False)


def test_a_failed_response_beside_a_call(provider: Provider, openai: Any, runs: RecordingSink) -> None:
    """An error that the application observes is a failed call of its own."""
    with track_ai(config_key="chat") as run:
        run.observe({"type": "error", "error": {"type": "overloaded_error", "message": "no"}})
        wrap_client(openai).chat.completions.create(model="gpt-4o-mini", messages=ASK)

    record = runs.wait()[0]
    assert (record.calls, record.failed_calls, record.outcome) == (2, 1, "success")


def test_a_response_without_usage_beside_a_call(provider: Provider, openai: Any, runs: RecordingSink) -> None:
    """A response with another text than the known call is a call of its own, whose tokens are estimated."""
    with track_ai(config_key="chat") as run:
        wrap_client(openai).chat.completions.create(model="gpt-4o-mini", messages=ASK)
        run.observe({**_openai("Good evening"), "usage": None})

    record = runs.wait()[0]
    assert record.calls == 2
    assert record.usage is not None
    assert record.usage.source == "partial"
    assert (record.usage.output_tokens or 0) > OUT


def test_a_stream_that_breaks_off_in_a_framework(provider: Provider, anthropic: Any, runs: RecordingSink) -> None:
    """A framework that reports a failure reports the wrapped call that it made, of which some tokens are known."""
    provider.serve(breaks_after=2)
    calls = FrameworkCalls("langchain", Diagnostics())
    with track_ai(config_key="chat"):
        calls.begin("1")
        try:
            list(wrap_client(anthropic).messages.create(model="gpt-4o-mini", messages=ASK, max_tokens=9, stream=True))
        except Exception as exc:
            calls.fail("1", exc)

    record = runs.wait()[0]
    assert (record.calls, record.failed_calls, record.outcome) == (1, 1, "error")


def test_a_response_that_a_framework_drops(runs: RecordingSink) -> None:
    """A response that is observed while a framework waits for it is the call of the framework, and has its tokens."""
    calls = FrameworkCalls("llama_index", Diagnostics())
    with track_ai(config_key="chat") as run:
        calls.begin("1", api="embeddings")
        run.observe(
            {"object": "list", "model": "e", "data": [{"embedding": [0.5]}], "usage": {"prompt_tokens": MANY_IN}}
        )
        calls.end("1")

    assert _figures(runs.wait()[0]) == (1, MANY_IN, None, False)


def test_answers_with_the_same_tokens(runs: RecordingSink) -> None:
    """Short answers of two models often have the same tokens; an answer in two forms counts once."""
    answers = [{**OTHERS["ollama"], "model": model} for model in ("llama3", "qwen3")]
    with track_ai(config_key="chat") as run:
        for answer in answers:
            run.observe(answer)
            run.observe(json.dumps(answer))

    assert _figures(runs.wait()[0]) == (2, 2 * MANY_IN, 2 * MANY_OUT, False)


def _call_framework(response: dict[str, Any]) -> None:
    calls = FrameworkCalls("langchain", Diagnostics())
    calls.begin("1")
    calls.end("1", response)


def _observe(response: dict[str, Any]) -> None:
    current_run().observe(response)


def _call_client(response: dict[str, Any]) -> None:
    client: Any = SimpleNamespace(chat=SimpleNamespace(completions=SimpleNamespace(create=lambda **_asked: response)))
    wrap_client(client).chat.completions.create(model="other", messages=ASK)


@pytest.mark.parametrize("is_first", [False, True], ids=["after", "before"])
@pytest.mark.parametrize("report", [_call_framework, _observe])
def test_one_id_for_all_responses(
    report: Callable[[dict[str, Any]], None], is_first: bool, runs: RecordingSink
) -> None:
    """Some servers give each response the same id. Calls of several sources with other tokens are several calls."""
    reports = [
        partial(_call_client, _openai("Hello", prompt_tokens=IN, completion_tokens=OUT)),
        partial(report, _openai("Good evening", prompt_tokens=MANY_IN, completion_tokens=MANY_OUT)),
    ]
    with track_ai(config_key="chat"):
        for one in reversed(reports) if is_first else reports:
            one()

    assert _figures(runs.wait()[0]) == (2, IN + MANY_IN, OUT + MANY_OUT, False)


def test_zeros_for_usage_that_did_not_come(provider: Provider, openai: Any, runs: RecordingSink) -> None:
    """A framework may write zeros where a server has sent no usage. They are not the provider's figures."""
    provider.serve("silent", tokens=None)
    with track_ai(config_key="chat") as run:
        response = wrap_client(openai).chat.completions.create(model="silent", messages=ASK)
        zeros = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}
        run.observe({**response.model_dump(), "usage": zeros})

    record = runs.wait()[0]
    assert record.usage is not None
    assert (record.calls, record.usage.source) == (1, "estimate")


@pytest.mark.parametrize("late_ms", [0.0, 0.9, 3.0])
def test_a_call_of_the_newer_sdk(late_ms: float) -> None:
    """The SDK cuts fractions of its durations off. The wrapped call that it made counts once nevertheless."""
    clock = Clock()

    class Client:
        def chat(self, **_asked: object) -> Any:
            clock.advance(10.9)
            return OTHERS["ollama"]

    Client.__module__ = "ollama._client"
    with OfflineLaunchDarkly({"chat": ai_config("other")}, clock=clock) as launchdarkly:
        with track_ai(config_key="chat", tracking=launchdarkly.tracking):
            wrap_client(Client()).chat(model="other", messages=[])
            clock.advance(late_ms)
            about, context = {"runId": "1", "configKey": "chat"}, {"kind": "user", "key": "ada"}
            events = {"duration:total": 10, "generation:success": 1, "tokens:input": MANY_IN, "tokens:output": MANY_OUT}
            for name, value in events.items():
                launchdarkly.tracking.ld_client.track(f"$ld:ai:{name}", context, about, value)
        record = launchdarkly.sink.wait(1)[0]

    assert _figures(record) == (1, MANY_IN, MANY_OUT, False)


_COUNTED = _openai("Good evening", prompt_tokens=MANY_IN, completion_tokens=MANY_OUT)
_UNCOUNTED = {**_openai("Good night"), "id": "gen-2", "usage": None}


@pytest.mark.parametrize(
    ("answers", "tokens", "is_error", "figures"),
    [
        ([], (MANY_IN, 0), False, (1, MANY_IN, 0, False)),
        ([_COUNTED], (MANY_IN, MANY_OUT), True, (1, MANY_IN, MANY_OUT, False)),
        ([_COUNTED], (0, 0), False, (1, MANY_IN, MANY_OUT, False)),
        ([_UNCOUNTED], (MANY_IN, MANY_OUT), True, (1, MANY_IN, MANY_OUT, False)),
        ([_COUNTED, _UNCOUNTED], (MANY_IN + IN, MANY_OUT + OUT), False, (2, MANY_IN + IN, MANY_OUT + OUT, False)),
        ([_UNCOUNTED, _COUNTED], (MANY_IN + IN, MANY_OUT + OUT), True, (2, MANY_IN + IN, MANY_OUT + OUT, False)),
    ],
)
def test_what_a_handler_of_the_newer_sdk_reports(
    answers: list[Any], tokens: tuple[int, int], is_error: bool, figures: tuple[Any, ...]
) -> None:
    """The SDK reports the sum of the wrapped calls of its handler. If the handler fails, so does the last one."""
    clock, left = Clock(), list(answers)

    class Client:
        def chat(self, **_asked: object) -> Any:
            clock.advance(10)
            return left.pop(0)

    Client.__module__ = "ollama._client"
    with OfflineLaunchDarkly({"chat": ai_config("other")}, clock=clock) as launchdarkly:
        with track_ai(config_key="chat", tracking=launchdarkly.tracking):
            for _ in answers:
                wrap_client(Client()).chat(model="other", messages=ASK)
                clock.advance(1)
            events = {"duration:total": 11 * len(answers), f"generation:{'error' if is_error else 'success'}": 1}
            events |= {"tokens:input": tokens[0], "tokens:output": tokens[1]}
            about, context = {"runId": "1", "configKey": "chat"}, {"kind": "user", "key": "ada"}
            for name, value in events.items():
                launchdarkly.tracking.ld_client.track(f"$ld:ai:{name}", context, about, value)
        record = launchdarkly.sink.wait(1)[0]

    assert _figures(record) == figures
    assert (record.outcome, record.failed_calls) == (("error", 1) if is_error else ("success", 0))
