"""Google's Agent Development Kit: a plugin that each runner or app gets, because ADK has no hook for all of them."""

from __future__ import annotations

from functools import partial
from typing import Any

from google.adk.plugins.base_plugin import BasePlugin

from .._run.request import ProviderRequest
from ._calls import FrameworkCalls

__all__ = ["TrackingPlugin"]

# Set by connect(), which a Tracking calls. Without one there are no runs.
_connected: list[FrameworkCalls] = []


def connect(calls: FrameworkCalls) -> None:
    """Let all plugins report to the current run from now on."""
    _connected.append(calls)


class TrackingPlugin(BasePlugin):
    """A plugin that reports the model calls of all agents of a runner to the current run.

    Make it the first one: ADK calls no plugin after one that returns something.

    ::

        app = App(name="support", root_agent=agent, plugins=[TrackingPlugin()])
    """

    def __init__(self, name: str = "ldai_integrations") -> None:
        super().__init__(name=name)

    async def before_model_callback(self, *, callback_context: Any, llm_request: Any) -> None:
        """Begin a call."""
        for calls in _connected:
            with calls.guard():
                calls.begin(_id_of(callback_context), partial(_request_of, llm_request))

    async def after_model_callback(self, *, callback_context: Any, llm_response: Any) -> None:
        """Read a chunk of a stream, or end a call. ADK has responses in the format of Gemini, whoever sent them."""
        for calls in _connected:
            with calls.guard():
                response = _response_of(llm_response)
                if llm_response.partial:
                    calls.add_chunk(_id_of(callback_context), response)
                else:
                    calls.end(_id_of(callback_context), response)

    async def on_model_error_callback(self, *, callback_context: Any, llm_request: Any, error: Exception) -> None:
        """End a call that failed."""
        del llm_request
        for calls in _connected:
            with calls.guard():
                calls.fail(_id_of(callback_context), error)

    async def on_event_callback(self, *, invocation_context: Any, event: Any) -> None:
        """Withdraw a call that another callback has answered, for example from a cache: the model was not called."""
        del invocation_context
        for calls in _connected:
            with calls.guard():
                if not event.partial:
                    calls.withdraw(id(event.actions))


def _id_of(callback_context: Any) -> int:
    """Return the id of a call: the actions of its event belong to it alone, and live longer than it."""
    return id(callback_context.actions)


def _request_of(request: Any) -> ProviderRequest:
    arguments = {"model": request.model, "contents": request.contents, "config": request.config}
    return ProviderRequest("generate", arguments)


def _response_of(response: Any) -> dict[str, Any]:
    candidate = {"content": response.content, "finishReason": response.finish_reason}
    usage = response.usage_metadata
    return {"candidates": [candidate], "usageMetadata": usage, "modelVersion": response.model_version}
