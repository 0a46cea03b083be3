"""The events of runs, in a table of situations: they equal those of LaunchDarkly's AI SDK, and name the model."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import flask
import pytest
from ldai import AICompletionConfigDefault, LDAIClient, ModelConfig, ProviderConfig
from ldai.providers.types import JudgeResult
from ldai.tracker import FeedbackKind, LDAIConfigTracker, TokenUsage
from ldclient import Context

from ldai_integrations import Run, Settings, Tracking, current_run, track_ai
from ldai_integrations._version import __version__
from ldai_integrations.feedback import FeedbackSettings
from ldai_integrations.flask import AITracking, feedback_blueprint
from ldai_integrations.testing import OfflineLaunchDarkly, ai_config

MODEL = {"modelKey": "OpenAI.gpt-4o-mini", "modelVersion": 3}
ADA = Context.create("ada")
# Counts that no tokenizer would produce.
ANSWER = {
    "object": "chat.completion",
    "choices": [{"message": {"role": "assistant", "content": "Hello"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 7317, "completion_tokens": 3863, "total_tokens": 11180},
}
TOKENS = TokenUsage(total=11180, input=7317, output=3863)
CALLING = {
    **ANSWER,
    "choices": [
        {
            "message": {"role": "assistant", "tool_calls": [{"function": {"name": "search", "arguments": "{}"}}]},
            "finish_reason": "tool_calls",
        }
    ],
}
DEFAULT = AICompletionConfigDefault(enabled=True, model=ModelConfig("gpt-4o"), provider=ProviderConfig("OpenAI"))
JUDGED = JudgeResult(
    judge_config_key="relevance", success=True, sampled=True, metric_key="$ld:ai:judge:relevance", score=0.75
)
_TIMES = ("$ld:ai:duration:total", "$ld:ai:tokens:ttf")


@pytest.fixture
def launchdarkly() -> Iterator[OfflineLaunchDarkly]:
    """Serve AI Configs that name their model in LaunchDarkly's model library."""
    chat = ai_config("gpt-4o-mini", messages="Be brief.", variation_key="small", version=5)
    agent = ai_config("gpt-4o-mini", instructions="Help.", variation_key="helper", version=2)
    for config in (chat, agent):
        config["_ldMeta"] |= MODEL
    with OfflineLaunchDarkly({"chat": chat, "agent": agent}) as launchdarkly:
        yield launchdarkly


def reported(launchdarkly: OfflineLaunchDarkly) -> list[tuple[str, Any, Any]]:
    """Return key, data without the run id, and value (unless it is a time) of the events of runs; forget them."""
    launchdarkly.tracking.flush()
    found = []
    for event in launchdarkly.events.custom:
        if isinstance(event.data, dict) and "runId" in event.data:
            data = {name: value for name, value in event.data.items() if name != "runId"}
            found.append((event.key, sorted(data.items()), None if event.key in _TIMES else event.metric_value))
    launchdarkly.events.custom.clear()
    return sorted(found, key=repr)


def succeed(tracker: LDAIConfigTracker) -> None:
    """Report a success as the SDK does."""
    tracker.track_duration(1)
    tracker.track_tokens(TOKENS)
    tracker.track_success()


def succeed_streaming(tracker: LDAIConfigTracker) -> None:
    """Report a stream."""
    tracker.track_time_to_first_token(1)
    succeed(tracker)


def fail(tracker: LDAIConfigTracker) -> None:
    """Report an error."""
    tracker.track_duration(1)
    tracker.track_error()


def call_tool(tracker: LDAIConfigTracker) -> None:
    """Report a tool call."""
    succeed(tracker)
    tracker.track_tool_call("search")


def judge(tracker: LDAIConfigTracker) -> None:
    """Report the score of a judge."""
    succeed(tracker)
    tracker.track_judge_result(JUDGED)


def vote(tracker: LDAIConfigTracker) -> None:
    """Report a vote."""
    succeed(tracker)
    tracker.track_feedback({"kind": FeedbackKind.Positive})


def observe(run: Run) -> None:
    """Have a run read an answer."""
    run.observe(ANSWER)


def observe_a_stream(run: Run) -> None:
    """Have a run read a stream."""
    chunks = [
        {"object": "chat.completion.chunk", "choices": [{"index": 0, "delta": {"content": "Hello"}}]},
        {"object": "chat.completion.chunk", "choices": [], "usage": ANSWER["usage"]},
    ]
    assert len(list(run.observe(iter(chunks)))) == 2


def observe_and_judge(run: Run) -> None:
    """Have a run read an answer, and give it a judge's score."""
    run.observe(ANSWER)
    run.tracker.track_judge_result(JUDGED)


def observe_and_vote(run: Run) -> None:
    """Have a run read an answer, and vote on it."""
    run.observe(ANSWER)
    run.tracker.track_feedback({"kind": FeedbackKind.Positive})


