"""LaunchDarkly's own tracker inside of a run: one generation, and no event twice."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from ldai import LDAIClient
from ldai.providers.types import JudgeResult, LDAIMetrics
from ldai.tracker import FeedbackKind, TokenUsage
from ldclient import Context

from ldai_integrations import Run, current_run, track_ai, wrap_client
from ldai_integrations.testing import OfflineLaunchDarkly, RecordingSink

from .provider import IN, OUT, Provider

ASK: list[Any] = [{"role": "user", "content": "Hi"}]
ADA = Context.create("ada")


def sdk_tracker(launchdarkly: OfflineLaunchDarkly, key: str = "chat") -> Any:
    """Return a tracker as LaunchDarkly's documentation makes it."""
    client: Any = LDAIClient(launchdarkly.tracking.ld_client)
    return client.completion_config(key, ADA).create_tracker()


def metrics_of(response: Any) -> LDAIMetrics:
    """Return the metrics of a response, as LaunchDarkly's providers do."""
    usage = response.usage
    tokens = TokenUsage(total=usage.total_tokens, input=usage.prompt_tokens, output=usage.completion_tokens)
    return LDAIMetrics(success=True, tokens=tokens)


def by_hand(tracker: Any, call: Any) -> None:
    """Report everything by hand."""
    response = tracker.track_duration_of(call)
    tracker.track_tokens(metrics_of(response).tokens)
    tracker.track_success()


def by_metrics(tracker: Any, call: Any) -> None:
    """Report everything with one method."""
    tracker.track_metrics_of(metrics_of, call)


def only_tokens(tracker: Any, call: Any) -> None:
    """Report the tokens and leave the rest to the run."""
    tracker.track_tokens(metrics_of(call()).tokens)


def only_success(tracker: Any, call: Any) -> None:
    """Report success and leave the rest to the run."""
    call()
    tracker.track_success()


@pytest.mark.parametrize("wraps", [False, True], ids=["plain client", "wrapped client"])
@pytest.mark.parametrize("use", [by_hand, by_metrics, only_tokens, only_success])
def test_one_generation(
    use: Any, wraps: bool, provider: Provider, openai: Any, launchdarkly: OfflineLaunchDarkly, runs: RecordingSink
) -> None:
    """The events of LaunchDarkly's tracker belong to the open run of their AI Config, and none is sent twice."""
    client = wrap_client(openai) if wraps else openai

    @track_ai(config_key="chat", ld_context=lambda: ADA)
    def handler() -> str:
        def call() -> Any:
            return client.chat.completions.create(model="gpt-4o-mini", messages=ASK)

        use(sdk_tracker(launchdarkly), call)
        return "Hello there"

    handler()
    record = runs.wait()[0]
    sent = launchdarkly.events.of_runs()
    assert max(Counter(name for name, _ in sent).values()) == 1
    assert {event.data["runId"] for event in launchdarkly.events.custom if "runId" in event.data} == {record.run_id}
    assert [name for name, _ in sent if name.startswith("generation")] == ["generation:success"]
    assert record.outcome == "success"
    if wraps or use is not only_success:
        assert dict(sent)["tokens:input"] == IN
        assert dict(sent)["tokens:output"] == OUT
        assert record.usage is not None
        assert (record.usage.input_tokens, record.usage.output_tokens) == (IN, OUT)
    assert "duration:total" in dict(sent)
    assert launchdarkly.tracking.stats().runs == 1


@pytest.mark.parametrize("trackers", ["two of LaunchDarkly", "LaunchDarkly's and the run's"])
def test_two_trackers(trackers: str, launchdarkly: OfflineLaunchDarkly, runs: RecordingSink) -> None:
    """Several trackers in one run report one generation."""
    with track_ai(config_key="chat") as run:
        other: Any = sdk_tracker(launchdarkly) if trackers.startswith("two") else run.tracker
        for tracker in (sdk_tracker(launchdarkly), other):
            tracker.track_duration(7)
            tracker.track_success()
    sent = launchdarkly.events.of_runs()
    assert runs.wait()[0].outcome == "success"
    assert [name for name, _ in sent].count("generation:success") == 1


def test_an_error_that_the_tracker_reports(launchdarkly: OfflineLaunchDarkly, runs: RecordingSink) -> None:
    """An error that user code reports is the outcome of the run."""
    with track_ai(config_key="chat"):
        sdk_tracker(launchdarkly).track_error()
    assert runs.wait()[0].outcome == "error"
    assert [name for name, _ in launchdarkly.events.of_runs() if "generation" in name] == ["generation:error"]


def test_outside_of_a_run(launchdarkly: OfflineLaunchDarkly) -> None:
    """Outside of a run, and in a run of another AI Config, the events are passed on unchanged."""
    by_hand(sdk_tracker(launchdarkly), lambda: _answer())
    with track_ai(config_key="other") as run:
        tracker = sdk_tracker(launchdarkly)
        tracker.track_success()
        run.discard()
    ids = [event.data["runId"] for event in launchdarkly.events.custom if "runId" in event.data]
    assert len(set(ids)) == 2
    assert run.id not in ids
    assert [name for name, _ in launchdarkly.events.of_runs()].count("generation:success") == 2


