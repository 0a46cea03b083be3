"""A call that a framework and another source report counts once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from ldai_integrations import Run, track_ai, wrap_client
from ldai_integrations.records import RunRecord
from ldai_integrations.testing import OfflineLaunchDarkly, RecordingSink

from ..clients import makers
from ..ledger.provider import Provider

pytestmark = [pytest.mark.stacks, pytest.mark.filterwarnings("ignore"), pytest.mark.timeout(300)]

MODEL = "gpt-4o-mini"
TOKENS = (7317, 3863)
MESSAGES = [{"role": "user", "content": "Hi"}]

Use = Callable[[Run, str], object]


def _llama_index_with_a_wrapped_client(run: Run, url: str) -> None:
    from llama_index.core.llms import ChatMessage
    from llama_index.llms.openai import OpenAI

    model = OpenAI(model=MODEL, api_key="none", openai_client=wrap_client(makers.openai(url)))
    run.observe(model.chat([ChatMessage("Hi")]).raw)


def _langchain_with_a_wrapped_client(run: Run, url: str) -> None:
    from langchain_openai import ChatOpenAI

    completions = wrap_client(makers.openai(url)).chat.completions
    run.observe(ChatOpenAI(model=MODEL, api_key="none", client=completions).invoke("Hi"))


def _litellm_with_observe(run: Run, url: str) -> None:
    import litellm

    run.observe(litellm.completion(f"openai/{MODEL}", MESSAGES, api_base=f"{url}/v1", api_key="none"))


def _litellm_below_llama_index(run: Run, url: str) -> None:
    del run
    import litellm
    from llama_index.core.llms import CompletionResponse, CustomLLM, LLMMetadata
    from llama_index.core.llms.callbacks import llm_completion_callback

    class Model(CustomLLM):
        @property
        def metadata(self) -> Any:
            return LLMMetadata()

        @llm_completion_callback()
        def complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> Any:
            del formatted, kwargs
            messages = [{"role": "user", "content": prompt}]
            answer: Any = litellm.completion(f"openai/{MODEL}", messages, api_base=f"{url}/v1", api_key="none")
            return CompletionResponse(text=answer.choices[0].message.content)

        @llm_completion_callback()
        def stream_complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> Any:
            raise NotImplementedError

    from llama_index.core.llms import ChatMessage

    Model().chat([ChatMessage("Hi")])


def _litellm_below_dspy(run: Run, url: str) -> None:
    del run
    import dspy

    dspy.LM(f"openai/{MODEL}", api_base=f"{url}/v1", api_key="none", cache=False, engine="litellm")("Hi")


@pytest.mark.parametrize(
    ("package", "use"),
    [
        ("llama_index.llms.openai", _llama_index_with_a_wrapped_client),
        ("langchain_openai", _langchain_with_a_wrapped_client),
        ("litellm", _litellm_with_observe),
        ("llama_index.core", _litellm_below_llama_index),
        ("dspy", _litellm_below_dspy),
    ],
)
def test_a_call_that_two_sources_report_counts_once(
    package: str, use: Use, launchdarkly: OfflineLaunchDarkly, runs: RecordingSink, provider: Provider
) -> None:
    """A framework's call that a wrapped client, ``run.observe`` or another framework reports too is one call."""
    pytest.importorskip(package)
    provider.serve(MODEL, tokens=TOKENS)

    with track_ai(config_key="chat", tracking=launchdarkly.tracking) as run:
        use(run, provider.url)

    record: RunRecord = runs.wait(1)[-1]
    usage = record.usage
    assert usage is not None
    assert (usage.input_tokens, usage.output_tokens, usage.source) == (*TOKENS, "provider")
    assert (record.calls, record.outcome) == (1, "success")
