"""DSPy: a callback that is told of every call of a language model, in the context of the caller.

DSPy calls models itself or through LiteLLM, whose calls are reported as well; a call that both report counts once.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import dspy
from dspy.utils.callback import BaseCallback

from .._run.request import ProviderRequest
from ..usage import Reading, read
from ._calls import FrameworkCalls, mark_as_counted


def connect(calls: FrameworkCalls) -> None:
    """Add the callback to DSPy's settings. ``dspy.configure`` would keep other threads from configuring anything."""
    dspy.settings.callbacks.append(_Callback(calls))


class _Callback(BaseCallback):
    """A callback that reports the calls of language models."""

    def __init__(self, calls: FrameworkCalls) -> None:
        self._calls = calls
        self._models: dict[str, Any] = {}

    def on_lm_start(self, call_id: str, instance: Any, inputs: dict[str, Any]) -> None:
        """Begin a call."""
        self._calls.begin(call_id, lambda: _request_of(instance, inputs))
        if self._calls.is_open(call_id):
            self._models[call_id] = instance

    def on_lm_end(self, call_id: str, outputs: object, exception: BaseException | None = None) -> None:
        """End a call. Its result has no usage, which is in the history of the model."""
        model = self._models.pop(call_id, None)
        if exception is not None:
            self._calls.fail(call_id, exception)
        elif model is not None:
            with self._calls.guard():
                entry = _entry_of(model.history, outputs)
                if entry is not None and _is_cached(entry):
                    self._calls.withdraw(call_id)
                self._calls.end(call_id, _read_entry(entry) if entry is not None else None)


def _request_of(model: Any, inputs: dict[str, Any]) -> ProviderRequest:
    messages = inputs.get("messages") or [{"role": "user", "content": inputs.get("prompt")}]
    return ProviderRequest("chat", {"model": model.model.rpartition("/")[2], "messages": messages})


def _entry_of(history: Sequence[dict[str, Any]], outputs: object) -> dict[str, Any] | None:
    """Return the entry of a call in the history of its model, which other threads may be using as well."""
    mine = (entry for entry in reversed(tuple(history)) if outputs is entry["outputs"] or outputs is entry["response"])
    return next(mine, None)


def _is_cached(entry: dict[str, Any]) -> bool:
    """Return whether an answer comes from DSPy's cache: it says so, or only its response has a usage."""
    response = entry["response"]
    has_only_there = not entry["usage"] and bool(getattr(response, "usage", None))
    return getattr(response, "cache_hit", False) is True or has_only_there


def _read_entry(entry: dict[str, Any]) -> Reading | None:
    """Read the answer and the usage, which DSPy keeps in OpenAI's format for every provider."""
    response = entry["response"]
    if not isinstance(response, dspy.lm15.Response):
        reading = read(response)
        # LiteLLM counts the tokens of a stream itself if DSPy does not ask for the usage.
        is_counted = dspy.settings.send_stream is not None and not dspy.settings.track_usage
        return mark_as_counted(reading) if reading is not None and is_counted else reading
    calls = [
        {"type": "function", "function": {"name": call.name, "arguments": json.dumps(call.input)}}
        for call in response.tool_calls
    ]
    message = {"role": "assistant", "content": response.text, "tool_calls": calls or None}
    choice = {"index": 0, "message": message, "finish_reason": response.finish_reason}
    return read(
        {
            "id": response.id,
            "object": "chat.completion",
            "model": response.model,
            "choices": [choice],
            "usage": entry["usage"] or None,
        }
    )
