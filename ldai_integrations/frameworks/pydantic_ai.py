"""pydantic-ai: models that report their calls. It has no hook that sees the calls of all agents."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from pydantic_ai import RunContext
from pydantic_ai.embeddings import EmbeddingModel, EmbeddingResult, WrapperEmbeddingModel
from pydantic_ai.messages import (
    ModelMessage,
    ModelRequest,
    ModelResponse,
    RetryPromptPart,
    TextPart,
    ToolCallPart,
    ToolReturnPart,
)
from pydantic_ai.models import Model, ModelRequestParameters, StreamedResponse
from pydantic_ai.models.wrapper import WrapperModel
from pydantic_ai.settings import ModelSettings
from wrapt import ObjectProxy

from .._diagnostics import Diagnostics
from .._run.request import ProviderRequest
from ..records import Usage
from ..usage import Reading
from ._calls import FrameworkCalls

__all__ = ["TrackedEmbeddingModel", "TrackedModel"]

# Roles of text, in OpenAI's words; other text is the user's.
_ROLES = {"system-prompt": "system", "text": "assistant", "thinking": "assistant"}

# A Tracking sets its own by connect(). Without one there are no runs.
_calls = FrameworkCalls("pydantic_ai", Diagnostics())


def connect(calls: FrameworkCalls) -> None:
    """Report the calls of tracked models from now on."""
    global _calls
    _calls = calls


class TrackedModel(WrapperModel):
    """A model of pydantic-ai that reports its calls to the current run.

    ::

        agent = Agent(TrackedModel("openai:gpt-4o"))

    It behaves like the model that it wraps, and so do its calls outside of a run. Wrap the models in a
    ``FallbackModel`` and not the ``FallbackModel`` itself, so that each attempt is reported.

    Args:
        wrapped: A model, or the name of one.
    """

    def __init__(self, wrapped: Model | str) -> None:
        super().__init__(wrapped.wrapped if isinstance(wrapped, TrackedModel) else wrapped)

    async def request(
        self,
        messages: list[ModelMessage],
        model_settings: ModelSettings | None,
        model_request_parameters: ModelRequestParameters,
    ) -> ModelResponse:
        """Report a call that returns a whole response."""
        with _Call(partial(_request_of, self.model_name, messages, model_request_parameters)) as call:
            call.response = await self.wrapped.request(messages, model_settings, model_request_parameters)
            return call.response

    @asynccontextmanager
    async def request_stream(
        self,
        messages: list[ModelMessage],
        model_settings: ModelSettings | None,
        model_request_parameters: ModelRequestParameters,
        run_context: RunContext[Any] | None = None,
    ) -> AsyncIterator[StreamedResponse]:
        """Report a call that streams its response."""
        arguments = (messages, model_settings, model_request_parameters, run_context)
        with _Call(partial(_request_of, self.model_name, messages, model_request_parameters)) as call:
            async with self.wrapped.request_stream(*arguments) as stream:
                call.response = _Stream(stream)
                yield call.response


class TrackedEmbeddingModel(WrapperEmbeddingModel):
    """An embedding model of pydantic-ai that reports its calls to the current run.

    ::

        embedder = Embedder(TrackedEmbeddingModel("openai:text-embedding-3-small"))

    Args:
        wrapped: An embedding model, or the name of one.
    """

    def __init__(self, wrapped: EmbeddingModel | str) -> None:
        super().__init__(wrapped.wrapped if isinstance(wrapped, TrackedEmbeddingModel) else wrapped)

    async def embed(self, inputs: str | Sequence[str], **kwargs: Any) -> EmbeddingResult:
        """Report a call."""
        request = ProviderRequest("embeddings", {"model": self.model_name, "input": inputs})
        with _Call(lambda: request, api="embeddings") as call:
            call.response = await self.wrapped.embed(inputs, **kwargs)
            return call.response


class _Call:
    """A provider call, which ends with the block.

    Attributes:
        response: The response; a stream is read no further than its consumer reads it.
    """

    def __init__(self, request: Callable[[], ProviderRequest], *, api: str = "chat") -> None:
        self.response: Any = None
        self._request = request
        self._api = api
        self._started_at = time.perf_counter()

    def __enter__(self) -> _Call:
        _calls.begin(self, self._request, api=self._api)
        return self

    def __exit__(self, kind: object, exc: BaseException | None, traceback: object) -> None:
        response = None
        with _calls.guard():
            response = self._read()
        if exc is None or (isinstance(self.response, _Stream) and self.response.is_cancelled):
            _calls.end(self, response)
        else:
            _calls.fail(self, exc, response)

    def _read(self) -> Any:
        response = self.response
        if isinstance(response, EmbeddingResult):
            return _reading_of(response)
        if isinstance(response, _Stream):
            seconds = response.time_to_first_chunk(self._started_at)
            response = response.get()
            if seconds is not None:
                first = next(iter(response.parts), None)
                _calls.note_token(self, seconds=seconds, is_answer=isinstance(first, TextPart))
        if isinstance(response, ModelResponse) and response.state == "suspended" and not response.usage.has_values():
            _calls.withdraw(self)  # a question whether the provider has finished
        return response


class _Stream(ObjectProxy[StreamedResponse]):
    """A stream that knows whether its consumer has cancelled it: its connection then ends with an error."""

    _self_is_closed = False

    @property
    def is_cancelled(self) -> bool:
        return self._self_is_closed or self.__wrapped__.cancelled

    def __aiter__(self) -> AsyncIterator[Any]:
        return aiter(self.__wrapped__)

    async def close_stream(self) -> None:
        self._self_is_closed = True
        await self.__wrapped__.close_stream()


def _reading_of(result: EmbeddingResult) -> Reading:
    tokens = result.usage.input_tokens
    ids = (result.provider_response_id,) if result.provider_response_id else ()
    return Reading(usage=Usage(input_tokens=tokens, total_tokens=tokens), model=result.model_name, ids=ids)


def _request_of(model: str, messages: list[ModelMessage], parameters: ModelRequestParameters) -> ProviderRequest:
    """Return a request in the format of OpenAI's chat completions."""
    instructions = [message.instructions for message in messages if isinstance(message, ModelRequest)]
    turns = [{"role": "system", "content": text} for text in instructions[-1:] if text]
    turns += [_turn_of(part) for message in messages for part in message.parts]
    tools = [
        {
            "type": "function",
            "function": {
                "name": tool.name,
                "description": tool.description,
                "parameters": tool.parameters_json_schema,
            },
        }
        for tool in (*parameters.function_tools, *parameters.output_tools)
    ]
    return ProviderRequest("chat", {"model": model, "messages": turns, "tools": tools})


def _turn_of(part: Any) -> dict[str, Any]:
    if isinstance(part, ToolCallPart):
        function = {"name": part.tool_name, "arguments": part.args_as_json_str()}
        return {"role": "assistant", "tool_calls": [{"type": "function", "function": function}]}
    if isinstance(part, ToolReturnPart):
        return {"role": "tool", "content": part.model_response_str()}
    content = part.model_response() if isinstance(part, RetryPromptPart) else getattr(part, "content", None)
    if isinstance(content, str):
        return {"role": _ROLES.get(part.part_kind, "user"), "content": content}
    # What is not text cannot be counted.
    parts = [{"type": "text", "text": one} if isinstance(one, str) else {"type": "file"} for one in content or [None]]
    return {"role": "user", "content": parts}
