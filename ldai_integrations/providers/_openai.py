"""OpenAI's chat completions and Responses API; the APIs of Mistral and Cohere, which have the messages of the first."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from ._api import Answer, Api, ToolCall, accepts_argument
from ._prompt import Fields, Image, Json, Prompt, arguments_of, text_of
from ._servers import has_newer_options, leaves_usage_open


class ChatApi(Api):
    """OpenAI's chat completions, also of Azure and of servers that are compatible with it."""

    name = "chat"
    call = stream_call = "chat.completions.create"

    def arguments(self, prompt: Prompt, client: object) -> tuple[Json, list[str]]:
        """Return the arguments of a call."""
        parameters, omitted = self.convert_parameters(prompt, accepts_argument(client, self.call))
        if "max_tokens" in parameters and has_newer_options(client):  # newer models accept no other name
            parameters["max_completion_tokens"] = parameters.pop("max_tokens")
        arguments = {"model": prompt.model, "messages": [self._message(one) for one in prompt.messages], **parameters}
        if prompt.tools:
            arguments["tools"] = self.tools(prompt)
            arguments |= self._tool_choice(prompt)
        if prompt.response_format is not None:
            arguments["response_format"] = self._response_format(prompt)
        return arguments, omitted

    def tools(self, prompt: Prompt) -> list[Json]:
        """Return the tools as functions."""
        return [
            {
                "type": "function",
                "function": {"name": tool.name, "description": tool.description, "parameters": dict(tool.schema)},
            }
            for tool in prompt.tools
        ]

    def arguments_of_stream(self, client: object, arguments: Json) -> Json:
        """Ask for a stream, and for its usage where the server is known to accept that."""
        streaming = super().arguments_of_stream(client, arguments)
        given = arguments.get("stream_options") or {}
        if isinstance(given, Mapping) and has_newer_options(client) and leaves_usage_open(arguments):
            streaming["stream_options"] = {"include_usage": True, **given}
        return streaming

    def unsent(self, prompt: Prompt) -> list[str]:  # noqa: ARG002  # messages have the format of this API
        """Return nothing: messages are sent as they are."""
        return []

    def answer(self, response: Any) -> Answer:
        """Read a completion."""
        if not response.choices:
            return Answer("", (), response)
        message = response.choices[0].message
        return Answer(text_of(message.content), _calls_of(message), response)

    def text_in(self, event: Any) -> str:
        """Return the text in a chunk."""
        return text_of(event.choices[0].delta.content) if event.choices else ""

    def _message(self, message: Fields) -> Json:
        dropped = {"extra_content", "name"} if message.get("role") == "tool" else {"extra_content"}
        own = {name: value for name, value in message.items() if name not in dropped}
        if message.get("tool_calls"):
            calls = message["tool_calls"]
            own["tool_calls"] = [
                {name: value for name, value in call.items() if name != "extra_content"} for call in calls
            ]
        return own

    def _tool_choice(self, prompt: Prompt) -> Json:
        return {"tool_choice": prompt.choice} if prompt.choice is not None else {}

    def _response_format(self, prompt: Prompt) -> Any:
        return prompt.response_format


class MistralApi(ChatApi):
    """Mistral's chat API."""

    name = "mistral"
    call, stream_call = "chat.complete", "chat.stream"
    async_call, async_stream_call = "chat.complete_async", "chat.stream_async"
    names: ClassVar = {"seed": "random_seed"}
    max_temperature = 1.5

    def text_in(self, event: Any) -> str:
        """Return the text in an event."""
        return super().text_in(event.data)


