"""pydantic-ai with OpenAI's two APIs."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from .stack import Stack, given, wait

_LEFT = "pydantic-ai closes the provider's stream with its own, before the usage arrives: an estimate."


@asynccontextmanager
async def tracked_model(url: str, model: str, kind: str, wrap: Any = given) -> AsyncIterator[Any]:
    """Provide a tracked model of a class of models, whose client may be wrapped."""
    from openai import AsyncOpenAI
    from pydantic_ai.models import openai
    from pydantic_ai.providers.openai import OpenAIProvider

    from ldai_integrations.frameworks.pydantic_ai import TrackedModel

    async with AsyncOpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as client:
        provider = OpenAIProvider(openai_client=wrap(client))
        yield TrackedModel(getattr(openai, kind)(model, provider=provider))


def agent(model: Any, **options: Any) -> Any:
    """Return an agent with the tool ``lookup``."""
    from pydantic_ai import Agent

    def lookup() -> str:
        """Look a word up."""
        return "found"

    return Agent(model, tools=[lookup], **options)


async def _run(url: str, model: str, kind: str) -> None:
    async with tracked_model(url, model, kind) as tracked:
        await agent(tracked).run("Hi")


async def _stream(url: str, model: str, kind: str, *, leaves: bool = False) -> None:
    async with tracked_model(url, model, kind) as tracked, agent(tracked).run_stream("Hi") as result:
        async for _ in result.stream_text(debounce_by=None):
            if leaves:
                break


def _stack(name: str, kind: str) -> Stack:
    return Stack(
        name=name,
        package="pydantic_ai",
        takes_client=True,
        whole=lambda url, model: wait(_run(url, model, kind)),
        stream=lambda url, model: wait(_stream(url, model, kind)),
        tools=lambda url, model: wait(_run(url, model, kind)),
        leave=lambda url, model: wait(_stream(url, model, kind, leaves=True)),
        exceptions={"early end": _LEFT},
    )


STACKS = (
    _stack("pydantic-ai", "OpenAIChatModel"),
    _stack("pydantic-ai, responses", "OpenAIResponsesModel"),
)
