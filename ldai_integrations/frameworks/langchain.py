"""LangChain and LangGraph: a callback handler that every chat model and LLM finds.

Embeddings and rerankers have no callbacks in LangChain.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import convert_to_openai_messages
from langchain_core.outputs import ChatGenerationChunk
from langchain_core.tracers.context import register_configure_hook

from .._diagnostics import raise_if_from_signal
from .._run.request import ProviderRequest
from ._calls import FrameworkCalls


def connect(calls: FrameworkCalls) -> None:
    """Add the handler to every callback manager that LangChain configures from now on."""
    handler: BaseCallbackHandler = _Handler(calls)
    register_configure_hook(ContextVar("ldai_integrations.langchain", default=handler), inheritable=True)


class _Handler(BaseCallbackHandler):
    """A handler that reports the calls of models. It runs where the model is called, in the context of the run."""

    run_inline = True

    def __init__(self, calls: FrameworkCalls) -> None:
        self._calls = calls

    def on_chat_model_start(
        self, serialized: object, messages: list[list[Any]], *, run_id: object, **kwargs: Any
    ) -> None:
        """Begin a call of a chat model."""
        del serialized
        self._calls.begin(run_id, lambda: _request_of(messages[0], kwargs.get("invocation_params") or {}))

    def on_llm_start(self, serialized: object, prompts: list[str], *, run_id: object, **kwargs: Any) -> None:
        """Begin a call of a model that completes a text."""
        del serialized
        model = _model_of(kwargs.get("invocation_params") or {})
        self._calls.begin(run_id, lambda: ProviderRequest("completions", {"model": model, "prompt": prompts[0]}))

    def on_llm_new_token(self, token: str, *, chunk: object = None, run_id: object, **kwargs: Any) -> None:
        """Read a chunk of a stream."""
        del kwargs
        if isinstance(chunk, ChatGenerationChunk):
            self._calls.add_chunk(run_id, chunk)
        elif token:
            self._calls.note_token(run_id)

    def on_llm_end(self, response: Any, *, run_id: object, **kwargs: Any) -> None:
        """End a call."""
        del kwargs
        with self._calls.guard():
            if _is_cached(response):
                self._calls.withdraw(run_id)
        self._calls.end(run_id, response)

    def on_llm_error(self, error: BaseException, *, run_id: object, **kwargs: Any) -> None:
        """End a call that failed, or whose consumer left its stream. The error may carry the answer."""
        del kwargs
        self._calls.fail(run_id, error)


def _request_of(messages: list[Any], params: dict[str, Any]) -> ProviderRequest | None:
    """Return a request in the format of OpenAI's chat completions; ``None`` if that format cannot express it."""
    try:
        turns = convert_to_openai_messages(messages)
    except Exception as exc:  # a video is a ValueError, and a block of another provider a KeyError
        raise_if_from_signal(exc)
        return None
    return ProviderRequest("chat", {"model": _model_of(params), "messages": turns, "tools": params.get("tools")})


def _model_of(params: dict[str, Any]) -> str:
    return str(params.get("model") or params.get("model_name") or "")


def _is_cached(response: Any) -> bool:
    """Return whether a response comes from LangChain's cache, which marks the usage with a cost of zero."""
    messages = [getattr(one, "message", None) for row in response.generations for one in row]
    usages = [getattr(message, "usage_metadata", None) or {} for message in messages]
    return bool(usages) and all(usage.get("total_cost") == 0 for usage in usages)
