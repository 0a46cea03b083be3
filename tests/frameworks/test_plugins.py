"""The plugins of Google's ADK and of Strands Agents, beside others that answer in place of the model."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from ldai_integrations import track_ai
from ldai_integrations.testing import OfflineLaunchDarkly, RecordingSink

from ..ledger.provider import Provider
from .stacks import adk, strands
from .stacks.stack import wait

pytestmark = [pytest.mark.stacks, pytest.mark.filterwarnings("ignore"), pytest.mark.timeout(300)]

_MODEL = "gpt-4o-mini"


def _adk_callback(url: str) -> None:
    pytest.importorskip("google.adk")
    from google.adk.models.llm_response import LlmResponse
    from google.genai.types import ModelContent

    cached = LlmResponse(content=ModelContent("cached"))
    wait(adk.run(adk.gemini(url, _MODEL), before_model_callback=lambda callback_context, llm_request: cached))


def _strands_middleware(url: str) -> None:
    pytest.importorskip("strands")
    from strands.middleware import InvokeModelStage, ModelStopReason

    async def answer(context: Any, call_next: Any) -> AsyncIterator[Any]:
        usage: Any = {"inputTokens": 0, "outputTokens": 0, "totalTokens": 0}
        message: Any = {"role": "assistant", "content": [{"text": "cached"}]}
        yield ModelStopReason("end_turn", message, usage, {"latencyMs": 0})

    agent = strands.agent(strands.openai(url, _MODEL))
    agent.add_middleware(InvokeModelStage, answer)
    agent("Hi")


@pytest.mark.parametrize("use", [_adk_callback, _strands_middleware])
def test_a_cached_answer_is_no_provider_call(
    use: Callable[[str], None], launchdarkly: OfflineLaunchDarkly, runs: RecordingSink, provider: Provider
) -> None:
    """A call that another plugin answers is not counted, because the provider was not asked."""

    @track_ai(config_key="chat", tracking=launchdarkly.tracking)
    def handler() -> None:
        use(provider.url)

    handler()

    [record] = runs.wait(1)
    assert provider.requests == []
    assert (record.calls, record.usage) == (0, None)
