"""Turns on a connection of Google's Live API, which are observed."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pytest

from ldai_integrations import Run, track_ai
from ldai_integrations.records import Usage
from ldai_integrations.testing import RecordingSink

from .provider import IN, OUT

COUNTS: dict[str, Any] = {"promptTokenCount": IN, "responseTokenCount": OUT, "totalTokenCount": IN + OUT}
AUDIO = {"responseTokensDetails": [{"modality": "AUDIO", "tokenCount": OUT}]}
TOOL = {"toolCall": {"functionCalls": [{"id": "1", "name": "lookup", "args": {}}]}}
END = {"serverContent": {"turnComplete": True}, "usageMetadata": COUNTS}


def said(word: str) -> dict[str, Any]:
    """Return a message with a word of the model."""
    return {"serverContent": {"modelTurn": {"parts": [{"text": word}]}}}


def observe_each(run: Run, messages: Iterable[object]) -> None:
    """Observe messages one by one."""
    for message in messages:
        run.observe(message)


def observe_stream(run: Run, messages: Iterable[object]) -> None:
    """Observe messages as one stream."""
    list(run.observe(iter(messages)))


@pytest.mark.parametrize("observe", [observe_each, observe_stream])
@pytest.mark.parametrize("is_last", [False, True], ids=["usage in a message of its own", "usage in the last message"])
def test_each_turn_is_a_call(
    observe: Callable[[Run, Iterable[object]], None], launchdarkly: object, runs: RecordingSink, *, is_last: bool
) -> None:
    """A turn ends with ``turnComplete``; the usage comes with it or follows it."""
    end = [END] if is_last else [{"serverContent": END["serverContent"]}, {"usageMetadata": COUNTS}]

    with track_ai(config_key="chat") as run:
        observe(run, [said("Hel"), said("lo"), *end, said("Bye"), *end])

    record = runs.wait()[0]
    assert (record.calls, record.usage) == (2, Usage(2 * IN, 2 * OUT, 2 * (IN + OUT)))


def test_tools_and_audio_of_a_turn(launchdarkly: object, runs: RecordingSink) -> None:
    """The tools that the model calls and the tokens of its speech are on the record."""
    with track_ai(config_key="chat") as run:
        observe_stream(run, [TOOL, said("Hello"), {**END, "usageMetadata": {**COUNTS, **AUDIO}}])

    record = runs.wait()[0]
    assert (record.calls, record.tool_calls) == (1, ("lookup",))
    assert record.usage == Usage(IN, OUT, IN + OUT, output_audio_tokens=OUT)
