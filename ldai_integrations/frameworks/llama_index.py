"""LlamaIndex: handlers of the events and spans that every model dispatches.

They are called where the model is called, or where its stream is read; LlamaIndex's own threads keep the context.
Each event names its span, which identifies the call.
"""

from __future__ import annotations

from typing import Any

from llama_index.core.instrumentation import get_dispatcher
from llama_index.core.instrumentation.event_handlers import BaseEventHandler
from llama_index.core.instrumentation.events.embedding import EmbeddingEndEvent, EmbeddingStartEvent
from llama_index.core.instrumentation.events.exception import ExceptionEvent
from llama_index.core.instrumentation.events.llm import (
    LLMChatEndEvent,
    LLMChatInProgressEvent,
    LLMChatStartEvent,
    LLMCompletionEndEvent,
    LLMCompletionInProgressEvent,
    LLMCompletionStartEvent,
)
from llama_index.core.instrumentation.span_handlers import BaseSpanHandler
from pydantic import PrivateAttr

from .._run.request import ProviderRequest
from ._calls import FrameworkCalls

# A model that returns objects: it calls another model, whose calls are reported.
_STRUCTURED = "structured_llm"


def connect(calls: FrameworkCalls) -> None:
    """Add the handlers to the root of LlamaIndex's dispatchers."""
    spans = _Spans(calls)
    dispatcher = get_dispatcher()
    dispatcher.add_span_handler(spans)
    dispatcher.add_event_handler(_Events(calls, spans))


class _Spans(BaseSpanHandler):
    """A handler that knows which spans are inside of an open call, and that sees the exceptions of calls."""

    _calls: FrameworkCalls = PrivateAttr()
    _outer: dict[str, str] = PrivateAttr(default_factory=dict)

    def __init__(self, calls: FrameworkCalls) -> None:
        super().__init__()
        self._calls = calls

    def outer_call(self, span_id: str) -> str | None:
        """Return the open call that a span is inside of."""
        return self._outer.get(span_id)

    def new_span(self, id_: str, *_: object, parent_span_id: Any = None, **__: object) -> None:
        """Note whether a new span is inside of an open call."""
        outer = parent_span_id if self._calls.is_open(parent_span_id) else self._outer.get(parent_span_id)
        if outer is not None:
            self._outer[id_] = outer

    def prepare_to_exit_span(self, id_: str, *_: object, **__: object) -> None:
        """Forget a span."""
        self._outer.pop(id_, None)

    def prepare_to_drop_span(self, id_: str, *_: object, err: Any = None, **__: object) -> None:
        """End a call that failed."""
        self._outer.pop(id_, None)
        if err is not None:
            self._calls.fail(id_, err)


class _Events(BaseEventHandler):
    """A handler that reports the calls of models and embeddings."""

    _calls: FrameworkCalls = PrivateAttr()
    _spans: _Spans = PrivateAttr()

    def __init__(self, calls: FrameworkCalls, spans: _Spans) -> None:
        super().__init__()
        self._calls, self._spans = calls, spans

    @classmethod
    def class_name(cls) -> str:
        """Return the name that LlamaIndex shows."""
        return "ldai_integrations"

    def handle(self, event: Any, **_: object) -> None:
        """Report what an event says about a call."""
        with self._calls.guard():
            if isinstance(event, (LLMChatStartEvent, LLMCompletionStartEvent)):
                self._begin(event)
            elif isinstance(event, (LLMChatInProgressEvent, LLMCompletionInProgressEvent)):
                self._calls.add_chunk(event.span_id, event.response.raw)
            elif isinstance(event, (LLMChatEndEvent, LLMCompletionEndEvent)):
                self._calls.end(event.span_id, getattr(event.response, "raw", None))
            elif isinstance(event, ExceptionEvent):
                self._calls.fail(event.span_id, event.exception)
            elif isinstance(event, (EmbeddingStartEvent, EmbeddingEndEvent)):
                self._embed(event)

    def _begin(self, event: Any) -> None:
        """Begin a call. A call that it is inside of was none: one method of a model calls another one."""
        if event.model_dict.get("class_name") == _STRUCTURED:
            return
        self._calls.withdraw(self._spans.outer_call(event.span_id))
        self._calls.begin(event.span_id, lambda: _request_of(event))

    def _embed(self, event: Any) -> None:
        """Begin or end one of the batches that a span embeds, some of which may begin before the others end.

        LlamaIndex drops the usage, so that the tokens of the texts are counted.
        """
        if not self._calls.is_open(event.span_id):
            self._calls.begin(event.span_id, api="embeddings", begins_late=True)
        if isinstance(event, EmbeddingEndEvent):
            self._calls.end(event.span_id, request=lambda: ProviderRequest("embeddings", {"input": event.chunks}))


def _request_of(event: Any) -> ProviderRequest:
    model = event.model_dict.get("model")
    if isinstance(event, LLMCompletionStartEvent):
        return ProviderRequest("completions", {"model": model, "prompt": event.prompt})
    messages = [{"role": message.role.value, "content": message.content} for message in event.messages]
    tools = event.additional_kwargs.get("tools")
    return ProviderRequest("chat", {"model": model, "messages": messages, "tools": tools})