def test_feedback_about_an_earlier_run(launchdarkly: OfflineLaunchDarkly, runs: RecordingSink) -> None:
    """Feedback about an earlier run keeps its run id, also inside of another run of the same AI Config."""
    client: Any = LDAIClient(launchdarkly.tracking.ld_client)
    with track_ai(config_key="chat") as earlier:
        token = earlier.tracker.resumption_token
        earlier.tracker.track_success()
    with track_ai(config_key="chat"):
        client.create_tracker(token, ADA).value.track_feedback({"kind": FeedbackKind.Positive})
    (vote,) = launchdarkly.events.named("feedback:user:positive")
    assert vote.data["runId"] == runs.wait(2)[0].run_id


REPORTS: dict[str, Any] = {
    "own-score": lambda run, _: run.evaluate("own-score", 0.5),
    "purchase": lambda run, _: run.track("purchase", 3),
    "judged": lambda run, _: run.tracker.track_judge_result(
        JudgeResult(judge_config_key="judge", metric_key="judged", score=0.25, success=True, sampled=True)
    ),
    "$ld:ai:tool_call": lambda run, _: run.tracker.track_tool_call("late"),
    "$ld:ai:feedback:user:positive": lambda _, record: record.tracker.track_feedback({"kind": FeedbackKind.Positive}),
}


@pytest.mark.parametrize("key", REPORTS)
def test_a_report_about_an_earlier_run(key: str, launchdarkly: OfflineLaunchDarkly, runs: RecordingSink) -> None:
    """What is reported about an earlier run inside of a later one of the same AI Config belongs to the earlier one."""
    with track_ai(config_key="chat") as earlier:
        earlier.add_usage(input_tokens=3, output_tokens=4)
    record = runs.wait()[0]
    with track_ai(config_key="chat") as later:
        later.add_usage(input_tokens=70, output_tokens=90)
        REPORTS[key](earlier, record)
    launchdarkly.tracking.flush()

    assert [event.data["runId"] for event in launchdarkly.events.custom if event.key == key] == [record.run_id]
    assert len({one.run_id for one in runs.wait(2)}) == 2
    totals = {
        event.data["runId"]: event.metric_value for event in launchdarkly.events.custom if "tokens:total" in event.key
    }
    assert totals == {record.run_id: 7, later.id: 160}


def test_an_earlier_run_that_ends_inside_of_a_later_one(launchdarkly: OfflineLaunchDarkly, runs: RecordingSink) -> None:
    """A stream that is closed inside of a later run of the same AI Config is a run of its own."""

    @track_ai(config_key="chat")
    def stream(run: Run) -> Iterator[str]:
        run.add_usage(input_tokens=3, output_tokens=4)
        yield "Hello"
        yield "there"

    chunks = stream()
    next(chunks)
    with track_ai(config_key="chat") as later:
        later.add_usage(input_tokens=70, output_tokens=90)
        list(chunks)
    launchdarkly.tracking.flush()

    ids = [record.run_id for record in runs.wait(2)]
    totals = {
        event.data["runId"]: event.metric_value for event in launchdarkly.events.custom if "tokens:total" in event.key
    }
    assert totals == dict(zip(ids, (7, 160), strict=True))


def test_the_model_object(provider: Provider, launchdarkly: OfflineLaunchDarkly, runs: RecordingSink) -> None:
    """A generation of LaunchDarkly's own model object in a run of its AI Config is that run."""
    import asyncio

    from ldai.providers.runner_factory import RunnerFactory  # what create_model calls
    from ldai.providers.types import RunnerResult

    class Runner:
        async def run(self, *_: Any, **__: Any) -> RunnerResult:
            tokens = TokenUsage(total=IN + OUT, input=IN, output=OUT)
            return RunnerResult(content="Hello there", metrics=LDAIMetrics(success=True, tokens=tokens))

    patch = pytest.MonkeyPatch()
    patch.setattr(RunnerFactory, "create_model", lambda *_: Runner())

    @track_ai(config_key="chat")
    async def handler(run: Run) -> str:
        client: Any = LDAIClient(launchdarkly.tracking.ld_client)
        model = client.create_model("chat", run.ld_context)
        result = await model.run("Hi")
        return str(result.content)

    try:
        assert asyncio.run(handler()) == "Hello there"
    finally:
        patch.undo()
    sent = launchdarkly.events.of_runs()
    assert max(Counter(name for name, _ in sent).values()) == 1
    assert {event.data["runId"] for event in launchdarkly.events.custom if "runId" in event.data} == {
        runs.wait()[0].run_id
    }
    assert dict(sent)["tokens:input"] == IN


def _answer() -> Any:
    class Usage:
        prompt_tokens, completion_tokens, total_tokens = IN, OUT, IN + OUT

    class Response:
        usage = Usage()

    assert not hasattr(current_run(), "nothing")
    return Response()
