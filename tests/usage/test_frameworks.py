"""What LangChain, LangGraph, LiteLLM, openai-agents and pydantic-ai really hand out; each test needs its package."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from ldai_integrations.records import Usage
from ldai_integrations.usage import extract, extract_stream, read

from .bodies import reading_of

# Importing some of these packages takes a minute on a busy machine, and they warn of their own affairs.
pytestmark = [pytest.mark.stacks, pytest.mark.filterwarnings("ignore"), pytest.mark.timeout(300)]

TOKENS = {"input_tokens": 20, "output_tokens": 9, "total_tokens": 29}
ONE, TWO = Usage(20, 9, 29), Usage(40, 18, 58)


def package(name: str) -> Any:
    """Return a module of a framework, or skip the test."""
    return pytest.importorskip(name, reason=f"{name} is not installed", exc_type=ImportError)


@pytest.fixture
def model() -> Any:
    """Return a LangChain chat model that streams two words and then its usage."""
    models = package("langchain_core.language_models.chat_models")
    messages, outputs = package("langchain_core.messages"), package("langchain_core.outputs")

    class Model(models.BaseChatModel):  # type: ignore[misc,name-defined]  # known when it runs
        @property
        def _llm_type(self) -> str:
            return "scripted"

        def _generate(self, *_: Any, **__: Any) -> Any:
            message = messages.AIMessage("Hello there", usage_metadata=TOKENS, response_metadata={"model_name": "m"})
            return outputs.ChatResult(generations=[outputs.ChatGeneration(message=message)])

        def _stream(self, *_: Any, **__: Any) -> Iterator[Any]:
            for word, usage in (("Hello", None), (" there", None), ("", TOKENS)):
                yield outputs.ChatGenerationChunk(message=messages.AIMessageChunk(word, usage_metadata=usage))

    return Model()


@pytest.fixture
def graph(model: Any) -> Any:
    """Return a LangGraph whose two nodes each call the model once."""
    graphs = package("langgraph.graph")

    def node(state: Any) -> Any:
        return {"messages": [model.invoke(state["messages"])]}

    builder = graphs.StateGraph(graphs.MessagesState)
    builder.add_sequence([("first", node), ("second", node)])
    builder.add_edge(graphs.START, "first")
    return builder.compile()


ASKED = {"messages": [("human", "Say hello")]}


def text_of(events: list[Any]) -> str:
    """Return the visible text of a stream."""
    return reading_of(*events).text


async def listed(events: AsyncIterator[Any]) -> list[Any]:
    """Return all of an async iterator."""
    return [event async for event in events]


def test_langchain_messages_and_results(model: Any) -> None:
    """A message is read as an object, as a dict, in a list, and in the result that callbacks get."""
    load, schema = package("langchain_core.load"), package("langchain_core.messages")
    message = model.invoke("hi")

    for response in (message, message.model_dump(), load.dumpd(message), schema.message_to_dict(message)):
        assert extract(response) == ONE
    assert extract({"raw": message, "parsed": {"a": 1}, "parsing_error": None}) == ONE
    assert extract(model.batch(["a", "b"])) == TWO
    assert extract(model.generate([[message], [message]])) == TWO


def test_langchain_streams(model: Any) -> None:
    """Chunks have the usage of the whole message, and so have events whose last one repeats it."""
    events = asyncio.run(listed(model.astream_events("hi", version="v2")))

    assert extract_stream(model.stream("hi")) == extract_stream(events) == ONE
    assert text_of(events) == "Hello there"


def test_langchain_streams_of_the_responses_api() -> None:
    """The provider names the first chunk of a response, and LangChain the others: they are one call."""
    message = package("langchain_core.messages").AIMessageChunk
    usage = {"input_tokens": 7317, "output_tokens": 3863, "total_tokens": 11180}
    chunks = [
        message("", id="resp_1", response_metadata={"id": "resp_1"}),
        message("Hello", id="lc_run--1"),
        message("", id="lc_run--1", response_metadata={"status": "completed"}, usage_metadata=usage),
    ]

    reading = reading_of(*chunks)

    assert (len(reading.calls), reading.finish_reasons) == (1, ("completed",))
    assert "resp_1" in reading.ids


def test_langgraph_states(graph: Any) -> None:
    """A final state counts each message after the last one of the human, and none before it."""
    first = graph.invoke(ASKED)
    second = graph.invoke({"messages": [*first["messages"], ("human", "Again")]})

    assert extract(first) == extract(second) == TWO


@pytest.mark.parametrize("mode", ["values", "updates", "messages", ["updates", "messages"], ["values", "messages"]])
def test_langgraph_streams(graph: Any, mode: Any) -> None:
    """Each message is counted once, however often a stream repeats it."""
    events = list(graph.stream(ASKED, stream_mode=mode))

    assert extract_stream(events) == TWO
    assert text_of(events) == "Hello thereHello there"


def test_langgraph_events(graph: Any) -> None:
    """The events of every node and chain together count each call once."""
    assert extract_stream(asyncio.run(listed(graph.astream_events(ASKED, version="v2")))) == TWO


def test_langchain_usage_callback(graph: Any) -> None:
    """The usage that LangChain's callback collects by model is read."""
    callbacks = package("langchain_core.callbacks")
    with callbacks.get_usage_metadata_callback() as callback:
        graph.invoke(ASKED)

    assert extract(callback.usage_metadata) == TWO


