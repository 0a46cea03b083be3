"""Judges work in WSGI and ASGI applications, through the AI SDK's provider package, and in a forked child."""

from __future__ import annotations

import asyncio
import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ldai.judge import Judge
from ldai.judge.evaluation_schema_builder import EvaluationSchemaBuilder
from ldai.models import AIJudgeConfig

from ldai_integrations import Settings, current_run
from ldai_integrations.asgi import ASGITrackingMiddleware
from ldai_integrations.devserver import DevServer
from ldai_integrations.judges import JudgeSettings
from ldai_integrations.judges._models import SCHEMA, format_evaluation
from ldai_integrations.testing import OfflineLaunchDarkly, ai_config
from ldai_integrations.wsgi import WSGITrackingMiddleware

from ..conftest import Events
from .conftest import SCORED, SECONDS, Make, judged, one_run

SHARED_FLAGS = Path(__file__).parents[3] / "shared" / "flags" / "03_judge.json"


def test_the_provider_package(make: Make, events: Events, provider: Any) -> None:
    """Without a function, LaunchDarkly's package calls the judge, with one client for all its calls."""
    tracking = make(None)
    for _ in range(3):
        one_run(tracking)
    tracking.flush(SECONDS)
    assert [event.metric_value for event in events.named("judge:relevance")] == [0.75] * 3
    assert provider.asked[0]["response_format"]["json_schema"]["schema"] == SCHEMA
    assert [message["role"] for message in provider.asked[2]["messages"]] == ["system", "user"]
    judged = [e.metric_value for e in events.named("tokens:total") if e.data["configKey"] == "relevance"]
    assert judged == [6] * 3


def test_parameters_of_a_judge(no_leaks: None, o200k: None, provider: Any) -> None:
    """The package gets parameters by the names of Python's client, in whatever way LaunchDarkly writes them."""
    judges = {"judges": [{"key": "relevance", "samplingRate": 1}]}
    parameters = {"maxTokens": 50, "topP": 0.5, "frequency_penalty": 0.1}
    judge = ai_config(mode="judge", evaluationMetricKey="$ld:ai:judge:relevance", parameters=parameters)
    settings = Settings(judges=JudgeSettings(), flush="never")
    configs = {"judged": ai_config(judgeConfiguration=judges), "relevance": judge}
    with OfflineLaunchDarkly(configs, settings=settings) as launchdarkly:
        one_run(launchdarkly.tracking)
        assert judged(launchdarkly.tracking)
        scores = launchdarkly.events.named("judge:relevance")
    assert [event.metric_value for event in scores] == [0.75]
    asked = provider.asked[0]
    assert (asked["max_tokens"], asked["top_p"], asked["frequency_penalty"]) == (50, 0.5, 0.1)


@pytest.mark.parametrize(("status", "said", "kind"), [(200, "well done", "judge_answer"), (500, "", "judge_raised")])
def test_a_provider_that_fails(make: Make, provider: Any, status: int, said: str, kind: str) -> None:
    """Nonsense and errors from the package are counted as such."""
    provider.status, provider.said = status, said
    tracking = make(None)
    one_run(tracking)
    tracking.flush(SECONDS)
    assert tracking.stats().diagnostics == {kind: 1}


def test_no_provider_package(make: Make, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """If no package can call the model, the AI SDK is called once, and one log line names the remedy."""
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    tracking = make(None)
    for _ in range(3):
        one_run(tracking)
    tracking.flush(SECONDS)
    assert tracking.stats().diagnostics == {"judge_unavailable": 3}
    assert caplog.text.count("All providers failed or are unavailable") == 1
    assert caplog.text.count("give JudgeSettings(model=…)") == 1


def test_the_form_is_the_ai_sdks() -> None:
    """The input and the schema of judges are those of the AI SDK."""
    config: Any = AIJudgeConfig(key="j", enabled=True, create_tracker=lambda: None)
    runner: Any = None
    assert Judge(config, runner)._build_evaluation_input("a", "b") == format_evaluation("a", "b")
    assert EvaluationSchemaBuilder.build() == SCHEMA


def test_under_wsgi(make: Make, events: Events) -> None:
    """A run of the WSGI middleware is judged by the text that its body streamed."""
    asked: list[str] = []

    def model(messages: Any, _config: Any) -> str:
        asked.append(messages[-1]["content"])
        return SCORED

    def app(_environ: Any, start_response: Any) -> Iterator[bytes]:
        current_run().messages(user="Hi?")
        start_response("200 OK", [("Content-Type", "text/plain")])
        yield from (b"Hel", b"lo")

    tracking = make(model)
    body: Any = WSGITrackingMiddleware(app, config_key=lambda _request: "judged", tracking=tracking)(
        {}, lambda *_a: lambda _b: None
    )
    assert b"".join(body) == b"Hello"
    body.close()
    tracking.flush(SECONDS)
    assert [event.metric_value for event in events.named("judge:relevance")] == [0.75]
    assert "RESPONSE TO EVALUATE:\nHello" in asked[0]


def test_under_asgi(make: Make, events: Events) -> None:
    """The last byte is sent while the judge is still working."""
    release = threading.Event()
    sent: list[Any] = []

    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        current_run().messages(user="Hi?")
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
        await send({"type": "http.response.body", "body": b"Hello"})

    async def receive() -> Any:
        return {"type": "http.request", "body": b""}

    async def send(message: Any) -> None:
        sent.append(message)

    tracking = make(lambda _m, _c: release.wait(SECONDS) and SCORED)
    served = ASGITrackingMiddleware(app, config_key=lambda _request: "judged", tracking=tracking)
    asyncio.run(served({"type": "http", "method": "GET", "path": "/", "headers": []}, receive, send))
    assert sent[-1]["body"] == b"Hello"
    assert events.named("judge:relevance") == []
    release.set()
    tracking.flush(SECONDS)
    assert [event.metric_value for event in events.named("judge:relevance")] == [0.75]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
def test_in_a_forked_child(make: Make, events: Events) -> None:
    """A child that was forked while judges worked has threads of its own."""
    tracking = make(lambda _m, _c: SCORED)
    one_run(tracking)
    assert judged(tracking)
    child = os.fork()
    if child == 0:  # pragma: no cover
        one_run(tracking)
        done = judged(tracking)
        os._exit(0 if done and len(events.named("judge:relevance")) == 2 else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@pytest.mark.skipif(not SHARED_FLAGS.exists(), reason="the verified flag files are not on this machine")
def test_the_verified_flag_file() -> None:
    """The dev server serves the judge of the flag file that was verified with the real SDK."""
    with DevServer(json.loads(SHARED_FLAGS.read_text())) as server:
        assert {config.key for config in server.ai_configs} == {"relevance-judge", "judged-chat"}
