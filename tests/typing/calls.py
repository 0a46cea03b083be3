"""What a run gives fits into the calls of provider clients, and a wrapped client keeps its type."""

from __future__ import annotations

from anthropic import Anthropic
from openai import AsyncOpenAI, OpenAI, Stream, omit
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from typing_extensions import assert_type

from ldai_integrations import Run, Usage, current_run, wrap_client
from ldai_integrations.typing import ModelParameters


def check_openai(run: Run) -> None:
    """Call a wrapped client with the model, the parameters and the messages of a run."""
    client = wrap_client(OpenAI())
    assert_type(client, OpenAI)
    answer = client.chat.completions.create(model=run.model, messages=run.messages(user="Hello"), **run.parameters)
    assert_type(answer, ChatCompletion)
    assert_type(run.observe(answer), ChatCompletion)
    with_tools = client.chat.completions.create(
        model=run.model, messages=run.messages(), tools=run.tools(client) or omit, **run.parameters
    )
    assert_type(with_tools, ChatCompletion)
    chunks = client.chat.completions.create(model=run.model, messages=run.messages(), stream=True, **run.parameters)
    assert_type(chunks, Stream[ChatCompletionChunk])


async def check_async_openai() -> None:
    """Do the same with an asynchronous client."""
    run, client = current_run(), wrap_client(AsyncOpenAI(), include_usage=True)
    answer = await client.chat.completions.create(model=run.model, messages=run.messages(), **run.parameters)
    assert_type(answer, ChatCompletion)


def check_others(run: Run) -> None:
    """Give the messages to another client, and read single parameters."""
    client = wrap_client(Anthropic())
    client.messages.create(model=run.model, messages=run.messages(), max_tokens=run.parameters.get("max_tokens", 100))
    assert_type(run.parameters, ModelParameters)
    assert_type(run.parameters.get("temperature"), "float | None")
    client.messages.create(
        model=run.model, messages=run.messages(), max_tokens=100, system=run.system, tools=run.tools(client)
    )
    run.conversation_id = "thread-7"
    run.conversation_id = {"conversation": "thread-7"}.get("other")
    assert_type(run.provider, str)
    assert_type(run.request(client, user="Hello").send().text, str)
    run.add_usage(Usage(input_tokens=3))
    run.add_usage(input_tokens=3, output_tokens=4)
    run.evaluate("relevance", 0.5)
    run.evaluate("relevance", lambda: 0.5)
