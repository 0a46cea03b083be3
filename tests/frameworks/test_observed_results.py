"""The observed result of an agent counts what this run paid for, and not what the agent or its model used before."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from ldai_integrations import RunRecord, Settings, current_run, track_ai
from ldai_integrations.testing import OfflineLaunchDarkly, RecordingSink

from ..ledger.provider import Provider
from .stacks import crewai, pydantic_ai, strands
from .stacks.stack import wait

pytestmark = [pytest.mark.stacks, pytest.mark.filterwarnings("ignore"), pytest.mark.timeout(300)]

MODEL = "gpt-4o-mini"
FIRST, TOOL, LATER = (70001, 13337), (5003, 1009), (20011, 3001)


@pytest.fixture(params=["connected", "result only"])
def settings(request: pytest.FixtureRequest) -> Settings:
    """Return the settings of a Tracking, to which frameworks report or not."""
    frameworks: list[Any] = [] if request.param == "result only" else ["strands", "crewai", "pydantic_ai"]
    return Settings(flush="never", judges=None, frameworks=frameworks)


@pytest.fixture
def is_connected(settings: Settings) -> bool:
    """Return whether frameworks report their calls."""
    return bool(settings.frameworks)


@pytest.fixture
def record_of(launchdarkly: OfflineLaunchDarkly, runs: RecordingSink) -> Callable[[Callable[[], Any]], RunRecord]:
    """Return a function that observes what a function returns, and returns the record of the run."""

    def observe(work: Callable[[], Any]) -> RunRecord:
        before = len(runs.records)
        with track_ai(config_key="chat", tracking=launchdarkly.tracking) as run:
            run.observe(work())
        return runs.wait(before + 1)[-1]

    return observe


def figures_of(record: RunRecord) -> tuple[int | None, int | None, str, bool]:
    """Return the input and output tokens of a record, and how certain they are."""
    usage = record.usage
    assert usage is not None
    return usage.input_tokens, usage.output_tokens, usage.source, usage.lower_bound


def together(*tokens: tuple[int, int]) -> tuple[int, int]:
    """Return the sum of the tokens of several calls."""
    return sum(pair[0] for pair in tokens), sum(pair[1] for pair in tokens)


# Strands


def test_a_later_turn_of_a_strands_agent(record_of: Any, provider: Provider) -> None:
    """The result of a later turn has the figures of that turn, although the agent adds up its whole life."""
    pytest.importorskip("strands")
    agent = strands.agent(strands.openai(provider.url, MODEL))
    provider.serve(MODEL, tokens=FIRST)
    first = record_of(lambda: agent("Hi"))
    provider.serve(MODEL, tokens=LATER, tool="lookup", tool_tokens=TOOL)
    later = record_of(lambda: agent("Hi"))

    assert figures_of(first) == (*FIRST, "provider", False)
    assert figures_of(later) == (*together(TOOL, LATER), "provider", False)
    assert (first.calls, later.calls) == (1, 2)


def test_a_turn_of_a_strands_agent_without_usage(record_of: Any, provider: Provider) -> None:
    """If the server sends no usage in a later turn, its tokens are an estimate, and not the turns before."""
    pytest.importorskip("strands")
    agent = strands.agent(strands.openai(provider.url, MODEL))
    provider.serve(MODEL, tokens=FIRST)
    record_of(lambda: agent("Hi"))
    provider.serve(MODEL, tokens=None)
    later = record_of(lambda: agent("Hi"))

    assert later.calls == 1
    assert later.usage is not None
    assert later.usage.output_tokens == 2
    assert later.usage.estimated >= {"output_tokens"}


def test_a_call_of_a_strands_agent_without_usage(record_of: Any, provider: Provider, is_connected: bool) -> None:
    """If the server sends no usage for one of two calls, the tokens are marked."""
    pytest.importorskip("strands")
    agent = strands.agent(strands.openai(provider.url, MODEL))
    provider.serve(MODEL, tokens=None, tool="lookup", tool_tokens=TOOL)
    usage = record_of(lambda: agent("Hi")).usage

    assert len(provider.requests) == 2
    assert usage is not None
    assert bool(usage.estimated) is is_connected
    assert usage.lower_bound is not is_connected
    assert usage.output_tokens == TOOL[1] + (2 if is_connected else 0)


def test_the_events_of_a_strands_agent(
    launchdarkly: OfflineLaunchDarkly, runs: RecordingSink, provider: Provider
) -> None:
    """An observed stream of events counts each call once, although its last event is the result of the agent."""
    pytest.importorskip("strands")
    agent = strands.agent(strands.openai(provider.url, MODEL))

    async def turn() -> None:
        with track_ai(config_key="chat", tracking=launchdarkly.tracking) as run:
            async for _ in run.observe(agent.stream_async("Hi")):
                pass

    provider.serve(MODEL, tokens=FIRST)
    wait(turn())
    provider.serve(MODEL, tokens=LATER, tool="lookup", tool_tokens=TOOL)
    wait(turn())
    first, later = runs.wait(2)

    assert figures_of(first) == (*FIRST, "provider", False)
    assert figures_of(later) == (*together(TOOL, LATER), "provider", False)
    assert (first.calls, later.calls) == (1, 2)


# CrewAI


@pytest.mark.parametrize("kickoff", ["crew", "agent"])
def test_a_model_that_crews_share(record_of: Any, provider: Provider, is_connected: bool, kickoff: str) -> None:
    """CrewAI counts the tokens of a model for as long as it lives, so that its results have no usage of a run."""
    pytest.importorskip("crewai")
    llm = crewai._llm(provider.url, MODEL)
    work = {"crew": lambda: crewai._crew(llm).kickoff(), "agent": lambda: crewai._agent(llm).kickoff("Hi")}[kickoff]
    records = []
    for tokens in (FIRST, LATER):
        provider.serve(MODEL, tokens=tokens)
        records.append(record_of(work))

    for tokens, record in zip((FIRST, LATER), records, strict=True):
        assert record.calls == 1
        if is_connected:
            assert figures_of(record) == (*tokens, "provider", False)
        else:
            assert record.usage is not None
            assert record.usage.output_tokens == 2
            assert record.usage.estimated >= {"output_tokens"}


# pydantic-ai


@pytest.fixture
def pydantic_ai_runs(provider: Provider, is_connected: bool) -> Callable[[Callable[..., Any]], Any]:
    """Return a function that awaits work with a model and another one, which are tracked or not."""

    async def run(work: Callable[..., Any]) -> Any:
        async with (
            pydantic_ai.tracked_model(provider.url, MODEL, "OpenAIChatModel") as model,
            pydantic_ai.tracked_model(provider.url, "other", "OpenAIChatModel") as other,
        ):
            return await (work(model, other) if is_connected else work(model.wrapped, other.wrapped))

    return lambda work: wait(run(work))


def test_a_usage_that_runs_of_pydantic_ai_share(
    record_of: Any, provider: Provider, is_connected: bool, pydantic_ai_runs: Any
) -> None:
    """A later run with a shared usage object has its own figures.

    The object does not say whether the rest is of an earlier run, or of an agent that a tool has called. So the figures
    are a lower bound if nothing else has seen the calls.
    """
    usage = pytest.importorskip("pydantic_ai.usage", exc_type=ImportError).RunUsage()
    records = []
    for tokens in (FIRST, LATER):
        provider.serve(MODEL, tokens=tokens, tool="lookup", tool_tokens=TOOL)
        work = partial(pydantic_ai_runs, lambda model, _: pydantic_ai.agent(model).run("Hi", usage=usage))
        records.append(record_of(work))

    assert figures_of(records[0]) == (*together(FIRST, TOOL), "provider", False)
    assert figures_of(records[1]) == (*together(LATER, TOOL), "provider", not is_connected)
    assert [record.calls for record in records] == [2, 2]


@pytest.mark.parametrize("observes", [False, True], ids=["outer observed", "both observed"])
def test_an_agent_that_a_tool_of_pydantic_ai_calls(
    record_of: Any, provider: Provider, is_connected: bool, pydantic_ai_runs: Any, observes: bool
) -> None:
    """The calls of an agent in a tool are not in the messages of the outer one: all are counted, or it is marked."""
    agents = pytest.importorskip("pydantic_ai", exc_type=ImportError)
    provider.serve(MODEL, tokens=FIRST, tool="ask", tool_tokens=TOOL)
    provider.serve("other", tokens=LATER)

    async def work(model: Any, other: Any) -> Any:
        usage = agents.RunUsage()

        async def ask() -> str:
            """Ask another agent."""
            result = await agents.Agent(other).run("Hi", usage=usage)
            return str(current_run().observe(result).output if observes else result.output)

        return await agents.Agent(model, tools=[ask]).run("Hi", usage=usage)

    record = record_of(partial(pydantic_ai_runs, work))

    seen = (FIRST, TOOL, LATER) if is_connected or observes else (FIRST, TOOL)
    assert len(provider.requests) == 3
    assert record.calls == len(seen)
    assert figures_of(record) == (*together(*seen), "provider", not is_connected)
