"""Agents of Strands, with models of OpenAI and of Bedrock."""

from __future__ import annotations

from typing import Any

from .stack import Stack, openai_clients, wait


def openai(url: str, model: str) -> Any:
    """Return a model of OpenAI."""
    from strands.models.openai import OpenAIModel

    clients = openai_clients(url)
    if clients is not None:
        return OpenAIModel(client=clients[1], model_id=model)
    return OpenAIModel(client_args={"base_url": f"{url}/v1", "api_key": "none", "max_retries": 0}, model_id=model)


def _bedrock(url: str, model: str) -> Any:
    import boto3
    from strands.models.bedrock import BedrockModel

    session = boto3.Session("none", "none", region_name="us-east-1")
    return BedrockModel(boto_session=session, endpoint_url=f"{url}/bedrock", model_id=model)


def agent(model: Any) -> Any:
    """Return an agent with a tool."""
    from strands import Agent, tool

    from ldai_integrations.frameworks.strands import TrackingPlugin

    def lookup(word: str = "") -> str:
        """Look a word up."""
        return "found"

    return Agent(
        model=model, tools=[tool(lookup)], plugins=[TrackingPlugin()], callback_handler=None, retry_strategy=None
    )


async def _stream(agent: Any) -> None:
    async for _ in agent.stream_async("Hi"):
        pass


async def _leave(agent: Any) -> None:
    stream = agent.stream_async("Hi")
    async for event in stream:
        if event.get("data"):
            break
    await stream.aclose()


_LEFT = "Strands closes the provider's stream with its own generator, before the usage arrives: an estimate."
_UNNAMED = "Strands leaves the provider's name of the model out."

STACKS = (
    Stack(
        name="strands, openai",
        package="strands",
        takes_client=True,
        whole=lambda url, model: agent(openai(url, model))("Hi"),
        stream=lambda url, model: wait(_stream(agent(openai(url, model)))),
        tools=lambda url, model: agent(openai(url, model))("Hi"),
        leave=lambda url, model: wait(_leave(agent(openai(url, model)))),
        exceptions={"early end": _LEFT, "model": _UNNAMED},
    ),
    Stack(
        name="strands, bedrock",
        package="strands",
        whole=lambda url, model: wait(agent(_bedrock(url, model)).invoke_async("Hi")),
        stream=lambda url, model: wait(_stream(agent(_bedrock(url, model)))),
        leave=lambda url, model: wait(_leave(agent(_bedrock(url, model)))),
        exceptions={"early end": _LEFT, "model": _UNNAMED},
    ),
)
