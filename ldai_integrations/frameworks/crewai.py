"""CrewAI: handlers on its event bus.

The bus calls handlers on threads of its own, in a copy of the caller's context. Those of chunks are called at once.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from crewai.events.event_bus import crewai_event_bus
from crewai.events.types.llm_events import (
    LLMCallCompletedEvent,
    LLMCallFailedEvent,
    LLMCallStartedEvent,
    LLMStreamChunkEvent,
    LLMThinkingChunkEvent,
)

from .._run.request import ProviderRequest
from ._calls import FrameworkCalls

# CrewAI has one usage for all providers, in which the input includes cached tokens.
_USAGE = {
    "input_tokens": "prompt_tokens",
    "output_tokens": "completion_tokens",
    "cache_creation_tokens": "cache_creation_input_tokens",
}


def connect(calls: FrameworkCalls) -> None:
    """Add the handlers to the event bus."""
    register = crewai_event_bus.register_handler
    register(LLMCallStartedEvent, partial(_begin, calls))
    register(LLMStreamChunkEvent, partial(_add_chunk, calls))
    register(LLMThinkingChunkEvent, partial(_add_chunk, calls))
    register(LLMCallCompletedEvent, partial(_end, calls))
    register(LLMCallFailedEvent, partial(_fail, calls))


class LLMCallError(Exception):
    """A failure of a provider call. CrewAI passes on its text only."""


def _begin(calls: FrameworkCalls, _source: Any, event: Any) -> None:
    calls.begin(event.call_id, partial(_request_of, event), ends_late=True)


def _add_chunk(calls: FrameworkCalls, _source: Any, event: Any) -> None:
    delta: dict[str, Any] = {"content": event.chunk}
    if isinstance(event, LLMThinkingChunkEvent):
        delta = {"reasoning_content": event.chunk}
    elif event.tool_call is not None:
        delta = {"tool_calls": [event.tool_call.model_dump()]}
    choice = {"index": 0, "delta": delta}
    calls.add_chunk(event.call_id, {"object": "chat.completion.chunk", "id": event.response_id, "choices": [choice]})


def _end(calls: FrameworkCalls, _source: Any, event: Any) -> None:
    with calls.guard():
        message: dict[str, Any] = {"content": event.response if isinstance(event.response, str) else None}
        if isinstance(event.response, list):  # tools that the model asks for
            message["tool_calls"] = event.response
        usage = {_USAGE.get(name, name): count for name, count in (event.usage or {}).items()}
        choice = {"index": 0, "message": message, "finish_reason": event.finish_reason}
        response = {"id": event.response_id, "model": event.model, "choices": [choice], "usage": usage}
        calls.end(event.call_id, response)


def _fail(calls: FrameworkCalls, _source: Any, event: Any) -> None:
    calls.fail(event.call_id, LLMCallError(event.error))


def _request_of(event: Any) -> ProviderRequest:
    messages = event.messages
    if isinstance(messages, str):
        messages = [{"role": "user", "content": messages}]
    request = {"model": event.model, "messages": messages or []}
    return ProviderRequest("chat", {**request, **({"tools": event.tools} if event.tools else {})})
