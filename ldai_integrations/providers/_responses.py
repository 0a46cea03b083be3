"""OpenAI's Responses API."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from ._api import Answer, Api, ToolCall, accepts_argument
from ._prompt import Fields, Image, Json, Prompt, arguments_of, text_of


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
