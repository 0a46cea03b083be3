"""A framework above a wrapped client, and results that are also observed: each call counts once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from ldai_integrations import current_run, track_ai, wrap_client
from ldai_integrations.testing import OfflineLaunchDarkly, RecordingSink

from ..clients import makers
from ..ledger.provider import IN, OUT, Provider
from .stacks import adk, strands
from .stacks.stack import wait

pytestmark = [pytest.mark.stacks, pytest.mark.filterwarnings("ignore"), pytest.mark.timeout(300)]

_MODEL = "gpt-4o-mini"


def _adk_above_a_client(url: str) -> None:
    google_llm = pytest.importorskip("google.adk.models.google_llm")
    wait(adk.run(google_llm.Gemini(model=_MODEL, client=wrap_client(makers.genai(url)))))


def _adk_above_litellm(url: str) -> None:
    pytest.importorskip("google.adk.models.lite_llm")
    wait(adk.run(adk.litellm(url, _MODEL)))


def _strands_above_a_client(url: str) -> None:
    models = pytest.importorskip("strands.models.openai")
    client = wrap_client(makers.async_openai(url))
    strands.agent(models.OpenAIModel(client=client, model_id=_MODEL))("Hi")


def _strands_and_observe(url: str) -> None:
    pytest.importorskip("strands")
    current_run().observe(strands.agent(strands.openai(url, _MODEL))("Hi"))


@pytest.mark.parametrize(
    "use", [_adk_above_a_client, _adk_above_litellm, _strands_above_a_client, _strands_and_observe]
)
def test_each_call_counts_once(
    use: Callable[[str], Any], launchdarkly: OfflineLaunchDarkly, runs: RecordingSink, provider: Provider
) -> None:
    """A call that two sources report is one call, with the provider's figures."""

    @track_ai(config_key="chat", tracking=launchdarkly.tracking)
    def handler() -> None:
        use(provider.url)

    handler()

    [record] = runs.wait(1)
    assert record.usage is not None
    assert (record.calls, record.usage.input_tokens, record.usage.output_tokens) == (1, IN, OUT)
    assert record.usage.source == "provider"


def test_adk_above_a_litellm_that_counts_itself(
    launchdarkly: OfflineLaunchDarkly, runs: RecordingSink, provider: Provider
) -> None:
    """The tokens that LiteLLM counts are an estimate, also if a framework above it passes them on."""
    pytest.importorskip("google.adk.models.lite_llm")
    provider.serve("silent", tokens=None)

    @track_ai(config_key="chat", tracking=launchdarkly.tracking)
    def handler() -> None:
        wait(adk.run(adk.litellm(provider.url, "silent"), streams=True))

    handler()

    [record] = runs.wait(1)
    assert record.usage is not None
    assert (record.calls, record.usage.source) == (1, "estimate")
