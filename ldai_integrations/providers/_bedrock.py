"""The Converse API of Amazon Bedrock."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from ._api import Answer, Api, ToolCall, calls_in
from ._prompt import Fields, Image, Json, Prompt, arguments_of, merged, text_of

_NAMES = {"max_tokens": "maxTokens", "temperature": "temperature", "top_p": "topP", "stop": "stopSequences"}
_IMAGES = ("png", "jpeg", "gif", "webp")
_CHOICES: dict[str, Json] = {"auto": {"auto": {}}, "required": {"any": {}}}


class ConverseApi(Api):
    """The Converse API of Amazon Bedrock, which is the same for every model."""

    name = "converse"
    call, stream_call = "converse", "converse_stream"
    names = _NAMES
    max_temperature = 1.0

    def is_asynchronous(self, client: object, method: Callable[..., object]) -> bool:
        """Return whether a method of a client is awaited: boto3's clients have no ``with`` block, and others do."""
        return bool(super().is_asynchronous(client, method))

    def arguments(self, prompt: Prompt, client: object) -> tuple[Json, list[str]]:
        """Return the arguments of a call."""
        parameters, omitted = self.convert_parameters(prompt, set(_NAMES.values()).__contains__)
        messages = merged(map(self._turn, prompt.turns))
        arguments: Json = {"modelId": prompt.model, "messages": messages}
        if not messages:  # it needs one
            arguments["messages"] = [{"role": "user", "content": [{"text": prompt.system}]}]
        elif prompt.system:
            arguments["system"] = [{"text": prompt.system}]
        if parameters:
            arguments["inferenceConfig"] = parameters
        if prompt.tools:
            arguments["toolConfig"] = {"tools": self.tools(prompt)}
            name = prompt.forced_tool
            choice = {"tool": {"name": name}} if name else _CHOICES.get(str(prompt.choice))
            if choice is not None:
                arguments["toolConfig"]["toolChoice"] = choice
            elif prompt.tool_choice is not None:
                omitted.append("tool_choice")
        if prompt.schema is not None and "outputConfig" in _members_of(client):
            structure = {"jsonSchema": {"schema": json.dumps(prompt.schema), "name": "answer"}}
            arguments["outputConfig"] = {"textFormat": {"type": "json_schema", "structure": structure}}
        elif prompt.response_format is not None:
            omitted.append("response_format")
        return arguments, omitted

    def tools(self, prompt: Prompt) -> list[Json]:
        """Return the tools."""
        return [
            {
                "toolSpec": {
                    "name": tool.name,
                    "inputSchema": {"json": dict(tool.schema)},
                    **({"description": tool.description} if tool.description else {}),  # an empty one is refused
                }
            }
            for tool in prompt.tools
        ]

    def events(self, stream: Any) -> Any:
        """Return the stream in a response."""
        return stream["stream"]

    def answer(self, response: Any) -> Answer:
        """Read a response."""
        content = response["output"]["message"]["content"]
        used = [block["toolUse"] for block in content if "toolUse" in block]
        calls = tuple(ToolCall(use["toolUseId"], use["name"], arguments_of(use["input"])) for use in used)
        return Answer(text_of(content), calls, response)

    def text_in(self, event: Any) -> str:
        """Return the text in an event."""
        return str(event.get("contentBlockDelta", {}).get("delta", {}).get("text", ""))

    def image_part(self, image: Image) -> Json | None:
        """Return an image in a message of a user, which the API accepts as bytes only."""
        media_type, data = image.data or ("", b"")
        form = media_type.removeprefix("image/")
        return {"image": {"format": form, "source": {"bytes": data}}} if form in _IMAGES else None

    def _turn(self, message: Fields) -> tuple[str, list[Json]]:
        if message.get("role") == "tool":
            content = [{"text": text_of(message.get("content"))}]
            return "user", [{"toolResult": {"toolUseId": message.get("tool_call_id", ""), "content": content}}]
        used = [
            {"toolUse": {"toolUseId": call.id, "name": call.name, "input": call.arguments}}
            for call in calls_in(message)
        ]
        return str(message.get("role", "user")), [*self.parts(message), *used]


def _members_of(client: Any) -> Fields:
    members: Fields = client.meta.service_model.operation_model("Converse").input_shape.members
    return members
