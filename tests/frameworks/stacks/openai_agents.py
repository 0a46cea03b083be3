"""openai-agents with OpenAI's two APIs."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from .stack import Stack, given, wait

_FIRST_TOKEN = "The spans of openai-agents do not tell when the first token arrived: it is unknown."
_REASON = "The spans of openai-agents do not tell why a chat completion ended: it is unknown."

_LEFT = "A span of a stream that is left has no output, and that of the Responses API no input either."


@asynccontextmanager
async def agent(url: str, model: str, kind: str, *, wrap: Any = given, **options: Any) -> AsyncIterator[Any]:
    """Provide an agent with the tool ``lookup`` that uses a class of models, whose client may be wrapped."""
    import agents
    from openai import AsyncOpenAI

    def lookup() -> str:
        """Look a word up."""
        return "found"

    agents.set_trace_processors([])  # the default one sends the spans to OpenAI
    tool = agents.function_tool(lookup)
    settings = agents.ModelSettings(include_usage=True)
    async with AsyncOpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as client:
        used = getattr(agents, kind)(model, wrap(client))
        yield agents.Agent(**{"name": "a", "model": used, "tools": [tool], "model_settings": settings, **options})


async def _run(url: str, model: str, kind: str) -> None:
    import agents

    async with agent(url, model, kind) as found:
        await agents.Runner.run(found, "Hi")


async def _stream(url: str, model: str, kind: str) -> None:
    import agents

    async with agent(url, model, kind) as found:
        async for _ in agents.Runner.run_streamed(found, "Hi").stream_events():
            pass


async def _leave(url: str, model: str, kind: str) -> None:
    import agents

    async with agent(url, model, kind) as found:
        result = agents.Runner.run_streamed(found, "Hi")
        async for event in result.stream_events():
            if event.type == "raw_response_event":
                break
        result.cancel()


def _stack(name: str, kind: str, exceptions: dict[str, str]) -> Stack:
    return Stack(
        name=name,
        package="agents",
        takes_client=True,
        whole=lambda url, model: wait(_run(url, model, kind)),
        stream=lambda url, model: wait(_stream(url, model, kind)),
        tools=lambda url, model: wait(_run(url, model, kind)),
        leave=lambda url, model: wait(_leave(url, model, kind)),
        exceptions=exceptions,
    )


STACKS = (
    _stack(
        "openai-agents",
        "OpenAIChatCompletionsModel",
        {"first token": _FIRST_TOKEN, "finish reason": _REASON, "early end": _LEFT},
    ),
    _stack("openai-agents, responses", "OpenAIResponsesModel", {"first token": _FIRST_TOKEN, "early end": _LEFT}),
)
