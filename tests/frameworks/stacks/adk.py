"""Agents of Google's ADK, with Gemini and with LiteLLM."""

from __future__ import annotations

from typing import Any

from .stack import Stack, given, openai_clients, wait


def litellm(url: str, model: str, **options: Any) -> Any:
    """Return a model of LiteLLM."""
    from google.adk.models.lite_llm import LiteLlm

    return LiteLlm(model=f"openai/{model}", api_base=f"{url}/v1", api_key="none", num_retries=0, **options)


def gemini(url: str, model: str) -> Any:
    """Return a model of Gemini."""
    from google.adk.models.google_llm import Gemini
    from google.genai import Client

    options: Any = {"base_url": f"{url}/gemini", "async_client_args": {"trust_env": False}}
    return Gemini(model=model, client=given(Client(api_key="none", http_options=options)))


async def run(model: Any, *, streams: bool = False, leaves: bool = False, **options: Any) -> None:
    """Ask an agent, with further options for it."""
    from google.adk.agents import LlmAgent, RunConfig
    from google.adk.agents.run_config import StreamingMode
    from google.adk.apps import App
    from google.adk.runners import InMemoryRunner
    from google.genai import types

    from ldai_integrations.frameworks.adk import TrackingPlugin

    def lookup(word: str = "") -> str:
        """Look a word up."""
        return "found"

    agent = LlmAgent(name="assistant", model=model, instruction="Answer.", tools=[lookup], **options)
    runner = InMemoryRunner(app=App(name="app", root_agent=agent, plugins=[TrackingPlugin()]))
    session = await runner.session_service.create_session(app_name="app", user_id="ada")
    stream = runner.run_async(
        user_id="ada",
        session_id=session.id,
        new_message=types.Content(role="user", parts=[types.Part(text="Hi")]),
        run_config=RunConfig(streaming_mode=StreamingMode.SSE if streams else StreamingMode.NONE),
    )
    async for event in stream:
        if leaves and event.content is not None:
            break
    await stream.aclose()


async def _run_gemini(url: str, model: str, **options: Any) -> None:
    await run(gemini(url, model), **options)


async def _run_litellm(url: str, model: str, **options: Any) -> None:
    clients = openai_clients(url)
    if clients is None:
        await run(litellm(url, model), **options)
        return
    async with clients[1] as client:
        await run(litellm(url, model, client=client), **options)


def _stack(name: str, use: Any, **options: Any) -> Stack:
    return Stack(
        name=name,
        package="google.adk",
        takes_client=True,
        whole=lambda url, model: wait(use(url, model)),
        stream=lambda url, model: wait(use(url, model, streams=True)),
        tools=lambda url, model: wait(use(url, model)),
        leave=lambda url, model: wait(use(url, model, streams=True, leaves=True)),
        **options,
    )


_LEFT = "ADK closes the provider's stream with its own generator, before the usage arrives: an estimate."
_FIRST = "LiteLLM reports the time of its first chunk, which may be empty."

STACKS = (
    _stack("adk, gemini", _run_gemini, exceptions={"early end": _LEFT}),
    _stack("adk, litellm", _run_litellm, exceptions={"early end": _LEFT, "first token": _FIRST}),
)
