"""Google's Agent Development Kit: a plugin that each runner or app gets, because ADK has no hook for all of them."""

from __future__ import annotations

from functools import partial
from typing import Any

from google.adk.plugins.base_plugin import BasePlugin

from .._diagnostics import Diagnostics
from .._run.request import ProviderRequest
from ._calls import FrameworkCalls

__all__ = ["TrackingPlugin"]

# A Tracking sets its own by connect(). Without one there are no runs.
_calls = FrameworkCalls("adk", Diagnostics())


def connect(calls: FrameworkCalls) -> None:
    """Let all plugins report to the current run from now on."""
    global _calls
    _calls = calls


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
        with _calls.guard():
            _calls.begin(_CallId(callback_context.actions), partial(_request_of, llm_request))

    async def after_model_callback(self, *, callback_context: Any, llm_response: Any) -> None:
        """Read a chunk of a stream, or end a call. ADK has responses in the format of Gemini, whoever sent them."""
        with _calls.guard():
            report = _calls.add_chunk if llm_response.partial else _calls.end
            report(_CallId(callback_context.actions), _response_of(llm_response))

    async def on_model_error_callback(self, *, callback_context: Any, llm_request: object, error: Exception) -> None:
        """End a call that failed."""
        del llm_request
        with _calls.guard():
            _calls.fail(_CallId(callback_context.actions), error)

    async def on_event_callback(self, *, invocation_context: object, event: Any) -> None:
        """Withdraw a call that another callback has answered, for example from a cache: the model was not called."""
        del invocation_context
        with _calls.guard():
            if not event.partial:
                _calls.withdraw(_CallId(event.actions))


class _CallId:
    """The id of a call: the actions of its event belong to it alone, but have no hash.

    It keeps them alive, so that no other object gets their address while the call is open.
    """

    __slots__ = ("_actions",)

    def __init__(self, actions: object) -> None:
        self._actions = actions

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _CallId) and self._actions is other._actions

    def __hash__(self) -> int:
        return id(self._actions)


def _request_of(request: Any) -> ProviderRequest:
    arguments = {"model": request.model, "contents": request.contents, "config": request.config}
    return ProviderRequest("generate", arguments)


def _response_of(response: Any) -> dict[str, object]:
    candidate = {"content": response.content, "finishReason": response.finish_reason}
    usage = response.usage_metadata
    return {"candidates": [candidate], "usageMetadata": usage, "modelVersion": response.model_version}