def test_litellm(monkeypatch: pytest.MonkeyPatch) -> None:
    """A ModelResponse and its stream have the usage that LiteLLM itself reports."""
    monkeypatch.setenv("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    litellm = package("litellm")
    asked = {"model": "gpt-4o", "messages": [{"role": "user", "content": "hi"}], "mock_response": "Hello there"}
    whole = litellm.completion(**asked)
    chunks = list(litellm.completion(**asked, stream=True, stream_options={"include_usage": True}))

    for usage, truth in ((extract(whole), whole.usage), (extract_stream(chunks), chunks[-1].usage)):
        assert usage is not None
        assert usage.input_tokens == truth.prompt_tokens > 0
        assert usage.output_tokens == truth.completion_tokens > 0
        assert usage.total_tokens == truth.total_tokens


@pytest.fixture
def agent() -> Any:
    """Return an openai-agents agent that calls a tool and then answers; every response has the same id."""
    agents, items = package("agents"), package("agents.items")
    types = package("openai.types.responses")
    details = package("openai.types.responses.response_usage")

    class Model(agents.Model):  # type: ignore[misc,name-defined]  # known when it runs
        def __init__(self) -> None:
            self.turns = 0

        def output(self) -> list[Any]:
            self.turns += 1
            if self.turns % 2:
                call = {"type": "function_call", "name": "now", "arguments": "{}", "call_id": "c", "id": "i"}
                return [types.ResponseFunctionToolCall(**call)]
            part = types.ResponseOutputText(text="Noon", type="output_text", annotations=[])
            message = {"id": "m", "role": "assistant", "status": "completed", "type": "message"}
            return [types.ResponseOutputMessage(**message, content=[part])]

        async def get_response(self, *_: Any, **__: Any) -> Any:
            usage = agents.Usage(requests=1, **TOKENS)
            return items.ModelResponse(output=self.output(), usage=usage, response_id=None)

        async def stream_response(self, *_: Any, **__: Any) -> AsyncIterator[Any]:
            response = types.Response.model_construct(
                id="__fake_id__", object="response", status="completed", model="m", output=self.output(), error=None
            )
            response.usage = types.ResponseUsage(
                **TOKENS,
                input_tokens_details=details.InputTokensDetails.model_construct(cached_tokens=4),
                output_tokens_details=details.OutputTokensDetails.model_construct(reasoning_tokens=6),
            )
            begun = response.model_copy(update={"usage": None, "status": "in_progress", "output": []})
            yield types.ResponseCreatedEvent(response=begun, type="response.created", sequence_number=0)
            yield types.ResponseCompletedEvent(response=response, type="response.completed", sequence_number=1)

    def now() -> str:
        """Tell the time."""
        return "noon"

    agents.set_trace_processors([])  # the default one sends the spans to OpenAI
    return agents.Agent(name="clock", model=Model(), tools=[agents.function_tool(now)])


def test_openai_agents_results(agent: Any) -> None:
    """A run's result counts all of its responses."""
    agents = package("agents")
    usage = extract(asyncio.run(agents.Runner.run(agent, "What time is it?")))

    assert usage is not None
    assert (usage.input_tokens, usage.output_tokens, usage.total_tokens) == (40, 18, 58)


@pytest.mark.parametrize("response_id", ["resp_1", "__fake_id__", None])
def test_openai_agents_responses(agent: Any, response_id: str | None) -> None:
    """A response counts alone, in a list and in a result, with an id or without one, as those of other providers."""
    items, result = package("agents.items"), package("agents").RunResult
    usage = package("agents").Usage(requests=1, **TOKENS)
    one, other = (
        items.ModelResponse(output=agent.model.output(), usage=usage, response_id=response_id) for _ in range(2)
    )
    whole = result.__new__(result)
    whole.__dict__.update(raw_responses=[one, other])

    readings = [read(value) for value in (other, [one, other], whole)]
    assert [(found.usage.input_tokens, found.usage.output_tokens) for found in readings if found and found.usage] == [
        (20, 9),
        (40, 18),
        (40, 18),
    ]
    assert readings[0] is not None
    assert (readings[0].text, readings[0].ids) == ("Noon", (response_id,) if response_id else ())
    assert [len(found.calls) for found in readings if found] == [1, 2, 2]


def test_openai_agents_streams(agent: Any) -> None:
    """The events of a run count each response, also those of other providers, which have no id of their own."""
    agents = package("agents")

    async def run() -> list[Any]:
        return await listed(agents.Runner.run_streamed(agent, "What time is it?").stream_events())

    events = asyncio.run(run())

    assert extract_stream(events) == Usage(40, 18, 58, cached_input_tokens=8, reasoning_tokens=12)
    assert text_of(events) == "Noon"


def test_pydantic_ai_results() -> None:
    """An agent's result, and each of its responses, has the usage that pydantic-ai reports."""
    agents, models = package("pydantic_ai"), package("pydantic_ai.models.test")
    result = agents.Agent(models.TestModel()).run_sync("hi")
    truth = result.usage() if callable(result.usage) else result.usage

    for response in (result, truth):
        usage = extract(response)
        assert usage is not None
        assert (usage.input_tokens, usage.output_tokens) == (truth.input_tokens, truth.output_tokens)
        assert usage.total_tokens == truth.total_tokens > 0
