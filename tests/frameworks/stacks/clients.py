"""The providers' own clients, wrapped, with tool loops that are written by hand.

A consumer that leaves a stream does so at its finish reason; some providers send the usage after it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from ldai_integrations import wrap_client

from ...clients import makers
from .stack import Stack

_ASKED = [{"role": "user", "content": "Hi"}]
_SCHEMA: dict[str, Any] = {"type": "object", "properties": {}}
_FUNCTION = {"name": "lookup", "description": "Look a word up.", "parameters": _SCHEMA}


def _leave(stream: Iterable[Any], is_last: Callable[[Any], object]) -> None:
    for event in stream:
        if is_last(event):
            return


def _openai(url: str, model: str, messages: list[Any] = _ASKED, **options: Any) -> Any:
    client = wrap_client(makers.openai(url).with_options(max_retries=0))
    if options.get("stream"):
        options["stream_options"] = {"include_usage": True}
    return client.chat.completions.create(model=model, messages=messages, **options)


def _openai_tools(url: str, model: str) -> None:
    tools = [{"type": "function", "function": _FUNCTION}]
    message = _openai(url, model, tools=tools).choices[0].message
    result = {"role": "tool", "tool_call_id": message.tool_calls[0].id, "content": "found"}
    _openai(url, model, [*_ASKED, message, result], tools=tools)


def _anthropic(url: str, model: str, messages: list[Any] = _ASKED, **options: Any) -> Any:
    client = wrap_client(makers.anthropic(url).with_options(max_retries=0))
    return client.messages.create(model=model, max_tokens=99, messages=messages, **options)


def _anthropic_tools(url: str, model: str) -> None:
    tools = [{"name": "lookup", "input_schema": _SCHEMA}]
    content = _anthropic(url, model, tools=tools).content
    result = {"type": "tool_result", "tool_use_id": content[0].id, "content": "found"}
    turns = [{"role": "assistant", "content": content}, {"role": "user", "content": [result]}]
    _anthropic(url, model, [*_ASKED, *turns], tools=tools)


_BEDROCK_ASKED = [{"role": "user", "content": [{"text": "Hi"}]}]


def _bedrock(url: str, model: str, messages: list[Any] = _BEDROCK_ASKED, **options: Any) -> Any:
    return wrap_client(makers.bedrock(url)).converse(modelId=model, messages=messages, **options)


def _bedrock_stream(url: str, model: str) -> Any:
    return wrap_client(makers.bedrock(url)).converse_stream(modelId=model, messages=_BEDROCK_ASKED)["stream"]


def _bedrock_tools(url: str, model: str) -> None:
    tools = {"tools": [{"toolSpec": {"name": "lookup", "inputSchema": {"json": _SCHEMA}}}]}
    message = _bedrock(url, model, toolConfig=tools)["output"]["message"]
    result = {"toolUseId": message["content"][0]["toolUse"]["toolUseId"], "content": [{"text": "found"}]}
    turn = {"role": "user", "content": [{"toolResult": result}]}
    _bedrock(url, model, [*_BEDROCK_ASKED, message, turn], toolConfig=tools)


def _genai(url: str, model: str, contents: Any = "Hi", **options: Any) -> Any:
    return wrap_client(makers.genai(url)).models.generate_content(model=model, contents=contents, **options)


def _genai_stream(url: str, model: str) -> Any:
    return wrap_client(makers.genai(url)).models.generate_content_stream(model=model, contents="Hi")


def _genai_tools(url: str, model: str) -> None:
    from google.genai import types

    config = {"tools": [{"function_declarations": [{"name": "lookup"}]}]}
    content = _genai(url, model, config=config).candidates[0].content
    result = types.Part.from_function_response(name="lookup", response={"result": "found"})
    turns = [types.UserContent("Hi"), content, types.UserContent(result)]
    _genai(url, model, turns, config=config)


def _mistral(url: str, model: str, messages: list[Any] = _ASKED, **options: Any) -> Any:
    return wrap_client(makers.mistral(url)).chat.complete(model=model, messages=messages, **options)


def _mistral_stream(url: str, model: str) -> Any:
    return wrap_client(makers.mistral(url)).chat.stream(model=model, messages=_ASKED)


def _mistral_tools(url: str, model: str) -> None:
    tools = [{"type": "function", "function": _FUNCTION}]
    message = _mistral(url, model, tools=tools).choices[0].message
    result = {"role": "tool", "tool_call_id": message.tool_calls[0].id, "content": "found"}
    _mistral(url, model, [*_ASKED, message, result], tools=tools)


STACKS = (
    Stack(
        name="openai",
        package="openai",
        whole=_openai,
        stream=lambda url, model: list(_openai(url, model, stream=True)),
        tools=_openai_tools,
        leave=lambda url, model: _leave(_openai(url, model, stream=True), lambda chunk: chunk.choices[0].finish_reason),
    ),
    Stack(
        name="anthropic",
        package="anthropic",
        whole=_anthropic,
        stream=lambda url, model: list(_anthropic(url, model, stream=True)),
        tools=_anthropic_tools,
        leave=lambda url, model: _leave(
            _anthropic(url, model, stream=True), lambda event: event.type == "message_delta"
        ),
    ),
    Stack(
        name="bedrock",
        package="boto3",
        whole=_bedrock,
        stream=lambda url, model: list(_bedrock_stream(url, model)),
        tools=_bedrock_tools,
        leave=lambda url, model: _leave(_bedrock_stream(url, model), lambda event: "messageStop" in event),
        exceptions={"model": "Bedrock does not name the model in its responses."},
    ),
    Stack(
        name="google-genai",
        package="google.genai",
        whole=_genai,
        stream=lambda url, model: list(_genai_stream(url, model)),
        tools=_genai_tools,
        leave=lambda url, model: _leave(_genai_stream(url, model), lambda chunk: chunk.candidates[0].finish_reason),
    ),
    Stack(
        name="mistral",
        package="mistralai",
        whole=_mistral,
        stream=lambda url, model: list(_mistral_stream(url, model)),
        tools=_mistral_tools,
        leave=lambda url, model: _leave(_mistral_stream(url, model), lambda event: event.data.choices[0].finish_reason),
    ),
)
