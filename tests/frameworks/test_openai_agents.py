"""openai-agents: what its spans tell, also when the application does not trace."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from ..ledger.provider import Provider
from .conftest import RecordOf
from .stacks.openai_agents import agent

agents = pytest.importorskip("agents", exc_type=ImportError)

pytestmark = [pytest.mark.stacks, pytest.mark.filterwarnings("ignore"), pytest.mark.timeout(300)]

MODEL = "gpt-4o-mini"
CHAT, RESPONSES = "OpenAIChatCompletionsModel", "OpenAIResponsesModel"
TOKENS, TOOL_TOKENS = (7317, 3863), (1273, 647)
TOTAL = TOKENS[0] + TOOL_TOKENS[0], TOKENS[1] + TOOL_TOKENS[1]

both = pytest.mark.parametrize("kind", [CHAT, RESPONSES])


async def _read(result: Any) -> None:
    async for _ in result.stream_events():
        pass


@both
@pytest.mark.parametrize("options", [{"tracing_disabled": True}, {"trace_include_sensitive_data": False}], ids=str)
@pytest.mark.parametrize("is_streamed", [False, True], ids=["whole", "streamed"])
def test_calls_are_reported_without_tracing(
    kind: str, options: dict[str, Any], is_streamed: bool, record_of: RecordOf, provider: Provider
) -> None:
    """If an application disables tracing or keeps data out of it, the tokens are the provider's nevertheless."""
    provider.serve(MODEL, tokens=TOKENS, tool="lookup", tool_tokens=TOOL_TOKENS)
    config = agents.RunConfig(**options)

    async def work() -> None:
        async with agent(provider.url, MODEL, kind) as found:
            if is_streamed:
                await _read(agents.Runner.run_streamed(found, "Hi", run_config=config))
            else:
                await agents.Runner.run(found, "Hi", run_config=config)

    record = record_of(work)

    assert record.usage is not None
    assert (record.usage.input_tokens, record.usage.output_tokens, record.usage.source) == (*TOTAL, "provider")
    assert (record.outcome, record.calls) == ("success", 2)


def test_the_processors_of_the_application_are_kept(record_of: RecordOf, provider: Provider) -> None:
    """A processor that the application adds sees the spans of model calls as without the library."""
    seen: list[Any] = []

    base: Any = agents.TracingProcessor

    class Processor(base):
        def on_trace_start(self, trace: Any) -> None: ...
        def on_trace_end(self, trace: Any) -> None: ...
        def on_span_start(self, span: Any) -> None: ...
        def on_span_end(self, span: Any) -> None:
            seen.append(span.span_data)

        def shutdown(self) -> None: ...
        def force_flush(self) -> None: ...

    async def work() -> None:
        async with agent(provider.url, MODEL, CHAT) as found:
            agents.add_trace_processor(Processor())
            await agents.Runner.run(found, "Hi")

    record = record_of(work)

    assert record.calls == 1
    assert [data.usage["input_tokens"] for data in seen if data.type == "generation"] == [TOKENS[0]]


@both
def test_a_handoff_is_a_call_of_each_agent(kind: str, record_of: RecordOf, provider: Provider) -> None:
    """An agent that hands over to another one is one call, and the other one's answer is the second."""
    provider.serve(MODEL, tokens=TOKENS, tool="transfer_to_other", tool_tokens=TOOL_TOKENS)

    async def work() -> None:
        async with (
            agent(provider.url, MODEL, kind, name="other") as other,
            agent(provider.url, MODEL, kind, tools=[], handoffs=[other]) as first,
        ):
            await agents.Runner.run(first, "Hi")

    record = record_of(work)

    assert record.usage is not None
    assert (record.calls, record.usage.input_tokens) == (2, TOTAL[0])
    assert record.tool_calls == ("transfer_to_other",)


@both
def test_parallel_agents_are_all_counted(kind: str, record_of: RecordOf, provider: Provider) -> None:
    """Three agents that run at the same time are three calls of the run."""

    async def work() -> None:
        async with agent(provider.url, MODEL, kind) as found:
            await asyncio.gather(*(agents.Runner.run(found, "Hi") for _ in range(3)))

    record = record_of(work)

    assert record.usage is not None
    assert (record.calls, record.usage.total_tokens) == (3, 3 * sum(TOKENS))


@both
def test_a_stream_that_breaks_is_an_error(kind: str, record_of: RecordOf, provider: Provider) -> None:
    """If the provider's connection breaks and the handler apologizes, the run is an error."""
    provider.serve(MODEL, words=("Hello", " there") * 5, breaks_after=3)

    async def work() -> None:
        async with agent(provider.url, MODEL, kind) as found:
            await _read(agents.Runner.run_streamed(found, "Hi"))

    record = record_of(work)

    assert (record.outcome, record.calls, record.failed_calls) == ("error", 1, 1)


@both
def test_a_cancelled_stream_has_no_invented_figures(kind: str, record_of: RecordOf, provider: Provider) -> None:
    """A stream that the handler cancels is a call whose output is unknown, and no failure."""
    provider.serve(MODEL, words=("Hello", " there") * 20, pause=0.01)

    async def work() -> None:
        async with agent(provider.url, MODEL, kind) as found:
            result = agents.Runner.run_streamed(found, "Hi")
            async for event in result.stream_events():
                if event.type == "raw_response_event" and event.data.type == "response.output_text.delta":
                    result.cancel()

    record = record_of(work)

    assert (record.outcome, record.calls, record.failed_calls) == ("success", 1, 0)
    assert record.usage is None or record.usage.output_tokens is None


@pytest.mark.parametrize("is_streamed", [False, True], ids=["whole", "streamed"])
def test_zeros_are_no_usage(is_streamed: bool, record_of: RecordOf, provider: Provider) -> None:
    """If the provider sends no usage, which openai-agents turns into zeros, the tokens are estimated."""
    provider.serve(MODEL, tokens=None)

    async def work() -> None:
        async with agent(provider.url, MODEL, CHAT) as found:
            if is_streamed:
                await _read(agents.Runner.run_streamed(found, "Hi"))
            else:
                await agents.Runner.run(found, "Hi")

    record = record_of(work)

    assert record.usage is not None
    assert record.usage.source == "estimate"
    assert record.usage.output_tokens


def test_an_answer_without_choices(record_of: RecordOf, provider: Provider) -> None:
    """An answer that openai-agents refuses is a failed call that may be billed."""
    usage = {"prompt_tokens": TOKENS[0], "completion_tokens": TOKENS[1], "total_tokens": sum(TOKENS)}
    provider.serve(MODEL, frames=[{"id": "c", "choices": None, "usage": usage}])

    async def work() -> None:
        async with agent(provider.url, MODEL, CHAT) as found:
            await agents.Runner.run(found, "Hi")

    record = record_of(work)

    assert (record.outcome, record.calls, record.failed_calls) == ("error", 1, 1)
    assert record.usage is not None
    assert record.usage.lower_bound
