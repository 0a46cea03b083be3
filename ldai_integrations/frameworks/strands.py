"""Strands Agents: a plugin that each agent gets, because Strands has no hook for all agents."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from typing import Any

from strands.middleware import InvokeModelStage
from strands.plugins import Plugin

from .._diagnostics import Diagnostics
from .._run.request import ProviderRequest
from ._calls import FrameworkCalls

__all__ = ["TrackingPlugin"]

# A Tracking sets its own by connect(). Without one there are no runs.
_calls = FrameworkCalls("strands", Diagnostics())


def connect(calls: FrameworkCalls) -> None:
    """Let all plugins report to the current run from now on."""
    global _calls
    _calls = calls


class TrackingPlugin(Plugin):
    """A plugin that reports the model calls of an agent to the current run.

    ::

        agent = Agent(model=model, plugins=[TrackingPlugin()])
    """

    name = "ldai_integrations"

    def init_agent(self, agent: Any) -> None:
        """Add a middleware around the model calls of an agent."""
        agent.add_middleware(InvokeModelStage, _report)


async def _report(context: Any, call_next: Callable[[Any], AsyncGenerator[Any, None]]) -> AsyncGenerator[Any, None]:
    """Pass the events of a model call on. Strands has its chunks in the format of Bedrock, whoever sent them."""
    calls, call_id, is_answered = _calls, object(), False
    calls.begin(call_id, lambda: _request_of(context))
    try:
        async for event in call_next(context):
            if "event" in event:
                is_answered = True
                calls.add_chunk(call_id, event["event"])
            yield event
    except BaseException as exc:
        calls.fail(call_id, exc)
        raise
    if not is_answered:  # another middleware has answered, for example from a cache
        calls.withdraw(call_id)
    calls.end(call_id)


def _request_of(context: Any) -> ProviderRequest:
    system = context.system_prompt
    request = {
        "modelId": context.model.get_config().get("model_id"),
        "messages": context.messages,
        "system": [{"text": system}] if isinstance(system, str) else system or [],
        "toolConfig": {"tools": [{"toolSpec": spec} for spec in context.tool_specs]},
    }
    return ProviderRequest("converse", request)
