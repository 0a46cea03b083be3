"""Judges of an AI Config score its runs after the response, and delay no request."""

from __future__ import annotations

import asyncio
import gc
import json
import math
import random
import threading
from collections.abc import Iterator
from contextvars import ContextVar
from types import SimpleNamespace
from typing import Any

import pytest
from ldai.providers.types import JudgeResult
from ldclient import LDClient

from ldai_integrations import RunRecord, Settings, Tracking, current_run, track_ai, wrap_client
from ldai_integrations.devserver import DevServer
from ldai_integrations.exceptions import ConfigurationError
from ldai_integrations.judges import Evaluation, JudgeSettings
from ldai_integrations.judges._loop import Job
from ldai_integrations.testing import OfflineLaunchDarkly, ai_config
from ldai_integrations.tracking import services_of

from ..conftest import Events
from ..waiting import eventually
from .conftest import Make, answer, judged, one_run

SCORED = '{"score": 0.75, "reasoning": "to the point"}'
SECONDS = 30.0


def scores(events: Events) -> list[float]:
    """Return the scores of the judge."""
    return [event.metric_value for event in events.named("judge:relevance")]


def test_a_judge_scores_the_judged_run(make: Make, events: Events, records: list[RunRecord]) -> None:
    """The score is on the run's id, once, with the judge's key; the judge's own call is on the judge's AI Config."""
    asked: list[Any] = []

    def model(messages: Any, config: Any) -> str:
        asked.append((messages, config.model.name, config.key))
        return SCORED

    tracking = make(model)
    one_run(tracking)
    tracking.flush(SECONDS)

    (event,) = events.named("judge:relevance")
    assert event.metric_value == 0.75
    assert event.data["runId"] == records[0].run_id
    assert (event.data["configKey"], event.data["judgeConfigKey"]) == ("judged", "relevance")
    ((messages, model_name, judge_key),) = asked
    assert (model_name, judge_key) == ("gpt-4o-mini", "relevance")
    assert messages[0] == {"role": "system", "content": "Judge the answer."}
    assert "MESSAGE HISTORY:\nsystem: Be brief.\nuser: Hi?\n\nRESPONSE TO EVALUATE:\nHello" in messages[1]["content"]
    assert [e.data["configKey"] for e in events.named("generation:success")] == ["judged", "relevance"]
    assert len(records) == 1
    assert tracking.stats().diagnostics == {}


def test_over_http(no_leaks: None, o200k: None, dev_server: DevServer, http_tracking: Tracking) -> None:
    """The score arrives with the flush that the caller waits for."""
    tracking = Tracking(http_tracking.client, settings=Settings(judges=JudgeSettings(model=lambda _m, _c: SCORED)))
    one_run(tracking)
    tracking.flush(SECONDS)
    (event,) = dev_server.wait_for(1, key="$ld:ai:judge:relevance")
    assert event["metricValue"] == 0.75
    tracking.close()


@pytest.mark.parametrize(
    "said", [SCORED, f"```json\n{SCORED}\n```", {"score": 0.75}, json.dumps({"score": 0.75})], ids=repr
)
def test_forms_of_an_answer(make: Make, events: Events, said: Any) -> None:
    """Text and mappings are accepted, from plain and from coroutine functions."""

    async def model(_messages: Any, _config: Any) -> Any:
        await asyncio.sleep(0)
        return said

    for tracking in (make(lambda _m, _c: said), make(model), make(lambda m, c: model(m, c))):
        one_run(tracking)
        tracking.flush(SECONDS)
    assert scores(events) == [0.75] * 3


@pytest.mark.parametrize(
    "said",
    ["well done", "[]", "null", "", None, 0.5, {}, {"score": None}, {"score": "1"}, {"score": True}]
    + [{"score": bad} for bad in (-0.1, 1.1, math.nan, math.inf, 10**400)]
    + ["[" * 100_000],
    ids=lambda said: repr(said)[:20],
)
def test_nonsense(make: Make, events: Events, said: Any, caplog: pytest.LogCaptureFixture) -> None:
    """An answer without a score from 0 to 1 is counted each time, and logged once without its text."""
    tracking = make(lambda _m, _c: said)
    for _ in range(3):
        one_run(tracking, question="secret question", text="secret answer")
    tracking.flush(SECONDS)

    assert scores(events) == []
    assert tracking.stats().diagnostics == {"judge_answer": 3}
    assert len(events.named("generation:success")) == 6
    lines = [record.getMessage() for record in caplog.records if record.name == "ldai_integrations"]
    assert len(lines) == 1
    assert "well done" not in caplog.text
    assert "secret" not in caplog.text


