"""A framework's calls that another source reports too are counted once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any, Literal

import pytest

from ldai_integrations import current_run, track_ai, wrap_client
from ldai_integrations.executors import ThreadPoolExecutor
from ldai_integrations.records import RunRecord
from ldai_integrations.testing import OfflineLaunchDarkly, RecordingSink

from ..ledger.provider import Provider
from .conftest import RecordOf
from .stacks import STACKS, Stack, clients, openai_agents, pydantic_ai
from .stacks.stack import given, wait, wrapping_clients

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


@pytest.mark.parametrize("wrap", [given, wrap_client], ids=["", "wrapped"])
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

    record = record_of(lambda: _stream_agents(provider.url, model, given, observes=True))

    assert record.time_to_first_token_ms is not None
    assert record.time_to_first_token_ms >= 50


Pattern = Literal["whole", "stream", "tool loop", "parallel"]
FRAMEWORKS = [stack for stack in STACKS if stack not in clients.STACKS]
PARALLEL = 3
# These have spans, of the instrumentation or of the framework itself: others read raw responses, or do not use the
# package openai.
WITH_SPANS = (
    *("adk, gemini", "adk, litellm", "crewai, model", "langchain, async", "llama_index, async", "openai-agents"),
    *("pydantic-ai", "strands, bedrock", "strands, openai"),
)


@pytest.mark.parametrize("pattern", ["whole", "stream", "tool loop", "parallel"])
@pytest.mark.parametrize("stack", [stack for stack in FRAMEWORKS if stack.takes_client], ids=lambda stack: stack.name)
def test_with_a_wrapped_client_below(
    stack: Stack, pattern: Pattern, launchdarkly: OfflineLaunchDarkly, runs: RecordingSink, provider: Provider
) -> None:
    """The calls of a framework that got a wrapped client have the provider's figures, once."""
    with wrapping_clients():
        _check(stack, pattern, launchdarkly, runs, provider)


@pytest.mark.parametrize("pattern", ["whole", "stream", "tool loop", "parallel"])
@pytest.mark.parametrize("stack", FRAMEWORKS, ids=lambda stack: stack.name)
def test_with_spans_of_the_provider_calls(
    stack: Stack,
    pattern: Pattern,
    exporter: Any,
    launchdarkly: OfflineLaunchDarkly,
    runs: RecordingSink,
    provider: Provider,
) -> None:
    """The calls of a framework above an instrumented client have the provider's figures, once."""
    exporter.clear()
    _check(stack, pattern, launchdarkly, runs, provider)
    if stack.name in WITH_SPANS:
        assert exporter.get_finished_spans()


@pytest.fixture(scope="module")
def exporter() -> Iterator[Any]:
    """Instrument the package openai; keep the spans of its calls, and those that ADK and Strands make themselves."""
    instrumentation = pytest.importorskip("opentelemetry.instrumentation.openai")
    from opentelemetry import trace
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    from ldai_integrations.opentelemetry import UsageSpanProcessor

    from ..otel.instrumented import instrumentable_openai

    traces, exporter = TracerProvider(shutdown_on_exit=False), InMemorySpanExporter()
    traces.add_span_processor(UsageSpanProcessor())
    traces.add_span_processor(SimpleSpanProcessor(exporter))
    trace.set_tracer_provider(traces)
    instrumentor = instrumentation.OpenAIInstrumentor()
    with instrumentable_openai():
        instrumentor.instrument(tracer_provider=traces)
        yield exporter
        instrumentor.uninstrument()


async def _in_parallel(use: Callable[[], Any]) -> None:
    """Use a stack on several threads at once, while the event loop runs that asynchronous stacks need."""
    loop = asyncio.get_running_loop()
    with ThreadPoolExecutor(PARALLEL) as pool:
        await asyncio.gather(*(loop.run_in_executor(pool, use) for _ in range(PARALLEL)))


def _check(
    stack: Stack, pattern: Pattern, launchdarkly: OfflineLaunchDarkly, runs: RecordingSink, provider: Provider
) -> None:
    """Compare the record of a run with the provider's figures."""
    if not stack.is_installed:
        pytest.skip(f"{stack.package} is not installed")
    use = stack.whole if pattern == "parallel" else stack.use(pattern)
    if use is None:
        pytest.skip("the framework cannot do it")
    tokens, calls = TOKENS, PARALLEL if pattern == "parallel" else 1
    if pattern == "tool loop":
        provider.serve(MODEL, tokens=TOKENS, tool="lookup", tool_tokens=TOOL_TOKENS)
        tokens, calls = (TOKENS[0] + TOOL_TOKENS[0], TOKENS[1] + TOOL_TOKENS[1]), 2
    elif pattern == "parallel":
        provider.serve(MODEL, tokens=TOKENS, pause=0.02)
        tokens = (PARALLEL * TOKENS[0], PARALLEL * TOKENS[1])
    else:
        provider.serve(MODEL, tokens=TOKENS)

    @track_ai(config_key="chat", tracking=launchdarkly.tracking)
    def handler() -> None:
        if pattern != "parallel":
            use(provider.url, MODEL)
            return
        wait(_in_parallel(lambda: use(provider.url, MODEL)))

    handler()

    record: RunRecord = runs.wait(1)[-1]
    usage = record.usage
    assert usage is not None
    assert (record.calls, record.outcome, record.failed_calls) == (calls, "success", 0)
    if pattern in stack.exceptions:
        assert usage.source == "estimate"
    else:
        assert (usage.input_tokens, usage.output_tokens) == tokens
        assert (usage.source, usage.lower_bound) == ("provider", False)
    assert "framework" not in launchdarkly.tracking.stats().diagnostics
