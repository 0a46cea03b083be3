"""Anthropic's Messages API."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any, ClassVar

from ._api import Answer, Api, ToolCall, accepts_argument, calls_in
from ._prompt import Fields, Image, Json, Prompt, arguments_of, merged, text_of

# The API has no default. This is more than answers of a chat usually have, and within the limit of every model.
_MAX_TOKENS = 4096
_CHOICES = {"auto": "auto", "required": "any", "none": "none"}
_TYPES_OF_CHOICES = ("auto", "any", "tool", "none")


class MessagesApi(Api):
    """Anthropic's Messages API, also on Bedrock and Vertex AI."""

    name = "messages"
    call = stream_call = "messages.create"
    names: ClassVar = {"stop": "stop_sequences"}
    max_temperature = 1.0

    def arguments(self, prompt: Prompt, client: object) -> tuple[Json, list[str]]:
        """Return the arguments of a call."""
        accepts = accepts_argument(client, self.call)
        parameters, omitted = self.convert_parameters(prompt, accepts)
        messages = merged(map(self._turn, prompt.turns))
        arguments: Json = {"model": prompt.model, "max_tokens": _MAX_TOKENS, "messages": messages}
        if not messages:  # it needs one
            arguments["messages"] = [{"role": "user", "content": prompt.system}]
        elif prompt.system:
            arguments["system"] = prompt.system
        arguments |= parameters
        if prompt.tools:
            arguments["tools"] = self.tools(prompt)
            choice = _tool_choice(prompt)
            if choice is not None:
                arguments["tool_choice"] = choice
            elif prompt.tool_choice is not None:
                omitted.append("tool_choice")
        if prompt.schema is not None and accepts("output_config"):
            arguments["output_config"] = {"format": {"type": "json_schema", "schema": dict(prompt.schema)}}
        elif prompt.response_format is not None:
            omitted.append("response_format")
        return arguments, omitted

    def tools(self, prompt: Prompt) -> list[Json]:
        """Return the tools."""
        return [
            {"name": tool.name, "description": tool.description, "input_schema": dict(tool.schema)}
            for tool in prompt.tools
        ]

    def answer(self, response: Any) -> Answer:
        """Read a message."""
        text = "".join(block.text for block in response.content if block.type == "text")
        used = [block for block in response.content if block.type == "tool_use"]
        calls = tuple(ToolCall(block.id, block.name, arguments_of(block.input)) for block in used)
        thoughts = [thought for block in response.content if (thought := _thought(block)) is not None]
        # https://platform.claude.com/docs/en/build-with-claude/extended-thinking: with tools, it wants them back.
        extra = {"anthropic": {"thinking": thoughts}} if calls and thoughts else None
        return Answer(text, calls, response, extra)

    def text_in(self, event: Any) -> str:
        """Return the text in an event."""
        is_text = event.type == "content_block_delta" and event.delta.type == "text_delta"
        return str(event.delta.text) if is_text else ""

    def text_part(self, text: str) -> Json:
        """Return a text in a message."""
        return {"type": "text", "text": text}

    def image_part(self, image: Image) -> Json | None:
        """Return an image in a message of a user."""
        if image.data is not None:
            media_type, data = image.data
            encoded = base64.b64encode(data).decode()
            source = {"type": "base64", "media_type": media_type, "data": encoded}
        elif image.url.startswith("https://"):
            source = {"type": "url", "url": image.url}
        else:
            return None
        return {"type": "image", "source": source}

    def _turn(self, message: Fields) -> tuple[str, list[Json]]:
        if message.get("role") == "tool":
            text = text_of(message.get("content"))
            result = {"type": "tool_result", "tool_use_id": message.get("tool_call_id", ""), "content": text}
            return "user", [result]
        extra = (message.get("extra_content") or {}).get("anthropic") or {}
        used = [
            {"type": "tool_use", "id": call.id, "name": call.name, "input": call.arguments}
            for call in calls_in(message)
        ]
        return str(message.get("role", "user")), [*extra.get("thinking", ()), *self.parts(message), *used]


def _thought(block: Any) -> Json | None:
    if block.type == "thinking":
        return {"type": "thinking", "thinking": block.thinking, "signature": block.signature}
    return {"type": "redacted_thinking", "data": block.data} if block.type == "redacted_thinking" else None


def _tool_choice(prompt: Prompt) -> Json | None:
    choice = prompt.tool_choice
    if isinstance(choice, Mapping) and choice.get("type") in _TYPES_OF_CHOICES:  # as this API has it, maybe with more
        return dict(choice)
    if prompt.forced_tool:
        return {"type": "tool", "name": prompt.forced_tool}
    found = _CHOICES.get(str(prompt.choice))
    return {"type": found} if found is not None else None
