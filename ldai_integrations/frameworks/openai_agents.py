"""openai-agents: a trace provider that reports the spans of model calls, even while tracing is disabled.

A processor would see no span then, and none after the application has replaced the processors. A span does not tell
when the first token arrived.
"""

from __future__ import annotations

from functools import partial
from types import TracebackType
from typing import Any

from agents.tracing import GenerationSpanData, ResponseSpanData, get_trace_provider, set_trace_provider
from wrapt import ObjectProxy

from .._run.request import ProviderRequest
from ._calls import FrameworkCalls


def connect(calls: FrameworkCalls) -> None:
    """Put our trace provider around the current one, which keeps its processors and does all the work."""
    set_trace_provider(_TraceProvider(get_trace_provider(), calls))


class _TraceProvider(ObjectProxy[Any]):
    """A trace provider that reports the spans of model calls."""

    def __init__(self, wrapped: Any, calls: FrameworkCalls) -> None:
        super().__init__(wrapped)
        self._self_calls = calls

    def create_span(self, span_data: Any, *args: Any, **kwargs: Any) -> Any:
        span = self.__wrapped__.create_span(span_data, *args, **kwargs)
        is_call = isinstance(span_data, (GenerationSpanData, ResponseSpanData))
        return _CallSpan(span, self._self_calls) if is_call else span


class _CallSpan(ObjectProxy[Any]):
    """The span of a model call, which may be one that records nothing."""

    def __init__(self, wrapped: Any, calls: FrameworkCalls) -> None:
        super().__init__(wrapped)
        self._self_calls = calls

    def __enter__(self) -> Any:
        self._self_calls.begin(self.__wrapped__, partial(_request_of, self.span_data))
        self.__wrapped__.__enter__()
        return self

    def __exit__(self, kind: Any, exc: BaseException | None, traceback: TracebackType | None) -> Any:
        response = None
        with self._self_calls.guard():
            response = _response_of(self.span_data)
        if exc is None:
            self._self_calls.end(self.__wrapped__, response)
        else:
            self._self_calls.fail(self.__wrapped__, exc, response)
        return self.__wrapped__.__exit__(kind, exc, traceback)


def _request_of(data: Any) -> ProviderRequest:
    """Return what a span tells of the request: nothing while tracing is disabled, and never the tools of a chat."""
    if isinstance(data, ResponseSpanData):
        echoed = {name: getattr(data.response, name, None) for name in ("model", "instructions", "tools")}
        return ProviderRequest("responses", {**echoed, "input": data.input})
    return ProviderRequest("chat", {"model": data.model, "messages": data.input})


def _response_of(data: Any) -> Any:
    """Return what a span tells of the response, in the provider's format; ``None`` if it tells nothing."""
    usage = data.usage if (data.usage or {}).get("total_tokens") else None  # zeros: the provider sent none
    if isinstance(data, ResponseSpanData):
        return data.response or (usage and {"object": "response", "usage": usage})
    if not data.output:
        return usage and {"model": data.model, "usage": usage}
    message = data.output[0]
    if message.get("object") != "response":
        return {"model": data.model, "choices": [{"message": message}], "usage": usage}
    # A stream of chat completions becomes a response without the provider's id.
    ids = [(item.get("provider_data") or {}).get("response_id") for item in message["output"]]
    return {**message, "id": next(filter(None, ids), None), "usage": usage}
