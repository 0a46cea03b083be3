"""A finished run is a span of the GenAI conventions, and points of their metrics."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any

import pytest
from ldclient import Context
from opentelemetry import trace
from opentelemetry.trace import SpanKind, StatusCode

from ldai_integrations import RunRecord, Tracking, track_ai
from ldai_integrations.devserver import DevServer
from ldai_integrations.opentelemetry import OpenTelemetrySink
from ldai_integrations.records import Usage
from ldai_integrations.testing import Clock, OfflineLaunchDarkly, RecordingSink, ai_config

from ..flags import FLAGS
from .conftest import Telemetry

SECRET = "a secret that nobody else may see"
RESPONSE = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "model": "gpt-4o-mini-2024-07-18",
    "choices": [{"message": {"role": "assistant", "content": SECRET}, "finish_reason": "stop"}],
    "usage": {
        "prompt_tokens": 20,
        "completion_tokens": 8,
        "prompt_tokens_details": {"cached_tokens": 15},
        "completion_tokens_details": {"reasoning_tokens": 3},
    },
}


def one_run(tracking: Tracking, clock: Clock, config_key: str = "bot", **options: Any) -> str:
    """Make a run of 1,500 ms whose first token comes after 500; return its id."""
    with track_ai(config_key, tracking=tracking, **options) as run:
        run.messages(user=SECRET)
        clock.advance(500)
        run.first_token()
        run.observe(RESPONSE)
        clock.advance(1000)
    return run.id


def test_a_conversation(tracking: Tracking, telemetry: Telemetry) -> None:
    """The span has the id of the conversation that the application gave to the run."""
    with track_ai("bot", tracking=tracking) as run:
        run.conversation_id = "thread-7"
        run.observe(RESPONSE)

    [span] = telemetry.spans().values()
    assert (span.attributes or {})["gen_ai.conversation.id"] == "thread-7"


def test_a_completion(tracking: Tracking, telemetry: Telemetry, clock: Clock) -> None:
    """The span has the run's name, times, tokens and model, and LaunchDarkly's attributes; exactly these."""
    before = time.time()
    run_id = one_run(tracking, clock)
    [(name, span)] = telemetry.spans().items()

    assert (name, span.kind) == ("chat gpt-4o-mini", SpanKind.CLIENT)
    attributes: dict[str, Any] = dict(span.attributes or {})
    assert attributes.pop("ldai.cost.usd") > 0
    assert attributes == {
        "ldai.cost.lower_bound": False,
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.system": "openai",
        "gen_ai.request.model": "gpt-4o-mini",
        "gen_ai.response.model": "gpt-4o-mini-2024-07-18",
        "gen_ai.response.finish_reasons": ("stop",),
        "gen_ai.response.time_to_first_chunk": 0.5,
        "gen_ai.usage.input_tokens": 20,
        "gen_ai.usage.output_tokens": 8,
        "gen_ai.usage.total_tokens": 28,
        "gen_ai.usage.prompt_tokens": 20,
        "gen_ai.usage.completion_tokens": 8,
        "gen_ai.usage.cache_read.input_tokens": 15,
        "gen_ai.usage.cache_creation.input_tokens": 0,
        "gen_ai.usage.reasoning.output_tokens": 3,
        "launchdarkly.operation.type": "gen_ai",
        "launchdarkly.config.key": "bot",
        "launchdarkly.variation.key": "small",
        "launchdarkly.run.id": run_id,
        "ldai.outcome": "success",
        "ldai.usage.source": "provider",
        "ldai.usage.lower_bound": False,
    }
    [event] = span.events
    assert event.name == "feature_flag"
    assert event.attributes == {
        "feature_flag.key": "bot",
        "feature_flag.provider.name": "LaunchDarkly",
        "feature_flag.result.variant": "small",
        "feature_flag.version": "3",
    }
    assert span.start_time is not None
    assert span.end_time is not None
    assert span.end_time - span.start_time == 1_500_000_000
    assert before - 1 < span.start_time / 1e9 < time.time()
    assert span.status.status_code is StatusCode.UNSET


def test_an_agent(tracking: Tracking, telemetry: Telemetry, clock: Clock) -> None:
    """A run of an agent is named after it."""
    one_run(tracking, clock, "helper", mode="agent")
    [(name, span)] = telemetry.spans().items()

    assert (name, span.kind) == ("invoke_agent helper", SpanKind.INTERNAL)
    assert span.attributes is not None
    assert span.attributes["gen_ai.agent.name"] == "helper"
    assert span.attributes["gen_ai.provider.name"] == "anthropic"


@pytest.mark.parametrize("elsewhere", [False, True])
def test_the_parent(tracking: Tracking, telemetry: Telemetry, elsewhere: bool) -> None:
    """The span lies below the one that was current where the run opened, wherever and whenever it ended."""
    block = track_ai("bot", tracking=tracking)
    with telemetry.tracer.start_as_current_span("request") as request:
        run = block.__enter__()
        if not elsewhere:
            with telemetry.tracer.start_as_current_span("inner"):
                run.finish()
    if elsewhere:
        thread = threading.Thread(target=run.finish)
        thread.start()
        thread.join()
    block.__exit__(None, None, None)
    span = telemetry.spans()["chat gpt-4o-mini"]

    assert span.parent is not None
    assert span.parent.span_id == request.get_span_context().span_id
    assert trace.get_current_span() is trace.INVALID_SPAN


def test_without_a_parent(tracking: Tracking, telemetry: Telemetry, clock: Clock) -> None:
    """A run outside of any span is a trace of its own."""
    one_run(tracking, clock)

    assert telemetry.spans()["chat gpt-4o-mini"].parent is None


def test_an_error(tracking: Tracking, telemetry: Telemetry) -> None:
    """The span of a run that raised an exception has its type, and not its message."""
    with pytest.raises(TimeoutError), track_ai("bot", tracking=tracking):
        raise TimeoutError(SECRET)
    with track_ai("bot", tracking=tracking) as run:
        run.tracker.track_error()
    spans = telemetry.exporter.get_finished_spans()

    assert [span.status.status_code for span in spans] == [StatusCode.ERROR] * 2
    assert [(span.attributes or {})["error.type"] for span in spans] == ["TimeoutError", "_OTHER"]


def test_cancelled(tracking: Tracking, telemetry: Telemetry) -> None:
    """A run whose client left, or whose task was cancelled, is no error, and the span says which of the two it was."""
    for exception in (GeneratorExit, asyncio.CancelledError):
        with pytest.raises(exception), track_ai("bot", tracking=tracking):
            raise exception
    left, cancelled = (dict(span.attributes or {}) for span in telemetry.exporter.get_finished_spans())

    assert [span.status.status_code for span in telemetry.exporter.get_finished_spans()] == [StatusCode.UNSET] * 2
    assert left["ldai.outcome"] == cancelled["ldai.outcome"] == "cancelled"
    assert left["launchdarkly.stream.abandoned"]
    assert "launchdarkly.run.cancelled" not in left
    assert cancelled["launchdarkly.run.cancelled"]
    assert "launchdarkly.stream.abandoned" not in cancelled


def test_nothing_personal_leaves(
    launchdarkly: OfflineLaunchDarkly, tracking: Tracking, telemetry: Telemetry, clock: Clock
) -> None:
    """No prompt, answer, exception's message or part of the LaunchDarkly context is in any span or metric."""
    launchdarkly.serve("bot", ai_config(messages=SECRET))
    user = Context.builder("zelda@example.com").name("Zelda").set("plan", "premium").build()
    one_run(tracking, clock, ld_context=lambda: user)
    with pytest.raises(ValueError, match=SECRET), track_ai("bot", tracking=tracking, ld_context=lambda: user):
        raise ValueError(SECRET)
    written = "".join(span.to_json() for span in telemetry.exporter.get_finished_spans())
    measured = telemetry.reader.get_metrics_data()
    assert measured is not None
    written += measured.to_json()

    assert "launchdarkly.run.id" in written
    assert [text for text in (SECRET, "zelda", "Zelda", "premium") if text in written] == []


