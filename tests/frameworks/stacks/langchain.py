"""LangChain's models, chains and agents, and LangGraph."""

from __future__ import annotations

from typing import Any

from .stack import Stack, openai_clients, wait


def _model(url: str, model: str) -> Any:
    from langchain_openai import ChatOpenAI

    options: dict[str, Any] = {"base_url": f"{url}/v1", "api_key": "none", "max_retries": 0, "stream_usage": True}
    clients = openai_clients(url)
    if clients is not None:
        options |= {"client": clients[0].chat.completions, "async_client": clients[1].chat.completions}
    return ChatOpenAI(model=model, **options)


def _claude(url: str, model: str) -> Any:
    from langchain_anthropic import ChatAnthropic

    return ChatAnthropic(model=model, base_url=url, api_key="none", max_retries=0)


def _responses(url: str, model: str) -> Any:
    from langchain_openai import ChatOpenAI

    return ChatOpenAI(model=model, base_url=f"{url}/v1", api_key="none", max_retries=0, use_responses_api=True)


def _agent(url: str, model: str) -> Any:
    from langchain.agents import create_agent

    def lookup(word: str = "") -> str:
        """Look a word up."""
        return "found"

    return create_agent(_model(url, model), tools=[lookup])


def _chain(url: str, model: str) -> Any:
    from langchain_core.output_parsers import StrOutputParser
    from langchain_core.prompts import ChatPromptTemplate

    return ChatPromptTemplate.from_messages([("user", "{question}")]) | _model(url, model) | StrOutputParser()


def _leave(model: Any) -> None:
    stream = model.stream("Hi")
    for chunk in stream:
        if chunk.text:
            break
    stream.close()


async def _aleave(model: Any) -> None:
    stream = model.astream("Hi")
    async for chunk in stream:
        if chunk.text:
            break
    await stream.aclose()


async def _astream(model: Any) -> None:
    async for _ in model.astream("Hi"):
        pass


_ASKED: Any = {"messages": [{"role": "user", "content": "Hi"}]}
_LEFT = "LangChain closes the provider's stream with its own generator, before the usage chunk arrives: an estimate."

STACKS = (
    Stack(
        name="langchain",
        package="langchain_openai",
        takes_client=True,
        whole=lambda url, model: _model(url, model).invoke("Hi"),
        stream=lambda url, model: list(_model(url, model).stream("Hi")),
        tools=lambda url, model: _agent(url, model).invoke(_ASKED),
        leave=lambda url, model: _leave(_model(url, model)),
        exceptions={"early end": _LEFT},
    ),
    Stack(
        name="langchain, async",
        package="langchain_openai",
        takes_client=True,
        whole=lambda url, model: wait(_model(url, model).ainvoke("Hi")),
        stream=lambda url, model: wait(_astream(_model(url, model))),
        tools=lambda url, model: wait(_agent(url, model).ainvoke(_ASKED)),
        leave=lambda url, model: wait(_aleave(_model(url, model))),
        exceptions={"early end": _LEFT},
    ),
    Stack(
        name="langchain chain",
        package="langchain_openai",
        takes_client=True,
        whole=lambda url, model: _chain(url, model).invoke({"question": "Hi"}),
        stream=lambda url, model: list(_chain(url, model).stream({"question": "Hi"})),
        leave=None,
    ),
    Stack(
        name="langchain, responses",
        package="langchain_openai",
        whole=lambda url, model: _responses(url, model).invoke("Hi"),
        stream=lambda url, model: list(_responses(url, model).stream("Hi")),
        leave=lambda url, model: _leave(_responses(url, model)),
        exceptions={"early end": _LEFT},
    ),
    Stack(
        name="langchain, claude",
        package="langchain_anthropic",
        whole=lambda url, model: _claude(url, model).invoke("Hi"),
        stream=lambda url, model: list(_claude(url, model).stream("Hi")),
        leave=lambda url, model: _leave(_claude(url, model)),
        exceptions={"early end": _LEFT},
    ),
)