class CohereApi(ChatApi):
    """The second version of Cohere's chat API."""

    name = "cohere"
    call, stream_call = "v2.chat", "v2.chat_stream"
    is_lazy = True
    names: ClassVar = {"top_p": "p", "top_k": "k", "stop": "stop_sequences"}
    max_temperature = 1.0

    def arguments(self, prompt: Prompt, client: object) -> tuple[Json, list[str]]:
        """Return the arguments of a call. The API refuses a format of the answer together with tools."""
        arguments, omitted = super().arguments(prompt, client)
        if (prompt.tools or not prompt.wants_json) and arguments.pop("response_format", None) is not None:
            omitted.append("response_format")
        return arguments, omitted

    def answer(self, response: Any) -> Answer:
        """Read a response."""
        message = response.message
        return Answer(text_of(message.content), _calls_of(message), response)

    def text_in(self, event: Any) -> str:
        """Return the text in an event."""
        return event.delta.message.content.text or "" if event.type == "content-delta" else ""

    def _tool_choice(self, prompt: Prompt) -> Json:
        choice = "required" if prompt.forced_tool else prompt.choice  # it cannot name one
        return {"tool_choice": choice.upper()} if choice in ("required", "none") else {}

    def _response_format(self, prompt: Prompt) -> Any:
        return {"type": "json_object", **({"json_schema": dict(prompt.schema)} if prompt.schema is not None else {})}


def _calls_of(message: Any) -> tuple[ToolCall, ...]:
    calls = [call for call in message.tool_calls or () if getattr(call, "function", None) is not None]
    return tuple(ToolCall(call.id, call.function.name, arguments_of(call.function.arguments)) for call in calls)


class ResponsesApi(Api):
    """OpenAI's Responses API, also of Azure."""

    name = "responses"
    call = stream_call = "responses.create"
    names: ClassVar = {"max_tokens": "max_output_tokens"}

    def arguments(self, prompt: Prompt, client: object) -> tuple[Json, list[str]]:
        """Return the arguments of a call."""
        accepts = accepts_argument(client, self.call)
        parameters, omitted = self.convert_parameters(prompt, lambda name: name == "reasoning_effort" or accepts(name))
        effort = parameters.pop("reasoning_effort", None)
        arguments: Json = {
            "model": prompt.model,
            "input": [item for turn in prompt.turns for item in self._items_of(turn)],
        }
        if prompt.system:
            arguments["instructions"] = prompt.system
        arguments |= parameters
        if effort is not None:
            arguments["reasoning"] = {"effort": effort}
        if prompt.tools:
            arguments["tools"] = self.tools(prompt)
            name = prompt.forced_tool
            choice = {"type": "function", "name": name} if name else prompt.choice
            if choice is not None:
                arguments["tool_choice"] = choice
        if prompt.response_format is not None:
            arguments["text"] = {"format": _format_of(prompt.response_format)}
        return arguments, omitted

    def tools(self, prompt: Prompt) -> list[Json]:
        """Return the tools as functions, which are flat in this API."""
        return [
            {
                "type": "function",
                "name": tool.name,
                "description": tool.description,
                "parameters": dict(tool.schema),
                "strict": False,
            }
            for tool in prompt.tools
        ]

    def answer(self, response: Any) -> Answer:
        """Read a response."""
        texts, calls = [], []
        for item in response.output:
            if item.type == "message":
                texts += [part.text for part in item.content if part.type == "output_text"]
            elif item.type == "function_call":
                calls.append(ToolCall(item.call_id, item.name, arguments_of(item.arguments)))
        return Answer("".join(texts), tuple(calls), response)

    def text_in(self, event: Any) -> str:
        """Return the text in an event."""
        return event.delta if event.type == "response.output_text.delta" else ""

    def text_part(self, text: str) -> Json:
        """Return a text in a message."""
        return {"type": "input_text", "text": text}

    def image_part(self, image: Image) -> Json:
        """Return an image in a message of a user."""
        return {"type": "input_image", "image_url": image.url, "detail": image.detail}

    def _items_of(self, message: Fields) -> Iterator[Json]:
        text = text_of(message.get("content"))
        if message.get("role") == "tool":
            yield {"type": "function_call_output", "call_id": message.get("tool_call_id", ""), "output": text}
            return
        parts = self.parts(message)
        has_image = any(part["type"] == "input_image" for part in parts)
        if parts:
            yield {"role": message.get("role", "user"), "content": parts if has_image else text}
        for call in message.get("tool_calls") or ():
            function = call["function"]
            arguments = {"name": function["name"], "arguments": function["arguments"]}
            yield {"type": "function_call", "call_id": call["id"], **arguments}


def _format_of(response_format: Fields) -> Json:
    """Return a response format, whose schema is not nested in this API."""
    described = response_format.get("json_schema")
    nested = dict(described) if isinstance(described, Mapping) else {}
    return {"type": response_format.get("type", "json_schema"), **nested}
