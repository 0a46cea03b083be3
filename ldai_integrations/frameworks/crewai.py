"""CrewAI: handlers on its event bus.

The bus calls handlers on threads of its own, in a copy of the caller's context. Those of chunks are called at once. A
busy bus may call the handler of a call's end before that of its start.
"""

from __future__ import annotations

import threading
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

# Words in the text of a failure for which the provider may bill: pydantic has rejected the answer, or it was late.
_BILLED = {"validation error": ValueError, "timed out": TimeoutError}

# How many calls are remembered, in case the event of their start is late; the oldest are forgotten.
_MOST_REMEMBERED = 10_000


def connect(calls: FrameworkCalls) -> None:
    """Add the handlers to the event bus."""
    handlers = _Handlers(calls)
    register = crewai_event_bus.register_handler
    register(LLMCallStartedEvent, handlers.begin)
    register(LLMStreamChunkEvent, handlers.add_chunk)
    register(LLMThinkingChunkEvent, handlers.add_chunk)
    register(LLMCallCompletedEvent, handlers.end)
    register(LLMCallFailedEvent, handlers.fail)


class LLMCallError(Exception):
    """A failure of a provider call. CrewAI passes on its text only."""


class _Handlers:
    """The handlers of the events of calls. The event of a call's end begins it, if that of its start is late."""

    def __init__(self, calls: FrameworkCalls) -> None:
        self._calls = calls
        self._lock = threading.Lock()
        self._begun: dict[str, None] = {}

    def begin(self, _source: object, event: Any) -> None:
        with self._lock:
            if event.call_id in self._begun:
                return
            self._begun[event.call_id] = None
            if len(self._begun) > _MOST_REMEMBERED:
                del self._begun[next(iter(self._begun))]
            self._calls.begin(event.call_id, partial(_request_of, event), begins_late=True, ends_late=True)

    def add_chunk(self, _source: object, event: Any) -> None:
        delta: dict[str, Any] = {"content": event.chunk}
        if isinstance(event, LLMThinkingChunkEvent):
            delta = {"reasoning_content": event.chunk}
        elif event.tool_call is not None:
            delta = {"tool_calls": [event.tool_call.model_dump()]}
        choice = {"index": 0, "delta": delta}
        chunk = {"object": "chat.completion.chunk", "id": event.response_id, "choices": [choice]}
        self._calls.add_chunk(event.call_id, chunk)

    def end(self, source: object, event: Any) -> None:
        self.begin(source, event)
        with self._calls.guard():
            message: dict[str, Any] = {"content": event.response if isinstance(event.response, str) else None}
            if isinstance(event.response, list):  # tools that the model asks for
                message["tool_calls"] = event.response
            usage = {_USAGE.get(name, name): count for name, count in (event.usage or {}).items()}
            choice = {"index": 0, "message": message, "finish_reason": event.finish_reason}
            response = {"id": event.response_id, "model": event.model, "choices": [choice], "usage": usage}
            self._calls.end(event.call_id, response)

    def fail(self, source: object, event: Any) -> None:
        self.begin(source, event)
        kind = next((kind for sign, kind in _BILLED.items() if sign in event.error), LLMCallError)
        self._calls.fail(event.call_id, kind(event.error))


def _request_of(event: Any) -> ProviderRequest | None:
    """Return the request of the event of a call's start. That of its end has no tools, so that it cannot be counted."""
    if not isinstance(event, LLMCallStartedEvent):
        return None
    messages = event.messages
    if isinstance(messages, str):
        messages = [{"role": "user", "content": messages}]
    return ProviderRequest("chat", {"model": event.model, "messages": messages or [], "tools": event.tools})