def test_runs_that_are_not_reported(
    launchdarkly: OfflineLaunchDarkly, tracking: Tracking, telemetry: Telemetry
) -> None:
    """The span of a discarded run, or of a disabled AI Config, says nothing, and keeps the spans below it together."""
    launchdarkly.serve("helper", ai_config(enabled=False))
    with track_ai("bot", tracking=tracking) as run, telemetry.tracer.start_as_current_span("below a discarded run"):
        run.discard()
    with track_ai("helper", tracking=tracking), telemetry.tracer.start_as_current_span("below a disabled one"):
        pass
    spans = telemetry.spans()

    assert set(spans) == {"bot", "helper", "below a discarded run", "below a disabled one"}
    for name, below in (("bot", "below a discarded run"), ("helper", "below a disabled one")):
        assert not spans[name].attributes
        assert not spans[name].events
        assert spans[below].parent == spans[name].context
    assert telemetry.points("gen_ai.client.operation.duration") == []


def test_metrics(tracking: Tracking, telemetry: Telemetry, clock: Clock) -> None:
    """Duration, tokens and time to the first token are measured in seconds and tokens, in the conventions' buckets."""
    one_run(tracking, clock)
    [duration] = telemetry.points("gen_ai.client.operation.duration")
    tokens = telemetry.points("gen_ai.client.token.usage")
    [first] = telemetry.points("gen_ai.client.operation.time_to_first_chunk")

    assert (duration.sum, first.sum) == (1.5, 0.5)
    assert {point.attributes["gen_ai.token.type"]: point.sum for point in tokens} == {"input": 20, "output": 8}
    assert duration.attributes["launchdarkly.config.key"] == "bot"
    assert "launchdarkly.run.id" not in duration.attributes
    assert duration.explicit_bounds[::13] == (0.01, 81.92)
    assert tokens[0].explicit_bounds[-1] == 67_108_864


