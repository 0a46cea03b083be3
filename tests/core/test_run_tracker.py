"""``run.tracker``: every tracker method of LaunchDarkly's documentation, and nothing reported twice."""

from __future__ import annotations

import asyncio
import math
import time
import weakref
from types import SimpleNamespace
from typing import Any

import pytest
from ldai.providers.types import JudgeResult, LDAIMetrics
from ldai.tracker import FeedbackKind, TokenUsage

from ldai_integrations import RunRecord, Tracking, track_ai

from ..conftest import Clock, Events

OPENAI = {
    "object": "chat.completion",
    "model": "gpt-4o-mini",
    "choices": [{"message": {"role": "assistant", "content": "Hello"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 5, "completion_tokens": 1, "total_tokens": 6},
}
CONVERSE = {
    "ResponseMetadata": {"HTTPStatusCode": 200},
    "output": {"message": {"role": "assistant", "content": [{"text": "Hello"}]}},
    "usage": {"inputTokens": 7, "outputTokens": 2, "totalTokens": 9},
    "metrics": {"latencyMs": 321},
    "stopReason": "end_turn",
}


@pytest.fixture
def block(tracking: Tracking) -> track_ai:
    """Open a run with ``with``."""
    return track_ai(config_key="chat", tracking=tracking)


def test_what_is_said_wins(block: track_ai, events: Events, records: list[RunRecord], clock: Clock) -> None:
    """Duration, first token, tokens and outcome from user code are sent once, instead of the measured ones."""
    with block as run:
        run.observe(OPENAI)
        run.first_token()
        clock.advance(10_000)
        run.tracker.track_duration(12)
        run.tracker.track_time_to_first_token(3)
        run.tracker.track_tokens(TokenUsage(total=30, input=10, output=20))
        run.tracker.track_error()

    assert sorted(events.of_runs()) == [
        ("duration:total", 12),
        ("generation:error", 1),
        ("tokens:input", 10),
        ("tokens:output", 20),
        ("tokens:total", 30),
        ("tokens:ttf", 3),
    ]
    record = records[0]
    assert (record.outcome, record.duration_ms, record.time_to_first_token_ms) == ("error", 12, 3)
    assert record.usage is not None
    assert (record.usage.input_tokens, record.usage.output_tokens) == (10, 20)


def test_the_rest_is_measured(block: track_ai, tracking: Tracking, events: Events, clock: Clock) -> None:
    """Values that user code does not report are sent as measured."""
    with block as run:
        run.observe(OPENAI)
        clock.advance(40)
        run.tracker.track_success()
    tracking.flush()

    assert sorted(events.of_runs()) == [
        ("duration:total", 40),
        ("generation:success", 1),
        ("tokens:input", 5),
        ("tokens:output", 1),
        ("tokens:total", 6),
    ]


def test_tool_calls_that_are_said_replace_those_found(
    block: track_ai, events: Events, records: list[RunRecord]
) -> None:
    """A tool call that a response shows and that user code tracks as well is one event; later ones still arrive."""
    call = {"index": 0, "function": {"name": "search", "arguments": "{}"}}
    response = {**OPENAI, "choices": [{"message": {"role": "assistant", "tool_calls": [call]}}]}
    with block as run:
        run.observe(response)
    with block as other:
        other.observe(response)
        other.tracker.track_tool_call("search")
        other.tracker.track_tool_calls(["weather", "search"])
    other.tool_call("late")

    assert [record.tool_calls for record in records] == [("search",), ("search", "weather", "search")]
    assert [event.data["toolKey"] for event in events.named("tool_call")] == [
        "search",
        "search",
        "weather",
        "search",
        "late",
    ]


def test_feedback_comes_long_after(block: track_ai, events: Events) -> None:
    """A vote after the end of a run is sent once, under the id of the run."""
    with block as run:
        pass
    run.tracker.track_feedback({"kind": FeedbackKind.Positive})
    run.tracker.track_feedback({"kind": FeedbackKind.Negative})

    assert [event.data["runId"] for event in events.named("feedback:user:positive")] == [run.id]
    assert events.named("feedback:user:negative") == []


def test_a_judges_score(block: track_ai, events: Events) -> None:
    """A judge's result is tracked on the run that was judged."""
    result = JudgeResult(
        judge_config_key="relevance", success=True, sampled=True, metric_key="$ld:ai:judge:relevance", score=0.75
    )
    with block as run:
        run.tracker.track_judge_result(result)

    assert [(event.metric_value, event.data["runId"]) for event in events.named("judge:relevance")] == [(0.75, run.id)]


def test_duration_of(block: track_ai, records: list[RunRecord]) -> None:
    """The duration of the call is the duration of the run, and its result is returned."""
    with block as run:
        assert run.tracker.track_duration_of(lambda: "Hello") == "Hello"
        summary = run.tracker.get_summary()

    assert records[0].duration_ms == summary.duration_ms


def test_metrics_of(block: track_ai, events: Events) -> None:
    """Values that the user's extractor finds are sent, sync and async."""

    def metrics(result: Any) -> LDAIMetrics:
        return LDAIMetrics(success=True, tokens=TokenUsage(total=3, input=2, output=1))

    async def ask() -> str:
        return "Hello"

    with block as run:
        assert run.tracker.track_metrics_of(metrics, lambda: "Hello") == "Hello"
    with block as run:
        assert asyncio.run(run.tracker.track_metrics_of_async(metrics, ask)) == "Hello"

    assert [event.metric_value for event in events.named("tokens:total")] == [3, 3]
    assert len(events.named("generation:success")) == 2


def test_openai_metrics(block: track_ai, events: Events, records: list[RunRecord]) -> None:
    """The documented OpenAI wrapper returns the response and reads its usage, awaited or not."""

    async def ask() -> dict[str, Any]:
        return OPENAI

    with block as run:
        assert run.tracker.track_openai_metrics(lambda: OPENAI) is OPENAI
    with block as run:
        assert asyncio.run(_awaited(run.tracker.track_openai_metrics(ask))) is OPENAI

    assert [(record.outcome, record.usage.total_tokens) for record in records if record.usage] == [("success", 6)] * 2
    assert len(events.named("generation:success")) == 2


async def _awaited(pending: Any) -> Any:
    return await pending


def test_openai_metrics_of_a_failure(block: track_ai, records: list[RunRecord]) -> None:
    """A failed call makes the run an error even if the handler catches the exception."""

    def fail() -> None:
        raise ConnectionError("no model")

    with block as run, pytest.raises(ConnectionError, match="no model"):
        run.tracker.track_openai_metrics(fail)

    assert [record.outcome for record in records] == ["error"]


@pytest.mark.parametrize(("status", "outcome"), [(200, "success"), (500, "error")])
def test_bedrock_metrics(block: track_ai, records: list[RunRecord], status: int, outcome: str) -> None:
    """The documented Bedrock wrapper reads outcome, latency and usage, and returns the response."""
    response = {**CONVERSE, "ResponseMetadata": {"HTTPStatusCode": status}}
    with block as run:
        assert run.tracker.track_bedrock_converse_metrics(response) is response

    record = records[0]
    assert (record.outcome, record.duration_ms) == (outcome, 321)
    assert record.usage is not None
    assert record.usage.total_tokens == 9


@pytest.mark.parametrize("response", [{}, None, {"ResponseMetadata": {}}])
def test_bedrock_metrics_of_something_else(block: track_ai, records: list[RunRecord], response: Any) -> None:
    """Another object is returned unchanged, and the run is measured as usual."""
    with block as run:
        assert run.tracker.track_bedrock_converse_metrics(response) == response

    assert records[0].outcome == "success"


def test_the_resumption_token_is_the_runs(block: track_ai, tracking: Tracking) -> None:
    """The run has LaunchDarkly's own resumption token."""
    with block as run:
        token = run.tracker.resumption_token

    from ldai import LDAIClient

    resumed: Any = LDAIClient(tracking.client).create_tracker(token, run.ld_context)
    assert resumed.is_success()
    assert resumed.value.resumption_token == token


# The functions of LaunchDarkly's page about AI metrics take a config with a tracker. Only their clients are ours.


class _OpenAI:
    """A client that answers as OpenAI's does."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.chat = SimpleNamespace(completions=self)

    def create(self, *, model: str, messages: list[dict[str, str]], stream: bool = False) -> Any:
        assert model == "gpt-4o-mini"
        assert messages[-1] == {"role": "user", "content": "Hi"}
        self._clock.advance(100)
        if not stream:
            message = SimpleNamespace(role="assistant", content="Hello")
            usage = SimpleNamespace(prompt_tokens=7317, completion_tokens=3863, total_tokens=11180)
            return SimpleNamespace(
                object="chat.completion", choices=[SimpleNamespace(message=message, finish_reason="stop")], usage=usage
            )
        return (SimpleNamespace(choices=[SimpleNamespace(delta=SimpleNamespace(content=t))]) for t in ("", "Hel", "lo"))


class _Anthropic:
    """A client that answers as Anthropic's does."""

    def __init__(self) -> None:
        self.messages = self

    def create(self, *, model: str, max_tokens: int, messages: list[dict[str, str]]) -> Any:
        assert (model, max_tokens, messages[0]["content"]) == ("gpt-4o-mini", 1024, "Hi")
        usage = SimpleNamespace(input_tokens=7317, output_tokens=3863)
        return SimpleNamespace(content=[SimpleNamespace(text="Hello")], usage=usage)


def _with_openai(config: Any, prompt: str, client: Any) -> Any:
    if not config.enabled:
        return None
    tracker = config.tracker
    messages = [{"role": "system", "content": config.messages[0].content}, {"role": "user", "content": prompt}]
    response = tracker.track_openai_metrics(
        lambda: client.chat.completions.create(model=config.model.name, messages=messages)
    )
    return response.choices[0].message.content


def _with_anthropic(config: Any, prompt: str, client: Any) -> Any:
    if not config.enabled:
        return None
    tracker = config.tracker
    response = tracker.track_duration_of(
        lambda: client.messages.create(
            model=config.model.name, max_tokens=1024, messages=[{"role": "user", "content": prompt}]
        )
    )
    if hasattr(response, "usage"):
        used = response.usage
        total = used.input_tokens + used.output_tokens
        tracker.track_tokens(TokenUsage(total=total, input=used.input_tokens, output=used.output_tokens))
    tracker.track_success()
    return response.content[0].text


def _with_a_stream(config: Any, prompt: str, client: Any) -> Any:
    if not config.enabled:
        return None
    tracker = config.tracker
    started, first = time.time(), None
    stream = client.chat.completions.create(
        model=config.model.name, messages=[{"role": "user", "content": prompt}], stream=True
    )
    text = ""
    for chunk in stream:
        if first is None and chunk.choices[0].delta.content:
            first = time.time()
            tracker.track_time_to_first_token(int((first - started) * 1000))
        if chunk.choices[0].delta.content:
            text += chunk.choices[0].delta.content
    tracker.track_duration(int((time.time() - started) * 1000))
    tracker.track_success()
    tracker.track_tokens(TokenUsage(total=11180, input=7317, output=3863))
    return text


@pytest.mark.parametrize(
    ("function", "extra"), [(_with_openai, set()), (_with_anthropic, set()), (_with_a_stream, {"tokens:ttf"})]
)
def test_documented_functions(
    function: Any, extra: set[str], block: track_ai, tracking: Tracking, events: Events, clock: Clock
) -> None:
    """The functions of LaunchDarkly's documentation work with ``run.config``, and nothing is reported twice."""
    with block as run:
        client = _Anthropic() if function is _with_anthropic else _OpenAI(clock)
        assert function(run.config, "Hi", client) == "Hello"

    tracking.flush()
    figures = dict(events.of_runs())
    names = {"duration:total", "generation:success", "tokens:input", "tokens:output", "tokens:total"}
    assert figures.keys() == names | extra
    assert len(events.of_runs()) == len(figures)
    assert (figures["tokens:input"], figures["tokens:output"], figures["tokens:total"]) == (7317, 3863, 11180)


def test_the_tracker_of_an_ai_config(block: track_ai, tracking: Tracking) -> None:
    """``run.config`` stays the same object, and with its tracker it does not keep the run from being freed."""
    with block as run:
        config: Any = run.config
        assert config.tracker.resumption_token == run.tracker.resumption_token
        assert run.config is config
        run.discard()
    tracking.flush()
    gone = weakref.ref(run)
    del run, config

    assert gone() is None


NAN: Any = math.nan


@pytest.mark.parametrize(
    "report",
    [
        lambda tracker: tracker.track_tokens(TokenUsage(total=150_000_000, input=150_000_000, output=0)),
        lambda tracker: tracker.track_tokens(TokenUsage(total=4, input=-1, output=5)),
        lambda tracker: tracker.track_tokens(TokenUsage(total=5, input=5, output=NAN)),
        lambda tracker: tracker.track_duration(NAN),
        lambda tracker: tracker.track_duration(-5),
        lambda tracker: tracker.track_duration("5"),
        lambda tracker: tracker.track_duration(None),
        lambda tracker: tracker.track_time_to_first_token(math.inf),
    ],
)
def test_numbers_that_cannot_be_true(
    report: Any,
    block: track_ai,
    events: Events,
    records: list[RunRecord],
    clock: Clock,
    tracking: Tracking,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A report with a number that cannot be true is not sent, and what was measured is; this is logged and counted."""
    with block as run:
        run.observe(OPENAI)
        report(run.tracker)
        clock.advance(20)

    assert sorted(events.of_runs()) == [
        ("duration:total", 20),
        ("generation:success", 1),
        ("tokens:input", 5),
        ("tokens:output", 1),
        ("tokens:total", 6),
    ]
    assert (records[0].duration_ms, records[0].time_to_first_token_ms) == (20, None)
    assert tracking.stats().diagnostics == {"usage": 1}
    assert len([line for line in caplog.messages if "run.tracker gave a number that cannot be true" in line]) == 1
