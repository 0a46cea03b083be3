"""Requests of Anthropic's Messages, Bedrock's Converse and Gemini's generateContent."""

from __future__ import annotations

from typing import Any

from .._values import dig, get, is_list, items, plain_json, text, to_json
from .conversation import Call, Conversation, Format, Tool, Turn
from .documents import has_recording
from .openai_requests import content_images, content_pages, content_text


def from_messages(request: Any) -> Conversation:
    """Return an Anthropic request as a conversation."""
    turns = [Turn("system", content_text(get(request, "system")))] if get(request, "system") is not None else []
    for message in items(get(request, "messages")):
        content = get(message, "content")
        calls, results = [], []
        for block in items(content):
            kind = text(get(block, "type"))
            if kind == "tool_use":
                calls.append(Call(text(get(block, "name")), to_json(get(block, "input"))))
            elif kind == "tool_result":
                results.append(content_text(get(block, "content")))
        words = "".join((content_text(content), *results))
        turns.append(
            Turn(
                text(get(message, "role")),
                words,
                calls=tuple(calls),
                images=content_images(content),
                pages=content_pages(content),
            )
        )
    tools = [
        Tool(text(get(tool, "name")), text(get(tool, "description")), plain_json(get(tool, "input_schema")))
        for tool in items(get(request, "tools"))
    ]
    hosted = (text(get(tool, "type")) for tool in items(get(request, "tools")) if get(tool, "input_schema") is None)
    answer = dig(request, "output_config.format", "output_format")
    schema = plain_json(get(answer, "schema"))
    kind = text(dig(request, "tool_choice.type"))
    return Conversation(
        turns,
        tools,
        hosted_tools=tuple(hosted),
        format=Format("", "", schema) if schema is not None else None,
        forced=kind if kind in ("any", "tool") else "",
        thinks=text(dig(request, "thinking.type")) == "enabled",
    )


def from_converse(request: Any) -> Conversation:
    """Return a Converse request as a conversation."""
    system = "".join(text(get(block, "text")) for block in items(get(request, "system")))
    turns = [Turn("system", system)] if system else []
    for message in items(get(request, "messages")):
        content = get(message, "content")
        words, calls = [content_text(content)], []
        for block in items(content):
            words.append(text(dig(block, "guardContent.text.text")))
            call = get(block, "toolUse")
            if call is not None:
                calls.append(Call(text(get(call, "name")), to_json(get(call, "input"))))
            results = items(dig(block, "toolResult.content"))
            words.extend(text(get(part, "text")) or to_json(get(part, "json")) for part in results)
        turns.append(
            Turn(
                text(get(message, "role")),
                "".join(words),
                calls=tuple(calls),
                images=content_images(content),
                pages=content_pages(content),
            )
        )
    specs = [get(tool, "toolSpec") for tool in items(dig(request, "toolConfig.tools"))]
    tools = [
        Tool(text(get(spec, "name")), text(get(spec, "description")), plain_json(dig(spec, "inputSchema.json")))
        for spec in specs
        if spec is not None
    ]
    choice = dig(request, "toolConfig.toolChoice")
    thinking = dig(request, "additionalModelRequestFields.thinking", "additionalModelRequestFields.reasoning_config")
    return Conversation(
        turns,
        tools,
        forced="any" if get(choice, "any", "tool") is not None else "",
        thinks=text(get(thinking, "type")) == "enabled",
    )


def from_generate(request: Any) -> Conversation:
    """Return a generateContent request as a conversation."""
    turns: list[Turn] = []
    instruction = dig(request, "systemInstruction", "system_instruction", "config.system_instruction")
    if instruction is not None:
        turns.append(_gemini_turn("system", instruction))
    contents = get(request, "contents")
    contents = [contents] if text(contents) else list(items(contents))
    turns.extend(_gemini_turn(text(get(content, "role")), content) for content in contents)
    tools = []
    for group in items(dig(request, "tools", "config.tools")):
        for function in items(get(group, "functionDeclarations", "function_declarations")):
            parameters = get(function, "parameters", "parametersJsonSchema", "parameters_json_schema")
            tools.append(Tool(text(get(function, "name")), text(get(function, "description")), plain_json(parameters)))
    return Conversation(turns, tools, hides=any(has_recording(get(content, "parts")) for content in contents))


def _gemini_turn(role: str, content: Any) -> Turn:
    parts = get(content, "parts")
    if not is_list(parts):
        parts = [parts if parts is not None else content]
    words, calls = [content_text(parts)], []
    for part in items(parts):
        call = get(part, "functionCall", "function_call")
        if call is not None:
            calls.append(Call(text(get(call, "name")), to_json(get(call, "args"))))
        result = get(part, "functionResponse", "function_response")
        if result is not None:
            words.append(text(get(result, "name")) + to_json(get(result, "response")))
    return Turn(role, "".join(words), calls=tuple(calls), images=content_images(parts), pages=content_pages(parts))
