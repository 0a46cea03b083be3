"""The API of Gemini, on Google AI and on Vertex AI."""

from __future__ import annotations

import base64
import mimetypes
from typing import Any, ClassVar

from ._api import Answer, Api, ToolCall, calls_in
from ._prompt import Fields, Image, Json, Prompt, arguments_of, merged, text_of

# https://ai.google.dev/api/generate-content#generationconfig, and the fields of a request beside it.
_CONFIG = {
    *("temperature", "top_p", "top_k", "max_output_tokens", "stop_sequences", "seed", "candidate_count"),
    *("presence_penalty", "frequency_penalty", "response_logprobs", "logprobs", "media_resolution", "thinking_config"),
    *("safety_settings", "cached_content", "labels", "service_tier"),
}
_MODES = {"auto": "AUTO", "required": "ANY", "none": "NONE"}


class GenerateContentApi(Api):
    """The API of Gemini."""

    name = "gemini"
    call, stream_call = "models.generate_content", "models.generate_content_stream"
    is_lazy = True
    names: ClassVar = {"max_tokens": "max_output_tokens", "stop": "stop_sequences", "n": "candidate_count"}

    def arguments(self, prompt: Prompt, client: object) -> tuple[Json, list[str]]:  # noqa: ARG002  # as the others
        """Return the arguments of a call."""
        config, omitted = self.convert_parameters(prompt, _CONFIG.__contains__)
        contents = merged(map(self._turn, prompt.turns), content="parts")
        if not contents:  # it needs one
            contents = [{"role": "user", "parts": [{"text": prompt.system}]}]
        elif prompt.system:
            config["system_instruction"] = prompt.system
        if prompt.tools:
            config["tools"] = self.tools(prompt)
            name = prompt.forced_tool
            mode = "ANY" if name else _MODES.get(str(prompt.choice))
            if mode is not None:
                calling = {"mode": mode, **({"allowed_function_names": [name]} if name else {})}
                config["tool_config"] = {"function_calling_config": calling}
        if prompt.wants_json:
            config["response_mime_type"] = "application/json"
        elif prompt.response_format is not None:
            omitted.append("response_format")
        if prompt.schema is not None:
            config["response_json_schema"] = dict(prompt.schema)
        return {"model": prompt.model, "contents": contents, "config": config}, omitted

    def tools(self, prompt: Prompt) -> list[Json]:
        """Return one tool with the declarations of all functions."""
        declarations = [
            {"name": tool.name, "description": tool.description, "parameters_json_schema": dict(tool.schema)}
            for tool in prompt.tools
        ]
        return [{"function_declarations": declarations}]

    def answer(self, response: Any) -> Answer:
        """Read a response."""
        parts = _parts_of(response)
        calls: list[ToolCall] = []
        for part in parts:
            call = part.function_call
            if call is not None:
                call_id = call.id or f"{call.name}-{len(calls)}"
                calls.append(ToolCall(call_id, call.name, arguments_of(call.args), _signature_of(part)))
        return Answer("".join(part.text for part in parts if part.text and not part.thought), tuple(calls), response)

    def text_in(self, event: Any) -> str:
        """Return the text in a part of a stream."""
        return "".join(part.text for part in _parts_of(event) if part.text and not part.thought)

    def image_part(self, image: Image) -> Json | None:
        """Return an image in a message of a user."""
        if image.data is not None:
            media_type, data = image.data
            return {"inline_data": {"mime_type": media_type, "data": data}}
        if image.url.startswith("data:"):
            return None
        name = image.url.partition("?")[0].rpartition("/")[2]
        guessed, _ = mimetypes.guess_type(name)  # Vertex AI needs it
        return {"file_data": {"file_uri": image.url, **({"mime_type": guessed} if guessed else {})}}

    def _turn(self, message: Fields) -> tuple[str, list[Json]]:
        if message.get("role") == "tool":
            result = {"result": text_of(message.get("content"))}
            return "user", [{"function_response": {"name": message.get("name", ""), "response": result}}]
        parts = self.parts(message)
        for call in calls_in(message):
            part: Json = {"function_call": {"name": call.name, "args": call.arguments}}
            signature = ((call.extra or {}).get("google") or {}).get("thought_signature")
            if signature:
                part["thought_signature"] = base64.b64decode(signature)
            parts.append(part)
        return "model" if message.get("role") == "assistant" else "user", parts


def _parts_of(response: Any) -> list[Any]:
    candidates = response.candidates or ()
    content = candidates[0].content if candidates else None
    return list(content.parts or ()) if content is not None else []


def _signature_of(part: Any) -> Json | None:
    """Return the signature of a call, which newer models want back, named as in Google's OpenAI-compatible API.

    https://ai.google.dev/gemini-api/docs/thought-signatures
    """
    signature = getattr(part, "thought_signature", None)
    return {"google": {"thought_signature": base64.b64encode(signature).decode()}} if signature else None