def test_estimates(tracking: Tracking, telemetry: Telemetry) -> None:
    """Estimated tokens are marked on the span, and not measured."""
    with track_ai("bot", tracking=tracking) as run:
        run.observe({"choices": [{"message": {"content": "Hello there."}}], "object": "chat.completion"})
    [span] = telemetry.spans().values()

    assert span.attributes is not None
    assert span.attributes["ldai.usage.source"] == "estimate"
    assert span.attributes["gen_ai.usage.output_tokens"]
    assert telemetry.points("gen_ai.client.token.usage") == []


def test_a_record_of_unknown_origin(telemetry: Telemetry) -> None:
    """A record that comes alone is a trace of its own, and what is not known is not written."""
    record = RunRecord(
        *("id", "bot", "completion", "", 1, "", "", True, 1_700_000_000.0, 20, None),
        usage=Usage(output_tokens=4),
        outcome="success",
        default_served=True,
        graph_key="support",
    )
    telemetry.sink().emit(record)
    [(name, span)] = telemetry.spans().items()

    assert name == "chat"
    assert span.parent is None
    assert span.attributes == {
        "gen_ai.operation.name": "chat",
        "gen_ai.usage.output_tokens": 4,
        "gen_ai.usage.completion_tokens": 4,
        "gen_ai.usage.cache_read.input_tokens": 0,
        "gen_ai.usage.cache_creation.input_tokens": 0,
        "launchdarkly.config.key": "bot",
        "launchdarkly.graph.key": "support",
        "launchdarkly.operation.type": "gen_ai",
        "launchdarkly.run.id": "id",
        "ldai.outcome": "success",
        "ldai.usage.source": "provider",
        "ldai.usage.lower_bound": False,
    }
    assert (span.events[0].attributes or {})["feature_flag.result.reason"] == "default"


def test_the_environment(no_leaks: None, telemetry: Telemetry) -> None:
    """The id of the environment is the one that LaunchDarkly has sent to the SDK."""
    with DevServer(FLAGS) as server:
        tracking = Tracking.from_env(environ={"LDAI_DEV_SERVER": server.url}, sinks=[telemetry.sink()])
        with track_ai("chat", tracking=tracking):
            pass
        tracking.close()
    [span] = telemetry.spans().values()

    assert (span.events[0].attributes or {})["feature_flag.set.id"] == "ldai-dev"


@pytest.mark.parametrize(
    ("name", "written"),
    [("Bedrock", "aws.bedrock"), ("Azure OpenAI", "azure.ai.openai"), ("Mistral", "mistral_ai"), ("Own", "own")],
)
def test_providers(
    name: str, written: str, launchdarkly: OfflineLaunchDarkly, tracking: Tracking, telemetry: Telemetry
) -> None:
    """Providers that the conventions list have the names of the conventions."""
    launchdarkly.serve("bot", ai_config(provider=name))
    with track_ai("bot", tracking=tracking):
        pass
    [span] = telemetry.spans().values()

    assert (span.attributes or {})["gen_ai.provider.name"] == written


def test_an_exporter_that_fails(telemetry: Telemetry, monkeypatch: pytest.MonkeyPatch) -> None:
    """An exception of the telemetry, when a run opens or ends, does not reach the handler or the next sink."""
    broken = telemetry.sink()
    monkeypatch.setattr(broken, "accompany", lambda *_args: 1 / 0)
    monkeypatch.setattr(broken, "emit", lambda *_args: 1 / 0)
    after = RecordingSink()
    with OfflineLaunchDarkly({"bot": ai_config()}, sinks=[broken, after]) as launchdarkly:
        with track_ai("bot", tracking=launchdarkly.tracking):
            pass

        assert after.wait()[0].outcome == "success"
        assert launchdarkly.tracking.stats().diagnostics == {"sink OpenTelemetrySink": 2}


def test_nothing_configured() -> None:
    """In an application that exports nothing, the sink has no failure."""
    with OfflineLaunchDarkly({"bot": ai_config()}, sinks=[OpenTelemetrySink()]) as launchdarkly:
        with track_ai("bot", tracking=launchdarkly.tracking):
            pass

        assert launchdarkly.tracking.stats().diagnostics == {}
