"""Judges cost nothing until a sample is drawn, and the private steps of the AI SDK are still where they were."""

from __future__ import annotations

import asyncio
import inspect
import random
from collections.abc import Callable
from typing import Any

import pytest
from ldai import LDAIClient
from ldai.evaluator import Evaluator
from ldai.judge import Judge
from ldai.models import AICompletionConfigDefault, JudgeConfiguration, LDMessage
from ldai.providers.types import JudgeResult
from ldclient import Context

from ldai_integrations import Tracking, track_ai
from ldai_integrations._core import templates
from ldai_integrations._core.ai_client import AIClient

from ..flags import MALFORMED


class Built(Evaluator):
    """Be what the AI SDK builds of one judge."""

    def __init__(self, key: str) -> None:
        super().__init__([])
        self.key = key

    async def _run_judges(self, input_text: str, output_text: str) -> list[JudgeResult]:
        return [JudgeResult(judge_config_key=self.key, sampled=True, success=True, score=float(len(output_text)))]


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Collect the keys of the judges that the AI SDK is asked to build."""
    keys: list[str] = []

    def build(_self: Any, configuration: JudgeConfiguration, *_args: Any) -> Evaluator:
        [judge] = configuration.judges
        assert judge.sampling_rate == 1.0, "the sample is drawn, and must not be drawn again"
        keys.append(judge.key)
        return Built(judge.key)

    monkeypatch.setattr(LDAIClient, "_build_evaluator", build)
    return keys


def _evaluator(tracking: Tracking, **rates: float) -> Evaluator:
    judges = [JudgeConfiguration.Judge(key=key, sampling_rate=rate) for key, rate in rates.items()]
    client = AIClient(tracking.client, tracking.diagnostics)
    return client._build_evaluator(JudgeConfiguration(judges=judges), Context.create("ada"))


def _evaluate(evaluator: Evaluator, times: int = 1) -> list[JudgeResult]:
    async def main() -> list[JudgeResult]:
        return [result for _ in range(times) for result in await evaluator.evaluate("question", "answer")]

    return asyncio.run(main())


def test_resolving_builds_no_judge(tracking: Tracking, built: list[str]) -> None:
    """An AI Config with judges is resolved without them."""
    with track_ai(config_key="judged", tracking=tracking) as run:
        assert run.config.evaluator is not None

    assert built == []


def test_only_drawn_judges_are_built_and_once(tracking: Tracking, built: list[str]) -> None:
    """A rate of 0 builds nothing, a rate of 1 builds once, and each answers as the AI SDK's would."""
    evaluator = _evaluator(tracking, never=0.0, always=1.0)

    results = _evaluate(evaluator, times=3)

    assert built == ["always"]
    assert [(result.judge_config_key, result.sampled) for result in results] == [("never", False), ("always", True)] * 3


def test_samples_are_drawn_at_their_rate(tracking: Tracking, built: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """As in the AI SDK, a sample is drawn where a random number is not above the rate."""
    numbers = iter([0.5, 0.51])
    monkeypatch.setattr(random, "random", lambda: next(numbers))

    results = _evaluate(_evaluator(tracking, judge=0.5), times=2)

    assert [result.sampled for result in results] == [True, False]
    assert built == ["judge"]
    assert "random.random() > effective_rate" in inspect.getsource(Judge.evaluate)


def test_judges_are_built_off_the_event_loop(tracking: Tracking, monkeypatch: pytest.MonkeyPatch) -> None:
    """Building takes tens of milliseconds, which no other request waits for."""

    def build(*_args: Any) -> Evaluator:
        with pytest.raises(RuntimeError, match="no running event loop"):
            asyncio.get_running_loop()
        return Built("judge")

    monkeypatch.setattr(LDAIClient, "_build_evaluator", build)
    [result] = _evaluate(_evaluator(tracking, judge=1.0))
    assert result.success


@pytest.mark.parametrize("ours", [AIClient._LDAIClient__interpolate_template, AIClient._build_evaluator])
def test_the_ai_sdk_still_has_what_is_replaced(ours: Callable[..., Any]) -> None:
    """Where this fails the SDK has changed: its own behaviour is back, with escaped prompts and eager judges."""
    sdks = getattr(LDAIClient, ours.__name__)
    assert list(inspect.signature(ours).parameters) == list(inspect.signature(sdks).parameters)


def test_an_ai_sdk_without_them_is_served_as_it_is(tracking: Tracking, monkeypatch: pytest.MonkeyPatch) -> None:
    """A renamed step leaves ours unused and every request served."""
    for name in ("_LDAIClient__interpolate_template", "_build_evaluator"):
        monkeypatch.delattr(AIClient, name)

    with track_ai(config_key="judged", tracking=tracking) as run:
        assert run.messages() == [{"role": "system", "content": "Be brief."}]


def test_a_prompt_is_rendered_for_a_model(tracking: Tracking) -> None:
    """Nothing is escaped, and no file is read, whatever the prompt asks for."""
    with track_ai(config_key="chat", tracking=tracking, variables={"company": "A&B's <x>"}) as run:
        assert run.messages()[0]["content"] == "You help A&B's <x>."
    assert templates.render("a {{> setup }} b {{x}}", {"x": "&"}) == "a  b &"


def test_a_template_is_parsed_once(tracking: Tracking) -> None:
    """However many requests render it."""
    for _ in range(3):
        with track_ai(config_key="greeting", tracking=tracking, variables={"greeting": "Hi"}) as run:
            run.messages()
    before = templates.parse.cache_info()
    with track_ai(config_key="greeting", tracking=tracking, variables={"greeting": "Hello"}) as run:
        run.messages()
    after = templates.parse.cache_info()
    assert (after.misses, after.hits > before.hits) == (before.misses, True)


@pytest.mark.parametrize("config_key", MALFORMED)
def test_a_malformed_variation_is_not_served(tracking: Tracking, config_key: str) -> None:
    """The default is served in its place, told once, and the request goes on."""
    default = AICompletionConfigDefault(enabled=True, messages=[LDMessage(role="system", content="Be kind.")])
    for _ in range(2):
        with track_ai(config_key=config_key, tracking=tracking, default=default) as run:
            assert run.messages() == [{"role": "system", "content": "Be kind."}]

    assert tracking.stats().diagnostics["default_served"] == 2
