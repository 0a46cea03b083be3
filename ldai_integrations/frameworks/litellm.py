"""LiteLLM: a logger that is told of every provider call, before and after it.

LiteLLM calls a logger before a call in the caller's context. It delivers the end of a stream from a thread or a task of
its own, so that the report of the run waits for it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import litellm
from litellm.integrations.custom_logger import CustomLogger

from .._run.background import call_off_loop
from .._run.request import ProviderRequest
from ..providers._servers import host_of, is_openai
from ..records import Usage
from ..usage import Reading, read
from ._calls import FrameworkCalls, mark_as_counted

# The formats of requests by LiteLLM's functions, whose asynchronous ones begin with an ``a``; the others take messages.
_APIS = {
    "embedding": "embeddings",
    "text_completion": "completions",
    "responses": "responses",
    "anthropic_messages": "messages",
    "rerank": "rerank",
    "image_generation": "images",
    "image_edit": "images",
    "transcription": "audio",
    "speech": "audio",
}
_CONTENTS = {"embeddings": "input", "responses": "input", "completions": "prompt"}


def connect(calls: FrameworkCalls) -> None:
    """Add the logger to the callbacks of LiteLLM."""
    litellm.logging_callback_manager.add_litellm_input_callback(_Logger(calls))


class _Logger(CustomLogger):
    """A logger that reports provider calls, by LiteLLM's call ids."""

    def __init__(self, calls: FrameworkCalls) -> None:
        super().__init__()
        self._calls = calls

    def log_pre_api_call(self, model: object, messages: object, kwargs: Any) -> None:
        """Begin a call. It is repeated under the same id after a failure."""
        del model, messages
        with self._calls.guard():
            self._listen()
            api = _api_of(kwargs)
            self._calls.begin(kwargs["litellm_call_id"], lambda: _request_of(api, kwargs), api=api, ends_late=True)

    def log_post_api_call(self, kwargs: Any, response_obj: object, start_time: object, end_time: object) -> None:
        """End a call whose whole response has arrived, as the provider sent it. For a stream, it has only begun."""
        del response_obj, start_time, end_time
        if not kwargs.get("stream") and self._calls.is_open(kwargs["litellm_call_id"]):
            with self._calls.guard():
                reading = _read_body(kwargs.get("original_response"))
                if reading is not None and reading.usage is not None:
                    self._calls.end(kwargs["litellm_call_id"], reading)

    def log_success_event(self, kwargs: Any, response_obj: object, start_time: object, end_time: object) -> None:
        """End a call, for example when its stream is complete."""
        del start_time, end_time
        call_id = kwargs["litellm_call_id"]
        if self._calls.is_open(call_id):
            with self._calls.guard():
                begun, first = kwargs.get("api_call_start_time"), kwargs.get("completion_start_time")
                if kwargs.get("stream") and begun is not None and first is not None:
                    self._calls.note_token(call_id, seconds=(first - begun).total_seconds())
                self._calls.end(call_id, _read_response(response_obj, kwargs))

    def log_failure_event(self, kwargs: Any, response_obj: object, start_time: object, end_time: object) -> None:
        """End a call that failed."""
        del response_obj, start_time, end_time
        self._calls.fail(kwargs["litellm_call_id"], kwargs["exception"])

    async def async_log_success_event(self, *args: Any, **kwargs: Any) -> None:
        """End an asynchronous call. Counting the tokens of a long prompt would block the event loop."""
        await call_off_loop(partial(self.log_success_event, *args, **kwargs))

    async def async_log_failure_event(self, *args: Any, **kwargs: Any) -> None:
        """End an asynchronous call that failed."""
        self.log_failure_event(*args, **kwargs)

    def _listen(self) -> None:
        """Add the logger to the callbacks of a call's end: applications assign new lists to them at any time."""
        manager = litellm.logging_callback_manager
        if self not in litellm.success_callback:
            manager.add_litellm_success_callback(self)
        if self not in litellm.failure_callback:
            manager.add_litellm_failure_callback(self)
        manager.add_litellm_async_success_callback(self)
        manager.add_litellm_async_failure_callback(self)


def _api_of(details: Mapping[str, Any]) -> str:
    """Return the format of the request of a call."""
    function = str(details.get("call_type"))
    return _APIS.get(function) or _APIS.get(function.removeprefix("a"), "chat")


def _request_of(api: str, details: Mapping[str, Any]) -> ProviderRequest:
    options = details.get("optional_params") or {}
    content = details.get("messages") or details.get("input")
    return ProviderRequest(api, {**options, "model": details.get("model"), _CONTENTS.get(api, "messages"): content})


def _read_body(body: object) -> Reading | None:
    """Read a response as the provider sent it, which is text or an object of the provider's library."""
    if isinstance(body, str):
        try:
            body = json.loads(body)
        except ValueError:
            return None
    return read(body)


def _read_response(response: object, details: Mapping[str, Any]) -> Reading | None:
    """Read a response that LiteLLM has put together.

    In a stream, it counts the tokens itself if the provider reported none, and the proxy names its own models.
    """
    reading = read(response)
    if reading is None or not details.get("stream"):
        return reading
    reading = replace(reading, model=str(details.get("model") or reading.model))
    usage = reading.usage
    is_counted = usage is not None and (_must_ask_for_usage(details) or _is_count_of_litellm(reading, usage, details))
    return mark_as_counted(reading) if is_counted else reading


def _must_ask_for_usage(details: Mapping[str, Any]) -> bool:
    """Return whether a provider sends the usage of a stream if it is asked to, and was not."""
    options = (details.get("optional_params") or {}).get("stream_options") or {}
    return not options.get("include_usage") and _sends_usage_on_request(details)


def _sends_usage_on_request(details: Mapping[str, Any]) -> bool:
    """Return whether the format of a call's stream has usage only if the request asks for it."""
    if _api_of(details) not in ("chat", "completions"):
        return False
    supported = litellm.get_supported_openai_params(
        model=str(details.get("model")), custom_llm_provider=details.get("custom_llm_provider")
    )
    return "stream_options" in (supported or ())


def _is_count_of_litellm(reading: Reading, usage: Usage, details: Mapping[str, Any]) -> bool:
    """Return whether LiteLLM has counted the tokens of a stream, because the server ignored that it was asked.

    LiteLLM does not say so. But then its counts are those of its own counter. OpenAI's own servers and Azure send the
    usage, which may be the same.
    """
    address = (details.get("litellm_params") or {}).get("api_base")
    is_own = details.get("custom_llm_provider") == "azure" or is_openai(host_of(address))
    if is_own or not _sends_usage_on_request(details):
        return False
    messages = details.get("messages")
    # Otherwise it downloads images to count them, and raises an exception for content that it cannot count.
    defaults: dict[str, Any] = {"use_default_image_token_count": True, "default_token_count": 0}
    count = partial(litellm.token_counter, model=str(details.get("model")), **defaults)
    if not isinstance(messages, list) or usage.input_tokens != count(messages=messages):
        return False
    if reading.tool_calls or reading.reasoning:
        return True
    return bool(usage.output_tokens == count(text=reading.text, count_response_tokens=True))
