"""DSPy beyond the matrix: its cache and its threads."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from ldai_integrations import Settings, track_ai
from ldai_integrations.testing import OfflineLaunchDarkly, RecordingSink

from ..ledger.provider import Provider

pytestmark = [pytest.mark.stacks, pytest.mark.filterwarnings("ignore"), pytest.mark.timeout(300)]

MODEL = "gpt-4o-mini"
TOKENS = (7317, 3863)


@pytest.fixture
def dspy() -> Any:
    """Return DSPy, if it is installed."""
    return pytest.importorskip("dspy")


@pytest.mark.parametrize("is_module", [False, True])
def test_an_answer_from_the_cache_is_no_call(
    dspy: Any, launchdarkly: OfflineLaunchDarkly, runs: RecordingSink, provider: Provider, *, is_module: bool
) -> None:
    """A run that DSPy's cache answers has no call and no generation."""
    provider.serve(MODEL, tokens=TOKENS, words=("[[ ## answer ## ]]\nHello",))
    question = str(uuid.uuid4())  # the cache is on disk

    for _ in range(2):
        model = dspy.LM(f"openai/{MODEL}", api_base=f"{provider.url}/v1", api_key="none", cache=True)
        with track_ai(config_key="chat", tracking=launchdarkly.tracking), dspy.context(lm=model):
            dspy.Predict("question -> answer")(question=question) if is_module else model(question)

    records = runs.wait(2)
    assert [(record.calls, record.outcome) for record in records] == [(1, "success"), (0, "discarded")]


def test_threads_of_dspy_need_the_run(
    dspy: Any, launchdarkly: OfflineLaunchDarkly, runs: RecordingSink, provider: Provider
) -> None:
    """The calls on the threads of ``dspy.Parallel`` are counted if the modules are bound to the run."""
    provider.serve(MODEL, tokens=TOKENS, words=('{"answer": "Hello"}',))
    model = dspy.LM(f"openai/{MODEL}", api_base=f"{provider.url}/v1", api_key="none", cache=False)
    predict = dspy.Predict("question -> answer")
    parallel = dspy.Parallel(num_threads=2, disable_progress_bar=True)

    with (
        track_ai(config_key="chat", tracking=launchdarkly.tracking) as run,
        dspy.context(lm=model, adapter=dspy.JSONAdapter()),
    ):
        parallel([(run.bind(predict), {"question": text}) for text in ("one", "two")])

    record = runs.wait(1)[-1]
    assert record.usage is not None
    assert (record.calls, record.usage.input_tokens, record.usage.output_tokens) == (2, 2 * TOKENS[0], 2 * TOKENS[1])


@pytest.mark.parametrize("settings", [Settings(flush="never", judges=None, frameworks={"dspy"})])
@pytest.mark.parametrize("asks", [False, True])
def test_a_stream_whose_tokens_litellm_counts(
    dspy: Any, asks: bool, launchdarkly: OfflineLaunchDarkly, runs: RecordingSink, provider: Provider
) -> None:
    """If LiteLLM does not report a stream, DSPy's figures are exact if it has asked for them, and else an estimate."""
    provider.serve(MODEL, tokens=TOKENS)
    model = dspy.LM(f"openai/{MODEL}", api_base=f"{provider.url}/v1", api_key="none", cache=False, engine="litellm")

    class Ask(dspy.Module):
        def forward(self, question: str) -> Any:
            return dspy.Prediction(answer=dspy.settings.lm(question))

    with (
        track_ai(config_key="chat", tracking=launchdarkly.tracking),
        dspy.context(lm=model, track_usage=asks),
    ):
        assert list(dspy.streamify(Ask(), async_streaming=False)(question="Hi"))

    usage = runs.wait(1)[-1].usage
    assert usage is not None
    assert ((usage.input_tokens, usage.output_tokens) == TOKENS, usage.source) == (
        (True, "provider") if asks else (False, "estimate")
    )
