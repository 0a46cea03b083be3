"""LlamaIndex's models, chat engines, agents and query engines."""

from __future__ import annotations

from typing import Any

from .stack import Stack, openai_clients, wait

_LEFT = "LlamaIndex closes the provider's stream with its own generator, before the usage chunk arrives: an estimate."


def _model(url: str, model: str) -> Any:
    from llama_index.llms.openai import OpenAI

    options: dict[str, Any] = {"additional_kwargs": {"stream_options": {"include_usage": True}}, "max_retries": 0}
    clients = openai_clients(url)
    if clients is not None:
        options |= {"openai_client": clients[0], "async_openai_client": clients[1]}
    return OpenAI(model=model, api_base=f"{url}/v1", api_key="none", **options)


def _messages() -> Any:
    from llama_index.core.llms import ChatMessage

    return [ChatMessage(role="user", content="Hi")]


def _tool() -> Any:
    from llama_index.core.tools import FunctionTool

    def lookup(word: str = "") -> str:
        """Look a word up."""
        return "found"

    return FunctionTool.from_defaults(lookup)


async def _achat(model: Any) -> None:
    await model.achat(_messages())


async def _astream(model: Any) -> None:
    async for _ in await model.astream_chat(_messages()):
        pass


async def _agent(model: Any) -> None:
    from llama_index.core.agent.workflow import FunctionAgent

    await FunctionAgent(tools=[_tool()], llm=model).run("Hi")


def _leave(model: Any) -> None:
    stream = model.stream_chat(_messages())
    next(part for part in stream if part.delta)
    stream.close()


async def _aleave(model: Any) -> None:
    stream = await model.astream_chat(_messages())
    async for part in stream:
        if part.delta:
            break
    await stream.aclose()


def _engine(model: Any) -> Any:
    from llama_index.core.chat_engine import SimpleChatEngine

    return SimpleChatEngine.from_defaults(llm=model)


STACKS = (
    Stack(
        name="llama_index",
        package="llama_index.llms.openai",
        takes_client=True,
        whole=lambda url, model: _model(url, model).chat(_messages()),
        stream=lambda url, model: list(_model(url, model).stream_chat(_messages())),
        leave=lambda url, model: _leave(_model(url, model)),
        exceptions={"early end": _LEFT},
    ),
    Stack(
        name="llama_index, async",
        package="llama_index.llms.openai",
        takes_client=True,
        whole=lambda url, model: wait(_achat(_model(url, model))),
        stream=lambda url, model: wait(_astream(_model(url, model))),
        tools=lambda url, model: wait(_agent(_model(url, model))),
        leave=lambda url, model: wait(_aleave(_model(url, model))),
        exceptions={"early end": _LEFT},
    ),
    Stack(
        name="llama_index completion",
        package="llama_index.llms.openai",
        takes_client=True,
        whole=lambda url, model: _model(url, model).complete("Hi"),
        stream=lambda url, model: list(_model(url, model).stream_complete("Hi")),
    ),
    Stack(
        name="llama_index chat engine",
        package="llama_index.llms.openai",
        takes_client=True,
        whole=lambda url, model: _engine(_model(url, model)).chat("Hi"),
        stream=lambda url, model: list(_engine(_model(url, model)).stream_chat("Hi").response_gen),
    ),
)
