"""CrewAI beyond the matrix: its event bus while it is busy, and failures that are billed."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel

from ldai_integrations import track_ai
from ldai_integrations.testing import OfflineLaunchDarkly, RecordingSink

from ..ledger.provider import Provider

pytestmark = [pytest.mark.stacks, pytest.mark.filterwarnings("ignore"), pytest.mark.timeout(300)]

_USAGE = {"prompt_tokens": 7317, "completion_tokens": 3863, "total_tokens": 7317 + 3863}


@pytest.fixture(autouse=True)
def crewai() -> None:
    """Skip if CrewAI is not installed."""
    pytest.importorskip("crewai")


def _started(call_id: str) -> Any:
    from crewai.events.types.llm_events import LLMCallStartedEvent

    return LLMCallStartedEvent(call_id=call_id, model="m", messages=[{"role": "user", "content": "Hi"}])


def _completed(call_id: str) -> Any:
    from crewai.events.types.llm_events import LLMCallCompletedEvent, LLMCallType

    kind = LLMCallType.LLM_CALL
    return LLMCallCompletedEvent(call_id=call_id, model="m", response="Hello", call_type=kind, usage=_USAGE)


def _failed(call_id: str) -> Any:
    from crewai.events.types.llm_events import LLMCallFailedEvent

    return LLMCallFailedEvent(call_id=call_id, model="m", error="503")


def _handle(*events: Any) -> None:
    """Emit events, each after the handlers of the one before are done."""
    from crewai.events.event_bus import crewai_event_bus

    for event in events:
        done = crewai_event_bus.emit(None, event)
        if done is not None:
            done.result(30)


def test_the_handler_of_a_start_may_be_called_last(launchdarkly: OfflineLaunchDarkly, runs: RecordingSink) -> None:
    """A call counts once, with the provider's figures, in whichever order the bus handles its events."""
    with track_ai(config_key="chat", tracking=launchdarkly.tracking):
        _handle(_completed("late"), _started("late"), _failed("failed"), _started("failed"))
        _handle(_started("prompt"), _completed("prompt"))

    record = runs.wait(1)[-1]

    assert record.usage is not None
    assert (record.calls, record.failed_calls) == (3, 1)
    assert (record.usage.input_tokens, record.usage.output_tokens) == (2 * 7317, 2 * 3863)
    assert (record.usage.source, record.usage.lower_bound) == ("provider", False)


def test_a_start_that_is_handled_after_the_run_is_no_call(
    launchdarkly: OfflineLaunchDarkly, runs: RecordingSink
) -> None:
    """A start that the bus handles after the run has ended is not taken for a call in the background."""
    with track_ai(config_key="chat", tracking=launchdarkly.tracking) as run:
        _handle(_completed("later"))
        handle = run.bind(_handle)
    handle(_started("later"))

    assert runs.wait(1)[-1].calls == 1
    assert "call_after_run" not in launchdarkly.tracking.stats().diagnostics


def test_a_handler_that_waits_for_the_bus_counts_every_call(
    launchdarkly: OfflineLaunchDarkly, runs: RecordingSink
) -> None:
    """If the handler flushes the bus, its calls are counted before the run ends."""
    from crewai.events.event_bus import crewai_event_bus

    with track_ai(config_key="chat", tracking=launchdarkly.tracking):
        for number in range(20):
            crewai_event_bus.emit(None, _completed(f"flushed {number}"))
        crewai_event_bus.flush()

    assert runs.wait(1)[-1].calls == 20


@pytest.mark.parametrize(
    ("plan", "is_billed"),
    [({}, True), ({"delay": 2.0}, True), ({"status": 503}, False)],
    ids=["not the format", "too late", "refused"],
)
def test_an_answer_that_crewai_could_not_use_may_be_billed(
    plan: dict[str, Any], is_billed: bool, launchdarkly: OfflineLaunchDarkly, runs: RecordingSink, provider: Provider
) -> None:
    """The tokens of a run are a lower bound if an answer has not the requested format, or comes after the timeout."""
    from crewai import LLM

    class Answer(BaseModel):
        text: str

    options: dict[str, Any] = {"base_url": f"{provider.url}/v1", "api_key": "none", "max_retries": 0}
    provider.serve("unusable", **plan)

    with track_ai(config_key="chat", tracking=launchdarkly.tracking):
        LLM(model="openai/gpt-4o-mini", **options).call("Hi")
        with pytest.raises(Exception, match=r"validation error|timed out|503"):
            LLM(model="openai/unusable", timeout=1, **options).call("Hi", response_model=Answer)

    record = runs.wait(1)[-1]
    assert (record.calls, record.failed_calls) == (2, 1)
    assert record.usage is not None
    assert record.usage.lower_bound is is_billed