SITUATIONS: dict[str, tuple[Callable[[LDAIConfigTracker], None], Callable[[Run], object], dict[str, Any]]] = {
    "success": (succeed, observe, {}),
    "stream": (succeed_streaming, observe_a_stream, {}),
    "error": (fail, lambda run: run.fail(ValueError()), {}),
    "tool call": (call_tool, lambda run: run.observe(CALLING), {}),
    "judge": (judge, observe_and_judge, {}),
    "feedback": (vote, observe_and_vote, {}),
    "agent": (succeed, observe, {"config_key": "agent", "mode": "agent"}),
    "default value": (succeed, observe, {"config_key": "missing", "default": DEFAULT}),
    "cancelled": (lambda tracker: tracker.track_duration(1), lambda run: run.fail(asyncio.CancelledError()), {}),
}


@pytest.mark.parametrize("situation", SITUATIONS)
def test_the_events_of_a_run(situation: str, launchdarkly: OfflineLaunchDarkly) -> None:
    """A run sends the events of LaunchDarkly's AI SDK, and each names the model if LaunchDarkly does."""
    theirs, ours, options = SITUATIONS[situation]
    options = {"config_key": "chat", **options}
    client: Any = LDAIClient(launchdarkly.client)
    if options.get("mode") == "agent":
        config = client.agent_config(options["config_key"], ADA)
    else:
        config = client.completion_config(options["config_key"], ADA, options.get("default"))
    theirs(config.create_tracker())
    model = {} if options["config_key"] == "missing" else MODEL
    expected = [(key, sorted({**dict(data), **model}.items()), value) for key, data, value in reported(launchdarkly)]

    with track_ai(tracking=launchdarkly.tracking, ld_context=lambda: ADA, **options) as run:
        ours(run)

    assert reported(launchdarkly) == sorted(expected, key=repr)


def test_their_tracker_in_a_run(launchdarkly: OfflineLaunchDarkly) -> None:
    """A tracker of LaunchDarkly's AI SDK inside a run sends what it sends alone, and the run adds nothing."""
    client: Any = launchdarkly.tracking.ld_client
    succeed(LDAIClient(client).completion_config("chat", ADA).create_tracker())
    expected = reported(launchdarkly)
    with track_ai(config_key="chat", ld_context=lambda: ADA) as run:
        succeed(LDAIClient(client).completion_config("chat", ADA).create_tracker())

    assert {event.data["runId"] for event in launchdarkly.events.named("generation:success")} == {run.id}
    assert reported(launchdarkly) == expected


def test_a_run_in_a_run(launchdarkly: OfflineLaunchDarkly) -> None:
    """The events of a nested run name its parent, and are otherwise those of any run."""
    with track_ai(config_key="agent", mode="agent") as outer, track_ai(config_key="chat") as inner:
        outer.observe(ANSWER)
        inner.observe({**ANSWER, "id": "another"})
    launchdarkly.tracking.flush()

    events = [event.data for event in launchdarkly.events.custom if "runId" in (event.data or {})]
    parents = {(data["configKey"], data.get("parentRunId")) for data in events}
    assert parents == {("chat", outer.id), ("agent", None)}
    assert {record.config_key: record.parent_run_id for record in launchdarkly.sink.records} == {
        "chat": outer.id,
        "agent": "",
    }


def test_a_vote_in_another_process(launchdarkly: OfflineLaunchDarkly) -> None:
    """A vote names the model, also where another process counts it, which has not evaluated the AI Config."""

    def worker() -> Any:
        settings = Settings(flush="never", feedback=FeedbackSettings(secret="s" * 32, config_keys=["chat"]))
        app = flask.Flask(__name__)
        AITracking(app, Tracking(launchdarkly.client, settings=settings), ld_context=lambda _request: ADA)
        app.register_blueprint(feedback_blueprint())
        app.add_url_rule("/token", "token", track_ai(config_key="chat")(lambda: current_run().feedback_token))
        return app.test_client()

    token = worker().get("/token").text
    assert worker().post("/feedback", json={"token": token, "kind": "positive"}).status_code == 204

    [event] = launchdarkly.events.named("feedback:user:positive")
    assert {name: event.data[name] for name in MODEL} == MODEL


def test_the_name_of_the_library(launchdarkly: OfflineLaunchDarkly) -> None:
    """Each Tracking reports name and version once, as the AI SDK reports its own."""
    events = launchdarkly.events.named("sdk:info")
    theirs, ours = (event.data for event in events)

    assert theirs["aiSdkName"] == "launchdarkly-server-sdk-ai"
    assert ours == {"aiSdkName": "ldai-integrations", "aiSdkVersion": __version__, "aiSdkLanguage": "python"}
    assert events[0].context == events[1].context
