"""What frameworks hand out of calls that they make themselves; each test needs its package."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from ldai_integrations.usage import extract, extract_stream

from .provider import Provider

# Importing some of these packages takes a minute on a busy machine, and they warn of their own affairs.
pytestmark = [pytest.mark.stacks, pytest.mark.filterwarnings("ignore"), pytest.mark.timeout(300)]

_ASKED = [{"role": "user", "content": "Hi"}]


def package(name: str) -> Any:
    """Return a module of a framework, or skip the test."""
    return pytest.importorskip(name, reason=f"{name} is not installed", exc_type=ImportError)


def _langchain(url: str, **options: Any) -> Any:
    model = package("langchain_openai").ChatOpenAI
    return model(model="gpt-4o-mini", base_url=f"{url}/openai/v1", api_key="none", **options)


def _langgraph(url: str) -> Any:
    graphs, model = package("langgraph.graph"), _langchain(url, stream_usage=True)
    builder = graphs.StateGraph(graphs.MessagesState)
    builder.add_node("only", lambda state: {"messages": [model.invoke(state["messages"])]})
    builder.add_edge(graphs.START, "only")
    return builder.compile()


def _claude(url: str) -> Any:
    model = package("langchain_anthropic").ChatAnthropic
    return model(model="claude-for-tests", base_url=f"{url}/anthropic", api_key="none")


def _litellm(url: str, call: str, **asked: Any) -> Any:
    return getattr(package("litellm"), call)(api_base=f"{url}/openai/v1", api_key="none", **asked)


def _agent(url: str, model: str, *, streamed: bool = False) -> Any:
    agents, client = package("agents"), package("openai").AsyncOpenAI(base_url=f"{url}/openai/v1", api_key="none")
    agents.set_trace_processors([])  # the default one sends the spans to OpenAI
    settings = agents.ModelSettings(include_usage=True)
    agent = agents.Agent(name="a", model=getattr(agents, model)("gpt-4o-mini", client), model_settings=settings)

    async def run() -> Any:
        if not streamed:
            return await agents.Runner.run(agent, "Hi")
        return [event async for event in agents.Runner.run_streamed(agent, "Hi").stream_events()]

    return asyncio.run(run())


def _pydantic_ai(url: str, model: str) -> Any:
    agents, models = package("pydantic_ai"), package("pydantic_ai.models.openai")
    server = package("pydantic_ai.providers.openai").OpenAIProvider(base_url=f"{url}/openai/v1", api_key="none")
    return asyncio.run(agents.Agent(getattr(models, model)("gpt-4o-mini", provider=server)).run("Hi"))


WHOLE: dict[str, Callable[[str], Any]] = {
    "langchain": lambda url: _langchain(url).invoke("Hi"),
    "langchain, responses": lambda url: _langchain(url, use_responses_api=True).invoke("Hi"),
    "langchain, claude": lambda url: _claude(url).invoke("Hi"),
    "langgraph": lambda url: _langgraph(url).invoke({"messages": _ASKED}),
    "litellm": lambda url: _litellm(url, "completion", model="openai/gpt-4o-mini", messages=_ASKED),
    "litellm, responses": lambda url: _litellm(url, "responses", model="openai/gpt-4o-mini", input="Hi"),
    "openai-agents": lambda url: _agent(url, "OpenAIChatCompletionsModel"),
    "openai-agents, responses": lambda url: _agent(url, "OpenAIResponsesModel"),
    "pydantic-ai": lambda url: _pydantic_ai(url, "OpenAIChatModel"),
    "pydantic-ai, responses": lambda url: _pydantic_ai(url, "OpenAIResponsesModel"),
}
STREAMED: dict[str, Callable[[str], Any]] = {
    "langchain": lambda url: _langchain(url, stream_usage=True).stream("Hi"),
    "langchain, responses": lambda url: _langchain(url, use_responses_api=True).stream("Hi"),
    "langgraph values": lambda url: _langgraph(url).stream({"messages": _ASKED}, stream_mode="values"),
    "langgraph updates": lambda url: _langgraph(url).stream({"messages": _ASKED}, stream_mode="updates"),
    "langgraph messages": lambda url: _langgraph(url).stream({"messages": _ASKED}, stream_mode="messages"),
    "litellm": lambda url: _litellm(
        url,
        "completion",
        model="openai/gpt-4o-mini",
        messages=_ASKED,
        stream=True,
        stream_options={"include_usage": True},
    ),
    "litellm, responses": lambda url: _litellm(url, "responses", model="openai/gpt-4o-mini", input="Hi", stream=True),
    "openai-agents": lambda url: _agent(url, "OpenAIChatCompletionsModel", streamed=True),
    "openai-agents, responses": lambda url: _agent(url, "OpenAIResponsesModel", streamed=True),
}


@pytest.fixture(autouse=True)
def _offline(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Keep LiteLLM from asking for its list of prices, and have connections that nobody closes closed here."""
    monkeypatch.setenv("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    yield
    gc.collect()


@pytest.mark.parametrize("call", WHOLE.values(), ids=WHOLE)
def test_a_result_has_the_providers_usage(call: Callable[[str], Any], provider: Provider) -> None:
    """Whatever a framework makes of an answer, the provider's figures are found in it."""
    usage = extract(call(provider.url))

    assert usage is not None
    assert (usage.input_tokens, usage.output_tokens, usage.total_tokens, usage.source) == (20, 9, 29, "provider")


@pytest.mark.parametrize("call", STREAMED.values(), ids=STREAMED)
def test_a_stream_has_the_providers_usage(call: Callable[[str], Any], provider: Provider) -> None:
    """Whatever a framework makes of a stream, its events end with the provider's figures."""
    usage = extract_stream(list(call(provider.url)))

    assert usage is not None
    assert (usage.input_tokens, usage.output_tokens, usage.total_tokens, usage.source) == (20, 9, 29, "provider")