@pytest.mark.parametrize("kind", [ValueError, SystemExit, KeyboardInterrupt])
@pytest.mark.parametrize("is_async", [True, False])
def test_a_judge_that_raises(
    make: Make, events: Events, kind: type[BaseException], is_async: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """An exception of a judge is counted and logged with its place, but not its text. The next run is judged."""
    left = [kind("secret answer"), None]

    def fail(_messages: Any, _config: Any) -> str:
        raised = left.pop(0)
        if raised is not None:
            raise raised
        return SCORED

    async def afail(messages: Any, config: Any) -> str:
        return fail(messages, config)

    tracking = make(afail if is_async else fail)
    one_run(tracking)
    assert judged(tracking)
    one_run(tracking)
    tracking.flush(SECONDS)
    assert scores(events) == [0.75]
    assert tracking.stats().diagnostics == {"judge_raised": 1}
    assert kind.__name__ in caplog.text
    assert "secret" not in caplog.text


def _raise_here(*_args: Any) -> Any:
    raise KeyError("secret")


async def _araise_here(*args: Any) -> Any:
    return _raise_here(*args)


@pytest.mark.parametrize("option", ["judge", "coroutine judge", "evaluate", "coroutine evaluate", "variables"])
def test_the_line_that_raised(make: Make, option: str, caplog: pytest.LogCaptureFixture) -> None:
    """The log names the line of the application's function, and none of the SDK that called it."""
    function = _araise_here if option.startswith("coroutine") else _raise_here
    tracking = make(function if option.endswith("judge") else None)
    with track_ai("judged", tracking=tracking, variables=_raise_here if option == "variables" else None) as run:
        run.messages(user="Hi?")
        run.observe(answer())
        if option.endswith("evaluate"):
            run.evaluate("tone", function)
    tracking.flush(SECONDS)
    line_number = _raise_here.__code__.co_firstlineno + 1
    assert f"KeyError at test_judges.py:{line_number}" in caplog.text


@pytest.mark.parametrize("is_async", [True, False])
def test_a_judge_that_hangs(make: Make, events: Events, is_async: bool) -> None:
    """A judge that takes too long gives no score, and occupies its place only until it ends."""
    release = threading.Event()
    left = [True, False]

    def hang(_messages: Any, _config: Any) -> str:
        if left.pop(0):
            release.wait(SECONDS)
        return SCORED

    async def ahang(messages: Any, config: Any) -> str:
        if left[0]:
            left.pop(0)
            await asyncio.sleep(SECONDS)
        return hang(messages, config)

    tracking = make(ahang if is_async else hang, timeout=0.05, concurrency=1)
    one_run(tracking)
    assert judged(tracking)
    assert tracking.stats().diagnostics == {"judge_timeout": 1}
    release.set()
    one_run(tracking)
    # The second waits until the first has left; on a machine this busy its own 50 ms may pass.
    assert judged(tracking)
    assert len(scores(events)) + tracking.stats().diagnostics["judge_timeout"] == 2


def test_a_full_queue(make: Make, events: Events, caplog: pytest.LogCaptureFixture) -> None:
    """If a judge hangs, every request is served. Evaluations without a place are counted, and logged once."""
    release = threading.Event()

    def model(_messages: Any, _config: Any) -> str:
        release.wait(10 * SECONDS)
        return SCORED

    tracking = make(model, queue=10, concurrency=2)
    try:
        for _ in range(1_000):
            one_run(tracking)
        assert services_of(tracking).flushing.worker.join(SECONDS)
        assert tracking.stats().diagnostics["judge_shed"] == 988
        assert len(events.named("generation:success")) >= 1_000
    finally:
        release.set()
    tracking.flush(SECONDS)
    assert len(scores(events)) == 12
    assert [r.__dict__["ldai_kind"] for r in caplog.records].count("judge_shed") == 1
    assert sum(thread.name.startswith("ldai-judge") for thread in threading.enumerate()) <= 3


@pytest.mark.parametrize(("rate", "runs"), [(0, 100), (1, 100), (0.25, 2_000)])
def test_sampling(make: Make, monkeypatch: pytest.MonkeyPatch, client: LDClient, rate: float, runs: int) -> None:
    """A run is judged with the probability of the judge's sampling rate."""
    monkeypatch.setattr("ldai_integrations.judges._judges.random", random.Random(7))
    tracking = make(lambda _m, _c: SCORED, queue=10_000)
    drawn = 0
    for _ in range(runs):
        with track_ai("judged", tracking=tracking) as run:
            object.__setattr__(run_judge(run), "sampling_rate", rate)
            drawn += bool(services_of(tracking).judges.draw(config_of(run)))
            assert run.config is run.config
            run.tracker.track_error()
    assert drawn == pytest.approx(runs * rate, abs=0 if rate in (0, 1) else 80)


def config_of(run: Any) -> Any:
    """Return a run's AI Config, as the AI SDK types it."""
    return run.config


def run_judge(run: Any) -> Any:
    """Return the judge of a run's AI Config."""
    return run.config.judge_configuration.judges[0]


@pytest.mark.parametrize("rate", ["1", None, [1]])
def test_a_sampling_rate_that_is_none(make: Make, rate: Any) -> None:
    """A rate that is no number draws no judge, and is counted."""
    tracking = make(lambda _m, _c: SCORED)
    with track_ai("judged", tracking=tracking) as run:
        object.__setattr__(run_judge(run), "sampling_rate", rate)
        assert services_of(tracking).judges.draw(config_of(run)) == ()
        run.tracker.track_error()
    tracking.flush(SECONDS)
    assert tracking.stats().diagnostics == {"judge_config": 1}


def test_only_successes_are_judged(make: Make, events: Events) -> None:
    """A run that failed, was cancelled or discarded, or whose AI Config is disabled, is not judged."""
    tracking = make(lambda _m, _c: SCORED)
    for raised in (ValueError, asyncio.CancelledError):
        with track_ai("judged", tracking=tracking) as run:
            run.messages(user="Hi?")
            run.observe(answer())
            run.fail(raised())
    one_run(tracking, "disabled")
    tracking.flush(SECONDS)
    assert scores(events) == []
    assert tracking.stats().diagnostics == {}


def test_without_judges(client: LDClient, events: Events) -> None:
    """``Settings(judges=None)`` uses none of LaunchDarkly's judges. The application's own scores still work."""
    tracking = Tracking(client, settings=Settings(judges=None))
    with track_ai("judged", tracking=tracking) as run:
        run.messages(user="Hi?")
        run.observe(answer())
        run.evaluate("brevity", lambda: 1)
    tracking.close()
    assert scores(events) == []
    assert [event.metric_value for event in events.named("brevity")] == [1]


def test_what_is_not_known_is_not_judged(make: Make, events: Events, caplog: pytest.LogCaptureFixture) -> None:
    """A run without a question, without an answer, or with too much text is counted instead of judged."""
    tracking = make(lambda _m, _c: SCORED, max_chars=100)
    with track_ai("judged", tracking=tracking) as run:
        run.observe(answer())
    with track_ai("judged", tracking=tracking) as run:
        run.messages(user="Hi?")
        run.observe(answer(""))
    one_run(tracking, text="long " * 100)
    tracking.flush(SECONDS)
    assert scores(events) == []
    assert tracking.stats().diagnostics == {"judge_text": 3}
    assert "run.messages(user=…)" in caplog.text


def test_text_of_a_streamed_answer(make: Make) -> None:
    """The text of a stream is stored only if a judge was drawn."""
    asked: list[str] = []

    def model(messages: Any, _config: Any) -> str:
        asked.append(messages[-1]["content"])
        return SCORED

    tracking = make(model)

    def stream(config_key: str) -> Iterator[str]:
        run = current_run()
        assert run.config_key == config_key
        run.messages(user="Hi?")
        for word in range(200):
            yield f"{word} "

    for config_key in ("judged", "chat"):
        tracked = track_ai(config_key, tracking=tracking)(stream)
        assert len(list(tracked(config_key))) == 200
    tracking.flush(SECONDS)
    (text,) = asked
    assert "".join(f"{word} " for word in range(200)) in text


def test_what_a_wrapped_client_was_asked(make: Make) -> None:
    """The judge sees the request of a wrapped client, also if its usage is known."""
    seen: list[str] = []

    def model(messages: Any, _config: Any) -> str:
        seen.append(messages[-1]["content"])
        return SCORED

    tracking = make(model)
    parts = [{"type": "text", "text": "Where is it?"}, {"type": "image_url", "image_url": {"url": "data:"}}]
    messages = [{"role": "system", "content": "Short."}, {"role": "user", "content": parts}]
    client: Any = SimpleNamespace(chat=SimpleNamespace(completions=SimpleNamespace(create=lambda **_: answer())))
    with track_ai("judged", tracking=tracking):
        wrap_client(client).chat.completions.create(model="gpt-4o", messages=messages)
    tracking.flush(SECONDS)
    assert seen[0].startswith("MESSAGE HISTORY:\nsystem: Short.\nuser: Where is it?\n\nRESPONSE")
    assert tracking.stats().diagnostics == {}


def test_judges_are_not_judged(make: Make, events: Events) -> None:
    """A judge whose callable makes tracked runs of judged AI Configs is not judged itself, and sees no request."""
    request: ContextVar[str] = ContextVar("request", default="none")
    seen: list[str] = []

    def model(_messages: Any, _config: Any) -> str:
        seen.append(request.get())
        one_run(tracking)
        return SCORED

    tracking = make(model)
    token = request.set("the user's")
    one_run(tracking)
    request.reset(token)
    tracking.flush(SECONDS)
    assert seen == ["none"]
    assert scores(events) == [0.75]
    assert len([e for e in events.named("generation:success") if e.data["configKey"] == "judged"]) == 2


def test_a_judge_that_was_asked_by_hand(make: Make, events: Events) -> None:
    """If user code tracks a judge's result itself, that judge is not called."""
    tracking = make(lambda _m, _c: SCORED)
    with track_ai("judged", tracking=tracking) as run:
        run.messages(user="Hi?")
        run.observe(answer())
        by_hand: Any = {"metric_key": "$ld:ai:judge:relevance", "score": 0.1, "sampled": True, "success": True}
        run.tracker.track_judge_result(JudgeResult(judge_config_key="relevance", **by_hand))
    tracking.flush(SECONDS)
    assert scores(events) == [0.1]


def test_on_an_event_loop(make: Make, events: Events) -> None:
    """A judge that blocks does not block the event loop of the application."""
    release = threading.Event()

    def model(_messages: Any, _config: Any) -> str:
        release.wait(SECONDS)
        return SCORED

    tracking = make(model)

    async def serve() -> None:
        async with track_ai("judged", tracking=tracking) as run:
            run.messages(user="Hi?")
            run.observe(answer())
        assert scores(events) == []
        release.set()
        await tracking.aflush(SECONDS)

    asyncio.run(serve())
    assert scores(events) == [0.75]


def test_a_flush_waits_for_half_of_its_time(make: Make, events: Events) -> None:
    """A judge that hangs delays a flush by at most half of its time, and the flush of a request not at all."""
    release = threading.Event()
    tracking = make(lambda _m, _c: release.wait(SECONDS) and SCORED)
    one_run(tracking)
    try:
        services_of(tracking).flushing.flush_events(SECONDS)
        assert not services_of(tracking).judges.join(0)
        tracking.flush(0.1)
    finally:
        release.set()
    tracking.flush(SECONDS)
    assert scores(events) == [0.75]


def test_close_counts_what_is_not_done(client: LDClient) -> None:
    """Evaluations that are not done when tracking is closed are counted."""
    release = threading.Event()

    def model(_messages: Any, _config: Any) -> str:
        release.wait(SECONDS)
        return SCORED

    settings = Settings(judges=JudgeSettings(model=model), flush_timeout=0.1)
    tracking = Tracking(client, settings=settings)
    one_run(tracking)
    assert services_of(tracking).flushing.worker.join(SECONDS)
    tracking.close()
    release.set()
    assert tracking.stats().diagnostics == {"judge_unfinished": 1}


def test_nothing_grows(make: Make) -> None:
    """After many judged runs no thread, run or evaluation remains."""

    def left() -> int:
        gc.collect()
        return sum(type(item) in (Evaluation, Job) for item in gc.get_objects())

    before = left()
    tracking = make(lambda _m, _c: SCORED)
    for _ in range(200):
        one_run(tracking)
        judged(tracking)
    tracking.close()
    assert eventually(lambda: not any(thread.name.startswith("ldai-judge") for thread in threading.enumerate()))
    assert left() <= before


def test_own_scores(make: Make, events: Events, records: list[RunRecord]) -> None:
    """Numbers and functions are sent for the run once per metric, also long after its end. A bad one is counted."""
    tracking = make(None)

    async def later() -> float:
        await asyncio.sleep(0)
        return 0.25

    with track_ai("chat", tracking=tracking) as run:
        run.observe(answer())
        run.evaluate("length", 0.5)
        run.evaluate("length", 0.6)
        run.evaluate("tone", later)
        bad: list[Any] = [-1, 2, math.nan, True, "1", None]
        for value in bad:
            run.evaluate("bad", value)
        keys: list[Any] = ["", 7, "$ld:ai:generation:success"]
        for key in keys:
            run.evaluate(key, 1)
        run.evaluate("late nonsense", lambda: 7)
        assert events.named("length") == []
    run.evaluate("after", lambda: 1.0)
    tracking.flush(SECONDS)

    sent = {
        name: [(e.metric_value, e.data["runId"]) for e in events.named(name)] for name in ("length", "tone", "after")
    }
    run_id = records[0].run_id
    assert sent == {"length": [(0.5, run_id)], "tone": [(0.25, run_id)], "after": [(1.0, run_id)]}
    assert tracking.stats().diagnostics == {"evaluate": 10, "judge_answer": 1}


@pytest.mark.parametrize("does", ["cancels all tasks", "stops the loop"])
def test_a_function_that_ends_the_loop(make: Make, events: Events, does: str) -> None:
    """A score whose function cancels the tasks of its event loop, or stops the loop, does not end the other scores."""
    tracking = make(None)

    async def end() -> float:
        if does == "stops the loop":
            asyncio.get_running_loop().stop()
        else:
            for task in asyncio.all_tasks() - {asyncio.current_task()}:
                task.cancel()
        await asyncio.sleep(0)
        return 0.25

    for function in (end, lambda: 0.5, lambda: 0.75):
        with track_ai("chat", tracking=tracking) as run:
            run.observe(answer())
            run.evaluate("tone", function)
        tracking.flush(SECONDS)
    tracking.close()
    assert [event.metric_value for event in events.named("tone")][-2:] == [0.5, 0.75]


def test_own_scores_of_a_run_that_is_not_reported(make: Make, events: Events) -> None:
    """A disabled run sends no score, now or later; outside a run there is nothing to score."""
    tracking = make(None)
    with track_ai("disabled", tracking=tracking) as run:
        run.evaluate("length", 0.5)
    run.evaluate("tone", 0.5)
    current_run().evaluate("length", 0.5)
    assert events.named("length") == events.named("tone") == []


@pytest.mark.parametrize(
    "wrong",
    [
        *({"model": 7}, {"concurrency": 0}, {"concurrency": True}, {"timeout": 0}, {"timeout": 601}, {"timeout": True}),
        *({"queue": -1}, {"queue": 10_001}, {"queue": 1.5}, {"max_chars": 0}, {"max_chars": 250_001}),
    ],
    ids=repr,
)
def test_settings_that_cannot_work(wrong: Any) -> None:
    """A value out of its range is an error with its name."""
    with pytest.raises(ConfigurationError, match=f"JudgeSettings.{next(iter(wrong))} is"):
        JudgeSettings(**wrong)


def test_judges_that_are_no_settings() -> None:
    """A value that is no JudgeSettings is an error."""
    wrong: Any = True
    with pytest.raises(ConfigurationError, match=r"Settings\.judges is of type bool"):
        Settings(judges=wrong)


@pytest.mark.parametrize(("mode", "read_as"), [("completion", "judge"), ("judge", "completion")])
def test_a_wrong_mode(no_leaks: None, caplog: pytest.LogCaptureFixture, o200k: None, mode: Any, read_as: str) -> None:
    """The log says what is wrong if a judge has another mode, and if the AI Config of a handler is a judge."""
    judges = {"judges": [{"key": "relevance", "samplingRate": 1}]}
    configs = {"bot": ai_config(judgeConfiguration=judges), "relevance": ai_config(mode=mode)}
    settings = Settings(judges=JudgeSettings(model=lambda _messages, _config: SCORED), flush="never")
    with OfflineLaunchDarkly(configs, settings=settings) as launchdarkly:
        if read_as == "judge":
            one_run(launchdarkly.tracking, "bot")
            assert judged(launchdarkly.tracking)
        else:
            with track_ai("relevance") as run:
                assert not run.config.enabled

    remedy = "attach an AI Config of mode 'judge' as a judge, and track others only"
    assert f"it is of mode {mode!r} but is read as {read_as!r}; {remedy}." in caplog.text
