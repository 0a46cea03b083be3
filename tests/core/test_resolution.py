"""AI Configs as a run resolves them: rendered for a model, without judges, and the default where they are malformed."""

from __future__ import annotations

from typing import Any

import pytest
from ldai.judge import Judge
from ldai.models import AICompletionConfigDefault, LDMessage

from ldai_integrations import Tracking, track_ai
from ldai_integrations.testing import OfflineLaunchDarkly, ai_config

from ..flags import MALFORMED


def test_resolving_builds_no_judge(tracking: Tracking, monkeypatch: pytest.MonkeyPatch) -> None:
    """An AI Config with judges is resolved without them; to build one takes tens of milliseconds."""

    def build(*_args: Any, **_kwargs: Any) -> None:
        raise AssertionError("a judge was built")

    monkeypatch.setattr(Judge, "__init__", build)
    with track_ai(config_key="judged", tracking=tracking) as run:
        assert run.messages() == [{"role": "system", "content": "Be brief."}]


@pytest.mark.parametrize(
    ("prompt", "variables", "rendered"),
    [
        ("You help {{company}}.", {"company": "A&B's <x>"}, "You help A&B's <x>."),
        ("You help {{{company}}}.", {"company": "A&B's <x>"}, "You help A&B's <x>."),
        ("a {{> setup }} b {{x}}", {"x": "&"}, "a  b &"),
        ("{{#names}}{{.}}, {{/names}}", {"names": ["Ada", "Grace"]}, "Ada, Grace, "),
        ("You help {{nobody}}.", {}, "You help ."),
    ],
    ids=["not escaped", "three braces", "no file is read", "a section", "a missing variable"],
)
def test_a_prompt_is_rendered_for_a_model(
    no_leaks: None, prompt: str, variables: dict[str, Any], rendered: str
) -> None:
    """Nothing is escaped, and no file is read, whatever the prompt contains."""
    with (
        OfflineLaunchDarkly({"bot": ai_config(messages=[{"role": "system", "content": prompt}])}),
        track_ai("bot", variables=variables) as run,
    ):
        assert run.messages() == [{"role": "system", "content": rendered}]


@pytest.mark.parametrize("config_key", MALFORMED)
def test_a_malformed_variation_is_not_served(tracking: Tracking, config_key: str) -> None:
    """The default is served in its place, which is logged once, and the request goes on."""
    default = AICompletionConfigDefault(enabled=True, messages=[LDMessage(role="system", content="Be kind.")])
    for _ in range(2):
        with track_ai(config_key=config_key, tracking=tracking, default=default) as run:
            assert run.messages() == [{"role": "system", "content": "Be kind."}]

    assert tracking.stats().diagnostics["default_served"] == 2


def test_a_default_is_rendered_anew(no_leaks: None) -> None:
    """Each run fills in the default with its own variables; the default itself stays as it is."""
    default = AICompletionConfigDefault(enabled=True, messages=[LDMessage(role="system", content="You help {{shop}}.")])
    with OfflineLaunchDarkly({}):
        for shop in ("K", "L"):
            with track_ai("bot", default=default, variables={"shop": shop}) as run:
                assert run.messages() == [{"role": "system", "content": f"You help {shop}."}]
    assert default.messages == [LDMessage(role="system", content="You help {{shop}}.")]
