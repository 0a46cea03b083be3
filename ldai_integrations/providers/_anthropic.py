"""Anthropic's Messages API."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from ._api import Answer, Api, ToolCall, accepts_argument, forced_tool
from ._prompt import Prompt, arguments_of, calls_in, merged, text_of

# The API has no default. This is more than answers of a chat usually have, and within the limit of every model.
_MAX_TOKENS = 4096
_CHOICES = {"auto": "auto", "required": "any", "none": "none"}


class MessagesApi(Api):
    """Anthropic's Messages API, also on Bedrock and Vertex AI."""

    name = "messages"
    call = stream_call = "messages.create"
    names: ClassVar = {"stop": "stop_sequences"}
    max_temperature = 1.0

    def arguments(self, prompt: Prompt, client: Any) -> tuple[dict[str, Any], list[str]]:
        """Return the arguments of a call."""
        accepts = accepts_argument(client, self.call)
        parameters, omitted = self.convert_parameters(prompt, accepts)
        messages = merged(map(_turn, prompt.turns))
        arguments: dict[str, Any] = {"model": prompt.model, "max_tokens": _MAX_TOKENS, "messages": messages}
        if not messages:  # it needs one
            arguments["messages"] = [{"role": "user", "content": prompt.system}]
        elif prompt.system:
            arguments["system"] = prompt.system
        arguments |= parameters
        if prompt.tools:
            arguments["tools"] = self.tools(prompt)
            name = forced_tool(prompt.tool_choice)
            if name:
                arguments["tool_choice"] = {"type": "tool", "name": name}
            elif prompt.tool_choice in _CHOICES:
                arguments["tool_choice"] = {"type": _CHOICES[prompt.tool_choice]}
        if prompt.schema is not None and accepts("output_config"):
            arguments["output_config"] = {"format": {"type": "json_schema", "schema": dict(prompt.schema)}}
        elif prompt.response_format is not None:
            omitted.append("response_format")
        return arguments, omitted

    def tools(self, prompt: Prompt) -> list[dict[str, Any]]:
        """Return the tools."""
        return [
            {"name": tool.name, "description": tool.description, "input_schema": dict(tool.schema)}
            for tool in prompt.tools
        ]

    def arguments_of_stream(self, client: Any) -> dict[str, Any]:  # noqa: ARG002  # every server accepts it
        """Ask for a stream."""
        return {"stream": True}

    def answer(self, response: Any) -> Answer:
        """Read a message."""
        text = "".join(block.text for block in response.content if block.type == "text")
        used = [block for block in response.content if block.type == "tool_use"]
        calls = tuple(ToolCall(block.id, block.name, arguments_of(block.input)) for block in used)
        return Answer(text, calls, response)

    def text_in(self, event: Any) -> str:
        """Return the text in an event."""
        is_text = event.type == "content_block_delta" and event.delta.type == "text_delta"
        return str(event.delta.text) if is_text else ""


def _turn(message: Mapping[str, Any]) -> tuple[str, list[dict[str, Any]]]:
    text = text_of(message.get("content"))
    if message.get("role") == "tool":
        result = {"type": "tool_result", "tool_use_id": message.get("tool_call_id", ""), "content": text}
        return "user", [result]
    parts: list[dict[str, Any]] = [{"type": "text", "text": text}] if text else []
    parts += [
        {"type": "tool_use", "id": call_id, "name": name, "input": arguments}
        for call_id, name, arguments, _ in calls_in(message)
    ]
    return str(message.get("role", "user")), parts
