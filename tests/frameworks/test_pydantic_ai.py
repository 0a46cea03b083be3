"""pydantic-ai: what its tracked models report."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from ldai_integrations import track_ai
from ldai_integrations.testing import OfflineLaunchDarkly, RecordingSink

from ..ledger.provider import IN, OUT, Provider
from .conftest import RecordOf
from .stacks.pydantic_ai import agent, tracked_model

pytest.importorskip("pydantic_ai", exc_type=ImportError)

pytestmark = [pytest.mark.stacks, pytest.mark.filterwarnings("ignore"), pytest.mark.timeout(300)]

MODEL, KIND = "gpt-4o-mini", "OpenAIChatModel"
TOKENS = (7317, 3863)
_WORDS = ("Hello", " there") * 20


def test_a_synchronous_agent_is_counted(launchdarkly: OfflineLaunchDarkly, runs: RecordingSink) -> None:
    """An agent that a synchronous handler runs is a call of its run."""
    from pydantic_ai.models.test import TestModel

    from ldai_integrations.frameworks.pydantic_ai import TrackedModel

    @track_ai(config_key="chat", tracking=launchdarkly.tracking)
    def handler() -> Any:
        return agent(TrackedModel(TestModel(call_tools=[]))).run_sync("Hi").usage

    usage = handler()
    record = runs.wait(1)[-1]

    assert record.usage is not None
    assert (record.usage.input_tokens, record.usage.output_tokens) == (usage.input_tokens, usage.output_tokens)


def test_parallel_agents_are_all_counted(record_of: RecordOf, provider: Provider) -> None:
    """Three agents that run at the same time are three calls of the run."""

    async def work() -> None:
        async with tracked_model(provider.url, MODEL, KIND) as model:
            await asyncio.gather(*(agent(model).run("Hi") for _ in range(3)))

    record = record_of(work)

    assert record.usage is not None
    assert (record.calls, record.usage.total_tokens) == (3, 3 * sum(TOKENS))


def test_answers_that_are_rejected_are_counted(record_of: RecordOf, provider: Provider) -> None:
    """An answer that does not have the structure of the output is paid for, and so is each one after it."""
    from pydantic import BaseModel

    class Word(BaseModel):
        word: str

    provider.serve(MODEL, tool="final_result")  # without arguments

    async def work() -> None:
        async with tracked_model(provider.url, MODEL, KIND) as model:
            await agent(model, output_type=Word, retries=2).run("Hi")

    record = record_of(work)

    assert record.usage is not None
    assert record.calls == len(provider.requests) > 1
    assert record.usage.input_tokens == record.calls * TOKENS[0]
    assert record.tool_calls == ("final_result",) * record.calls


def test_each_attempt_of_a_fallback_is_counted(record_of: RecordOf, provider: Provider) -> None:
    """If the first model fails and the second one answers, the run is a success with a failed call."""
    from pydantic_ai.models.fallback import FallbackModel

    provider.serve("first", status=500)

    async def work() -> None:
        async with (
            tracked_model(provider.url, "first", KIND) as first,
            tracked_model(provider.url, MODEL, KIND) as other,
        ):
            await agent(FallbackModel(first, other)).run("Hi")

    record = record_of(work)

    assert (record.outcome, record.calls, record.failed_calls) == ("success", 2, 1)
    assert record.usage is not None
    assert record.usage.total_tokens == sum(TOKENS)


def test_earlier_turns_are_not_counted_again(record_of: RecordOf, provider: Provider) -> None:
    """A history of messages that the handler passes on adds no calls."""

    async def work() -> None:
        async with tracked_model(provider.url, MODEL, KIND) as model:
            first = await agent(model).run("Hi")
            await agent(model).run("More", message_history=first.all_messages())

    assert record_of(work).calls == 2


def test_a_stream_that_breaks_is_an_error(record_of: RecordOf, provider: Provider) -> None:
    """If the provider's connection breaks and the handler apologizes, the run is an error with what was sent."""
    provider.serve(MODEL, words=_WORDS, breaks_after=5)

    async def work() -> None:
        async with tracked_model(provider.url, MODEL, KIND) as model, agent(model).run_stream("Hi") as result:
            async for _ in result.stream_text(debounce_by=None):
                pass

    record = record_of(work)

    assert (record.outcome, record.failed_calls) == ("error", 1)
    assert record.usage is not None
    assert record.usage.source == "estimate"


def test_a_cancelled_stream_is_no_failure(record_of: RecordOf, provider: Provider) -> None:
    """A stream that the handler cancels is a call with an estimate of what was sent."""
    provider.serve(MODEL, words=_WORDS, pause=0.01)

    async def work() -> None:
        async with tracked_model(provider.url, MODEL, KIND) as model, agent(model).run_stream("Hi") as result:
            async for _ in result.stream_text(debounce_by=None):
                await result.cancel()

    record = record_of(work)

    assert (record.calls, record.failed_calls) == (1, 0)
    assert record.usage is not None
    assert record.usage.source == "estimate"


