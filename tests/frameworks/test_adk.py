"""Google's ADK beyond the matrix: the identity of its calls."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from ldai_integrations import track_ai
from ldai_integrations.testing import OfflineLaunchDarkly, RecordingSink

from .stacks.stack import wait

pytestmark = [pytest.mark.stacks, pytest.mark.filterwarnings("ignore"), pytest.mark.timeout(300)]


@pytest.fixture(autouse=True)
def adk() -> None:
    """Skip if ADK is not installed."""
    pytest.importorskip("google.adk")


async def _call(response: Any) -> None:
    """Call the plugin as ADK does for a call with one response, whose context nothing else refers to afterwards."""
    from google.adk.events.event_actions import EventActions
    from google.adk.models.llm_request import LlmRequest

    from ldai_integrations.frameworks.adk import TrackingPlugin

    plugin, context = TrackingPlugin(), SimpleNamespace(actions=EventActions())
    await plugin.before_model_callback(callback_context=context, llm_request=LlmRequest(model="m"))
    await plugin.after_model_callback(callback_context=context, llm_response=response)


def test_a_call_is_not_taken_for_another_one_at_its_address(
    launchdarkly: OfflineLaunchDarkly, runs: RecordingSink
) -> None:
    """A stream whose consumer leaves stays open; later calls are no repetitions of it, wherever their objects are."""
    from google.adk.models.llm_response import LlmResponse
    from google.genai.types import GenerateContentResponseUsageMetadata, ModelContent

    usage = GenerateContentResponseUsageMetadata(prompt_token_count=7317, candidates_token_count=3863)
    with track_ai(config_key="chat", tracking=launchdarkly.tracking):
        for _ in range(5):
            wait(_call(LlmResponse(content=ModelContent("Hel"), partial=True)))
            wait(_call(LlmResponse(content=ModelContent("Hello"), usage_metadata=usage)))

    record = runs.wait(1)[-1]

    assert (record.calls, record.failed_calls) == (10, 0)
