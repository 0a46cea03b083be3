"""LlamaIndex beyond the matrix: structured output, embeddings and query engines."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel

from ldai_integrations import track_ai
from ldai_integrations.records import RunRecord
from ldai_integrations.testing import OfflineLaunchDarkly, RecordingSink

from ..ledger.provider import Provider

pytestmark = [pytest.mark.stacks, pytest.mark.filterwarnings("ignore"), pytest.mark.timeout(300)]

MODEL, EMBEDDING = "gpt-4o-mini", "text-embedding-3-small"
TOKENS = (7317, 3863)


class Answer(BaseModel):
    """What the model answers."""

    text: str = ""


@pytest.fixture(autouse=True)
def llama_index() -> None:
    """Skip if LlamaIndex or its packages for OpenAI are not installed."""
    pytest.importorskip("llama_index.llms.openai")
    pytest.importorskip("llama_index.embeddings.openai")


@pytest.fixture
def model(provider: Provider) -> Any:
    """Return a model of the provider."""
    from llama_index.llms.openai import OpenAI

    provider.serve(MODEL, tokens=TOKENS)
    return OpenAI(model=MODEL, api_base=f"{provider.url}/v1", api_key="none", max_retries=0)


@pytest.fixture
def embedding(provider: Provider) -> Any:
    """Return an embedding model of the provider."""
    from llama_index.embeddings.openai import OpenAIEmbedding

    provider.serve(EMBEDDING, tokens=TOKENS)
    return OpenAIEmbedding(model=EMBEDDING, api_base=f"{provider.url}/v1", api_key="none", max_retries=0)


def _record_of(use: Any, launchdarkly: OfflineLaunchDarkly, runs: RecordingSink) -> RunRecord:
    with track_ai(config_key="chat", tracking=launchdarkly.tracking):
        use()
    return runs.wait(1)[-1]


def test_structured_output_is_one_call(
    model: Any, provider: Provider, launchdarkly: OfflineLaunchDarkly, runs: RecordingSink
) -> None:
    """A structured model calls another one: that is one provider call, with the provider's figures."""
    provider.serve(MODEL, tokens=TOKENS, words=('{"text": "Hello"}',))

    record = _record_of(lambda: model.as_structured_llm(Answer).complete("Hi"), launchdarkly, runs)

    assert record.usage is not None
    assert (record.calls, record.usage.input_tokens, record.usage.output_tokens) == (1, *TOKENS)
    assert record.usage.source == "provider"


def test_embeddings_are_estimated(embedding: Any, launchdarkly: OfflineLaunchDarkly, runs: RecordingSink) -> None:
    """LlamaIndex reports no usage of embeddings: the tokens of their texts are counted, and marked as an estimate."""
    record = _record_of(lambda: embedding.get_query_embedding("Hello there"), launchdarkly, runs)

    assert record.usage is not None
    assert (record.calls, record.usage.input_tokens, record.usage.source) == (1, 2, "estimate")


def test_failed_embeddings_are_a_failed_call(
    embedding: Any, provider: Provider, launchdarkly: OfflineLaunchDarkly, runs: RecordingSink
) -> None:
    """An embedding that the provider refuses is a failed call."""
    provider.serve(EMBEDDING, status=400)

    def use() -> None:
        with pytest.raises(Exception, match="400"):
            embedding.get_query_embedding("Hello there")

    record = _record_of(use, launchdarkly, runs)

    assert (record.calls, record.failed_calls, record.outcome) == (1, 1, "error")


def test_a_query_engine_has_a_call_for_each_model(
    model: Any, embedding: Any, launchdarkly: OfflineLaunchDarkly, runs: RecordingSink
) -> None:
    """A query is an embedding and a call of the model; only the tokens of the embedding are estimated."""
    from llama_index.core import Document, VectorStoreIndex

    index = VectorStoreIndex.from_documents([Document(text="Hello")], embed_model=embedding)

    record = _record_of(lambda: index.as_query_engine(llm=model).query("Hello there"), launchdarkly, runs)

    assert record.usage is not None
    assert (record.calls, record.usage.output_tokens, record.usage.source) == (2, TOKENS[1], "partial")
    assert record.usage.input_tokens == TOKENS[0] + 2
