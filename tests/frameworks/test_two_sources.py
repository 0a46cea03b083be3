"""A framework's calls that another source reports too are counted once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from ldai_integrations import current_run, wrap_client

from ..ledger.provider import Provider
from .conftest import RecordOf
from .stacks import openai_agents, pydantic_ai

pytestmark = [pytest.mark.stacks, pytest.mark.filterwarnings("ignore"), pytest.mark.timeout(300)]

MODEL = "gpt-4o-mini"
TOKENS, TOOL_TOKENS = (7317, 3863), (1273, 647)


async def _run_agents(url: str, kind: str, wrap: Any, *, observes: bool) -> None:
    from agents import Runner

    async with openai_agents.agent(url, MODEL, kind, wrap=wrap) as agent:
        result = await Runner.run(agent, "Hi")
        if observes:
            current_run().observe(result)


async def _stream_agents(url: str, kind: str, wrap: Any, *, observes: bool) -> None:
    from agents import Runner

    async with openai_agents.agent(url, MODEL, kind, wrap=wrap) as agent:
        events = Runner.run_streamed(agent, "Hi").stream_events()
        async for _ in current_run().observe(events) if observes else events:
            pass


async def _run_pydantic_ai(url: str, kind: str, wrap: Any, *, observes: bool) -> None:
    async with pydantic_ai.tracked_model(url, MODEL, kind, wrap) as model:
        result = await pydantic_ai.agent(model).run("Hi")
        if observes:
            current_run().observe(result)


async def _stream_pydantic_ai(url: str, kind: str, wrap: Any, *, observes: bool) -> None:
    async with (
        pydantic_ai.tracked_model(url, MODEL, kind, wrap) as model,
        pydantic_ai.agent(model).run_stream_events("Hi") as events,
    ):
        async for event in events:
            if observes and event.event_kind == "agent_run_result":
                current_run().observe(event.result)


USES: dict[str, tuple[str, Callable[..., Any], str]] = {
    "openai-agents": ("agents", _run_agents, "OpenAIChatCompletionsModel"),
    "openai-agents, responses": ("agents", _run_agents, "OpenAIResponsesModel"),
    "openai-agents, streamed": ("agents", _stream_agents, "OpenAIChatCompletionsModel"),
    "openai-agents, responses, streamed": ("agents", _stream_agents, "OpenAIResponsesModel"),
    "pydantic-ai": ("pydantic_ai", _run_pydantic_ai, "OpenAIChatModel"),
    "pydantic-ai, responses": ("pydantic_ai", _run_pydantic_ai, "OpenAIResponsesModel"),
    "pydantic-ai, streamed": ("pydantic_ai", _stream_pydantic_ai, "OpenAIChatModel"),
}


@pytest.mark.parametrize("wrap", [None, wrap_client], ids=["", "wrapped"])
@pytest.mark.parametrize("observes", [False, True], ids=["", "observed"])
@pytest.mark.parametrize("name", USES)
def test_each_call_counts_once(name: str, observes: bool, wrap: Any, record_of: RecordOf, provider: Provider) -> None:
    """With a wrapped client below the framework, with its result observed, or both, the figures are the same."""
    package, use, kind = USES[name]
    pytest.importorskip(package, exc_type=ImportError)
    provider.serve(MODEL, tokens=TOKENS, tool="lookup", tool_tokens=TOOL_TOKENS)

    record = record_of(lambda: use(provider.url, kind, wrap, observes=observes))

    assert record.usage is not None
    assert (record.calls, record.outcome, record.usage.source) == (2, "success", "provider")
    assert record.usage.input_tokens == TOKENS[0] + TOOL_TOKENS[0]
    assert record.usage.output_tokens == TOKENS[1] + TOOL_TOKENS[1]


def test_the_time_of_the_first_token_comes_from_observed_events(record_of: RecordOf, provider: Provider) -> None:
    """openai-agents does not tell when the first token arrived; the events that the handler observes do."""
    pytest.importorskip("agents", exc_type=ImportError)
    provider.serve(MODEL, tokens=TOKENS, pause=0.05)
    model = "OpenAIChatCompletionsModel"

    record = record_of(lambda: _stream_agents(provider.url, model, None, observes=True))

    assert record.time_to_first_token_ms is not None
    assert record.time_to_first_token_ms >= 50
