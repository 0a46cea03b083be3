"""What each provider publishes about its requests, as the types of its client, to check the bodies that arrive.

OpenAI and Anthropic publish ``TypedDict`` classes, Google, Mistral and Cohere pydantic models, and Amazon the
description of its service. A check raises an exception for a missing field, for one of the wrong type, and for one that
the API does not have, at any depth.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from importlib import import_module
from typing import Any

from pydantic import BaseModel, ConfigDict, TypeAdapter

Body = dict[str, Any]


@cache
def _strict(module: str, name: str) -> TypeAdapter[Any]:
    schema = getattr(import_module(module), name)
    return TypeAdapter(list[schema], config=ConfigDict(extra="forbid"))  # type: ignore[valid-type]  # nested ones are strict, too


def _read_all(value: object) -> None:
    """Read what pydantic checks only when it is read: the items of an ``Iterable``."""
    if isinstance(value, Mapping):
        for item in value.values():
            _read_all(item)
    elif isinstance(value, Iterable) and not isinstance(value, (str, bytes)):
        for item in value:
            _read_all(item)


def _check_typed_dict(module: str, name: str, body: Body) -> None:
    whole, stream = f"{name}NonStreaming", f"{name}Streaming"
    _read_all(_strict(module, stream if body.get("stream") else whole).validate_python([body]))


def check_chat(body: Body) -> None:
    """Check a request to OpenAI's chat completions, also of Azure."""
    _check_typed_dict("openai.types.chat.completion_create_params", "CompletionCreateParams", body)


def check_responses(body: Body) -> None:
    """Check a request to OpenAI's Responses API."""
    _check_typed_dict("openai.types.responses.response_create_params", "ResponseCreateParams", body)


def check_messages(body: Body) -> None:
    """Check a request to Anthropic's Messages API."""
    # Its newest clients publish no ``temperature``, which older models still have.
    known = {name: value for name, value in body.items() if name not in ("temperature", "top_p")}
    _check_typed_dict("anthropic.types.message_create_params", "MessageCreateParams", known)


def check_messages_in_cloud(body: Body) -> None:
    """Check a request to Anthropic's Messages API on Bedrock or Vertex AI: the model is in the path."""
    assert "model" not in body
    check_messages({"model": "m", **{name: value for name, value in body.items() if name != "anthropic_version"}})


def check_gemini(body: Body) -> None:
    """Check a request to Gemini's generateContent."""
    from google.genai import types

    parts: dict[str, Any] = {
        "contents": list[types.Content],
        "systemInstruction": types.Content,
        "generationConfig": types.GenerationConfig,
        "tools": list[types.Tool],
        "toolConfig": types.ToolConfig,
        "safetySettings": list[types.SafetySetting],
    }
    assert "contents" in body
    for name, value in body.items():
        TypeAdapter(parts[name]).validate_python(value)


def check_mistral(body: Body) -> None:
    """Check a request to Mistral's chat."""
    try:
        models = import_module("mistralai.client.models")
    except ImportError:  # before version 2
        models = import_module("mistralai.models")
    model = models.ChatCompletionStreamRequest if body.get("stream") else models.ChatCompletionRequest
    _check_kept(model, body)


def check_cohere(body: Body) -> None:
    """Check a request to the second version of Cohere's chat."""
    from cohere import ClientV2, ResponseFormatV2, ToolV2
    from cohere.types import ChatMessageV2

    assert set(body) <= {*inspect.signature(ClientV2.chat_stream).parameters, "stream"}
    assert {"model", "messages"} <= set(body)
    checked: list[tuple[Any, Any]] = [(ChatMessageV2, message) for message in body["messages"]]
    checked += [(ToolV2, tool) for tool in body.get("tools", ())]
    checked += [(ResponseFormatV2, body["response_format"])] if "response_format" in body else []
    for schema, value in checked:
        _check_no_extra(TypeAdapter(schema).validate_python(value))


def check_converse(body: Body) -> None:
    """Check a request to Bedrock's Converse."""
    model = import_module("botocore.session").get_session().get_service_model("bedrock-runtime")
    validator = import_module("botocore.validate").ParamValidator()
    report = validator.validate({"modelId": "m", **body}, model.operation_model("Converse").input_shape)
    assert not report.has_errors(), report.generate_report()


def _check_kept(schema: type[BaseModel], body: Body) -> None:
    """Check a body with a model that ignores unknown fields: nothing of the body may be lost."""
    kept = schema.model_validate(body).model_dump(by_alias=True, mode="json")
    missing = _missing(body, kept)
    assert not missing, missing


def _missing(body: Any, kept: Any, path: str = "") -> list[str]:
    if isinstance(body, dict) and isinstance(kept, dict):
        pairs = [(value, kept.get(name), f"{path}.{name}") for name, value in body.items()]
    elif isinstance(body, list) and isinstance(kept, list):
        pairs = [(one, other, f"{path}[]") for one, other in zip(body, kept, strict=True)]
    else:
        return [] if body == kept or body is None else [path]
    return [found for one, other, place in pairs for found in _missing(one, other, place)]


def _check_no_extra(value: object) -> None:
    if isinstance(value, BaseModel):
        assert not value.model_extra, value
        for name in type(value).model_fields:
            _check_no_extra(getattr(value, name))
    elif isinstance(value, list):
        for item in value:
            _check_no_extra(item)


#: Ends of paths, and the checks of the requests to them.
CHECKS: tuple[tuple[str, Callable[[Body], None]], ...] = (
    ("/mistral/v1/chat/completions", check_mistral),
    ("/chat/completions", check_chat),
    ("/responses", check_responses),
    ("/messages", check_messages),
    ("/invoke", check_messages_in_cloud),
    ("/invoke-with-response-stream", check_messages_in_cloud),
    (":rawPredict", check_messages_in_cloud),
    (":streamRawPredict", check_messages_in_cloud),
    (":generateContent", check_gemini),
    (":streamGenerateContent", check_gemini),
    ("/v2/chat", check_cohere),
    ("/converse", check_converse),
    ("/converse-stream", check_converse),
)


def check(path: str, body: Body) -> None:
    """Check the body of a request by the schema that its provider has published."""
    next(checking for end, checking in CHECKS if path.endswith(end))(json.loads(json.dumps(body)))