def test_an_embedding_has_only_an_input(record_of: RecordOf, provider: Provider) -> None:
    """An embedding is a call of the run whose total is its input."""
    provider.serve("text-embedding-3-small", tokens=(4219, 0))

    async def work() -> None:
        from openai import AsyncOpenAI
        from pydantic_ai import Embedder
        from pydantic_ai.embeddings.openai import OpenAIEmbeddingModel
        from pydantic_ai.providers.openai import OpenAIProvider

        from ldai_integrations.frameworks.pydantic_ai import TrackedEmbeddingModel

        async with AsyncOpenAI(base_url=f"{provider.url}/v1", api_key="none") as client:
            model = OpenAIEmbeddingModel("text-embedding-3-small", provider=OpenAIProvider(openai_client=client))
            await Embedder(TrackedEmbeddingModel(model)).embed_query("Hi")

    record = record_of(work)

    assert record.usage is not None
    assert (record.usage.input_tokens, record.usage.output_tokens, record.usage.total_tokens) == (4219, None, 4219)


def test_waiting_for_a_background_response_is_one_call(record_of: RecordOf) -> None:
    """Questions whether a background response is ready are no calls."""
    from pydantic_ai.messages import ModelResponse, TextPart
    from pydantic_ai.models.function import FunctionModel
    from pydantic_ai.usage import RequestUsage

    from ldai_integrations.frameworks.pydantic_ai import TrackedModel

    waiting = ModelResponse(parts=[], provider_response_id="resp_1", state="suspended")
    ready = ModelResponse(
        parts=[TextPart("Hello")],
        usage=RequestUsage(input_tokens=7317, output_tokens=3863),
        provider_response_id="resp_1",
    )

    class Background(FunctionModel):
        answers = iter((waiting, waiting, ready))

        async def request(self, *_: Any) -> ModelResponse:
            return next(self.answers)

    async def work() -> None:
        await agent(TrackedModel(Background(lambda *_: ready))).run("Hi")

    record = record_of(work)

    assert record.usage is not None
    assert (record.calls, record.usage.total_tokens) == (1, sum(TOKENS))


def test_the_messages_of_earlier_runs(launchdarkly: OfflineLaunchDarkly, runs: RecordingSink) -> None:
    """All messages of a chat count what was received in this run, also if the model is not connected."""
    from pydantic_ai import Agent, ModelResponse, TextPart
    from pydantic_ai.models.function import FunctionModel
    from pydantic_ai.usage import RequestUsage

    def answer(messages: list[Any], _info: Any) -> ModelResponse:
        return ModelResponse(
            [TextPart("Hello")], usage=RequestUsage(input_tokens=IN * len(messages), output_tokens=OUT)
        )

    chat = Agent(FunctionModel(answer))
    first = chat.run_sync("Hi")
    if first.all_messages()[-1].run_id is None:
        pytest.skip("this version does not tell when it received a response")
    with track_ai(config_key="chat", tracking=launchdarkly.tracking) as run:
        second = chat.run_sync("More", message_history=first.all_messages())
        third = chat.run_sync("More", message_history=second.all_messages())
        run.observe(third.all_messages())

    record = runs.wait(1)[-1]
    assert record.calls == 2
    assert record.usage is not None
    assert (record.usage.input_tokens, record.usage.output_tokens, record.usage.source) == (8 * IN, 2 * OUT, "provider")

    with track_ai(config_key="chat", tracking=launchdarkly.tracking) as run:  # all of them are from before
        run.observe(first)

    assert runs.wait(2)[-1].calls == 1


def test_responses_with_the_time_of_the_provider(launchdarkly: OfflineLaunchDarkly, runs: RecordingSink) -> None:
    """Versions before 1.38 took the provider's time, in whole seconds: that of a response may be before its run."""
    from pydantic_ai import ModelResponse, TextPart
    from pydantic_ai.usage import RequestUsage

    usage = RequestUsage(input_tokens=IN, output_tokens=OUT)
    now = datetime.now(timezone.utc).replace(microsecond=0)
    times = [now - timedelta(seconds=1), now + timedelta(seconds=1)]
    with track_ai(config_key="chat", tracking=launchdarkly.tracking) as run:
        run.observe([ModelResponse([TextPart("Hello")], usage=usage, timestamp=time, run_id="1") for time in times])

    record = runs.wait(1)[-1]
    assert record.calls == 2
    assert record.usage is not None
    assert (record.usage.input_tokens, record.usage.output_tokens) == (2 * IN, 2 * OUT)
