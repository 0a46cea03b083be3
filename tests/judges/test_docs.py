"""What docs/judges.md shows works as it stands there."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import Any

import pytest

from ldai_integrations import Run, Settings, Tracking, track_ai
from ldai_integrations.devserver import DevServer
from ldai_integrations.judges import JudgeSettings
from ldai_integrations.testing import OfflineLaunchDarkly, ai_config

from ..clients.answers import whole
from ..clients.provider import serving
from ..conftest import Events
from .conftest import Make, one_run

PAGE = (Path(__file__).parents[2] / "docs" / "judges.md").read_text(encoding="utf-8")
ANSWER = {
    "object": "chat.completion",
    "choices": [{"message": {"content": "Hello."}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 1013, "completion_tokens": 77},
}
FIRST, SECOND = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def test_the_callable(make: Make, events: Events, monkeypatch: pytest.MonkeyPatch) -> None:
    """The function on the page calls the model of the judge and scores a run."""
    space: dict[str, Any] = {}
    answer = {"choices": [{"index": 0, "message": {"role": "assistant", "content": '{"score": 0.8}'}}]}
    with serving() as provider:
        provider.queued.append(lambda _request: whole(answer))
        monkeypatch.setenv("OPENAI_BASE_URL", f"{provider.url}/openai/v1")
        monkeypatch.setenv("OPENAI_API_KEY", "none")
        exec(compile(FIRST, "docs", "exec", dont_inherit=True), space)
        tracking = Tracking(make(None).client, settings=space["settings"])
        one_run(tracking)
        with space["judge_client"]:
            tracking.flush(30)
    assert [event.metric_value for event in events.named("judge:relevance")] == [0.8]
    tracking.close()


def test_the_flag_file(no_leaks: None, o200k: None) -> None:
    """The judge in the file on the page scores a run. It gets its prompt, then the question and the answer."""
    asked: list[list[dict[str, str]]] = []

    def model(messages: list[dict[str, str]], _config: object) -> dict[str, float]:
        asked.append(messages)
        return {"score": 0.25}

    [flags] = re.findall(r"^```json\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    with DevServer(json.loads(flags)) as server:
        settings = Settings(judges=JudgeSettings(model=model))
        tracking = Tracking.from_env(environ={"LDAI_DEV_SERVER": server.url}, settings=settings)
        one_run(tracking, "support-bot")
        tracking.flush(30)
        [event] = server.wait_for(1, key="$ld:ai:judge:relevance")
        tracking.close()

    assert event["metricValue"] == 0.25
    [[prompt, question]] = asked
    assert prompt["content"] == "Score from 0 to 1 how well the response answers the question."
    assert question["role"] == "user"
    assert "user: Hi?" in question["content"]
    assert "RESPONSE TO EVALUATE:\nHello" in question["content"]


def test_own_scores(make: Make, events: Events) -> None:
    """Both scores on the page are sent."""
    tracking = make(None)
    code = SECOND.replace('"support-bot"', '"chat", tracking=tracking')
    space: dict[str, object] = {"tracking": tracking}
    exec(compile(code + "\nanswer()\n", "docs", "exec", dont_inherit=True), space)
    tracking.flush(30)
    assert [events.named(name)[0].metric_value for name in ("answer-is-short", "answer-is-kind")] == [1.0, 0.9]


@pytest.mark.parametrize("kind", ["shed", "timeout", "raised", "answer", "text", "config", "unavailable", "unfinished"])
def test_the_counters(kind: str) -> None:
    """The counters on the page are those of the code."""
    source = "".join(path.read_text() for path in (Path(__file__).parents[2] / "ldai_integrations").rglob("*.py"))
    assert f"`judge_{kind}`" in PAGE
    assert f'"judge_{kind}"' in source


def _raise(_messages: object, _config: object) -> dict[str, float]:
    raise RuntimeError


def _hang(_messages: object, _config: object) -> dict[str, float]:
    time.sleep(0.5)
    return {"score": 1}


@pytest.mark.parametrize(
    ("ask", "events", "scores"),
    [
        (lambda _messages, _config: {"score": 0.5}, ["duration:total", "generation:success"], [0.5]),
        (lambda _messages, _config: {"score": 7}, ["duration:total", "generation:success"], []),
        (lambda _messages, _config: "Great!", ["duration:total", "generation:success"], []),
        (_raise, ["duration:total", "generation:error"], []),
        (_hang, [], []),
    ],
)
def test_the_figures_of_a_judge(ask: Any, events: list[str], scores: list[float], o200k: None) -> None:
    """What the metrics of a judge count is in the table on the page; its run is not changed by it."""
    judge = ai_config(mode="judge", evaluationMetricKey="$ld:ai:judge:relevance", messages="Score it.")
    judged = ai_config(messages="Hi.", judgeConfiguration={"judges": [{"key": "relevance-judge", "samplingRate": 1}]})
    settings = Settings(flush="never", judges=JudgeSettings(model=ask, timeout=0.2))
    with OfflineLaunchDarkly({"support-bot": judged, "relevance-judge": judge}, settings=settings) as launchdarkly:

        @track_ai(config_key="support-bot")
        def answer(run: Run) -> object:
            run.messages(user="Hi?")
            return run.observe(ANSWER)

        answer()
        launchdarkly.tracking.flush(30)
        names = ("duration:total", "tokens:total", "generation:success", "generation:error", "judge:relevance")
        found = [(name, event) for name in names for event in launchdarkly.events.named(name)]
    own = [name for name, event in found if event.data["configKey"] == "relevance-judge"]
    assert own == events
    assert [event.metric_value for name, event in found if name == "judge:relevance"] == scores
    assert [name for name, event in found if event.data["configKey"] == "support-bot"][:3] == list(names[:3])
