"""CrewAI's models, agents and crews."""

from __future__ import annotations

from typing import Any

from .stack import Stack, wait


def _llm(url: str, model: str, **options: Any) -> Any:
    from crewai import LLM

    return LLM(model=f"openai/{model}", base_url=f"{url}/v1", api_key="none", max_retries=0, **options)


def _agent(llm: Any) -> Any:
    from crewai import Agent
    from crewai.tools import tool

    def lookup(word: str = "") -> str:
        """Look a word up."""
        return "found"

    return Agent(
        role="assistant", goal="answer", backstory="none", llm=llm, tools=[tool("lookup")(lookup)], max_retry_limit=0
    )


def _crew(llm: Any, **options: Any) -> Any:
    from crewai import Crew, Task

    agent = _agent(llm)
    return Crew(agents=[agent], tasks=[Task(description="Say hi", expected_output="a word", agent=agent)], **options)


def _leave(crew: Any) -> None:
    stream = crew.kickoff()
    next(iter(stream))
    stream.close()


STACKS = (
    Stack(
        name="crewai, model",
        package="crewai",
        whole=lambda url, model: _llm(url, model).call("Hi"),
        stream=lambda url, model: _llm(url, model, stream=True).call("Hi"),
    ),
    Stack(
        name="crewai, crew",
        package="crewai",
        whole=lambda url, model: _crew(_llm(url, model)).kickoff(),
        stream=lambda url, model: _crew(_llm(url, model, stream=True)).kickoff(),
        tools=lambda url, model: _crew(_llm(url, model)).kickoff(),
        leave=lambda url, model: _leave(_crew(_llm(url, model, stream=True), stream=True)),
    ),
    Stack(
        name="crewai, async",
        package="crewai",
        whole=lambda url, model: wait(_crew(_llm(url, model)).kickoff_async()),
        stream=lambda url, model: wait(_crew(_llm(url, model, stream=True)).akickoff()),
        tools=lambda url, model: wait(_crew(_llm(url, model)).akickoff()),
    ),
)
