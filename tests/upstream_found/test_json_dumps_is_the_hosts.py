"""The host's tests may count the calls of ``json.dumps``: serving a request adds none, on no thread."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any
from unittest.mock import Mock, patch

import pytest
from ldai import AICompletionConfig
from ldai.tracker import LDAIConfigTracker
from ldclient import Context, LDClient

from ldai_integrations import RunRecord, Tracking, current_run, track_ai
from ldai_integrations._core.ai_client import Tracker, make_tracker, without_dumps

#: An answer whose tokens are estimated from JSON that has to be written again.
TOOL_USE = {"type": "tool_use", "id": "toolu_1", "name": "look_up", "input": {"of": ["wool", {"needles": 2}]}}
ANSWER = {"type": "message", "role": "assistant", "model": "claude-sonnet-4-5", "content": [TOOL_USE]}


@pytest.mark.parametrize("config_key", ["chat", "absent"])
@pytest.mark.parametrize("answer", ["Hello", {"name": "widget"}, ANSWER], ids=["text", "dict", "tool call"])
def test_a_run_leaves_json_dumps_alone(
    tracking: Tracking, records: list[RunRecord], config_key: str, answer: Any
) -> None:
    """Resolving, estimating and reporting write JSON with encoders of their own."""

    @track_ai(config_key=config_key, tracking=tracking)
    def handler() -> Any:
        current_run().messages()
        return current_run().observe(answer)

    with patch("json.dumps", wraps=json.dumps) as dumps:
        assert handler() is answer
        tracking.flush()

    assert [record.outcome for record in records] == ["success"]
    dumps.assert_not_called()


@pytest.mark.parametrize("graph_key", [None, "graph"])
@pytest.mark.parametrize("variation_key", ["", "größer"])
def test_the_token_is_the_sdks(variation_key: str, graph_key: str | None) -> None:
    """Byte for byte, in the tracker and in its summary."""

    def token(kind: Callable[..., LDAIConfigTracker]) -> str:
        client, context = Mock(LDClient), Context.create("ada")
        tracker = kind(client, "1b2c", "chat", variation_key, 3, context, "gpt", "OpenAI", graph_key)
        assert tracker.get_summary().resumption_token == tracker.resumption_token
        return tracker.resumption_token

    assert token(Tracker) == token(LDAIConfigTracker)


@pytest.mark.parametrize(("config_key", "mode"), [("chat", "completion"), ("agent", "agent"), ("off", "completion")])
def test_every_run_has_our_tracker(tracking: Tracking, config_key: str, mode: Any) -> None:
    """Where this fails the AI SDK makes its trackers differently, and has its own back."""
    with track_ai(config_key=config_key, mode=mode, tracking=tracking) as run:
        assert type(run.sdk_tracker) is Tracker
        assert vars(run.sdk_tracker).keys() == vars(run.config.create_tracker()).keys()


def test_another_factory_makes_what_it_makes() -> None:
    """It may be the application's own; only the AI SDK's is made to make ours."""
    made = Mock(LDAIConfigTracker)

    assert make_tracker(AICompletionConfig("chat", enabled=True, create_tracker=lambda: made, evaluator=Mock())) is made


def test_a_tracker_that_the_host_puts_there_is_made(tracking: Tracking, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its tests may replace the AI SDK's class."""
    replaced = Mock(return_value=Mock(LDAIConfigTracker))
    monkeypatch.setattr("ldai.client.LDAIConfigTracker", replaced)

    with track_ai(config_key="chat", tracking=tracking) as run:
        assert run.sdk_tracker is replaced.return_value


@pytest.mark.parametrize("token", [None, property(), lambda: "a method"])
def test_an_ai_sdk_with_another_token_is_left_alone(token: Any) -> None:
    """It writes its token as it likes."""
    assert without_dumps(token) is token
