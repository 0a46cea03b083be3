"""OpenAI's chat completions, and what its requests share with others'."""

from __future__ import annotations

from typing import Any

from .._values import get, is_list, items, plain_json, text, to_json
from .conversation import Call, Conversation, Format, Image, Tool, Turn
from .documents import document_in, has_recording
from .images import image_in


def from_chat(request: Any) -> Conversation:
    """Return a chat completion's request as a conversation."""
    turns: list[Turn] = []
    called: dict[str, str] = {}
    for message in items(get(request, "messages")):
        role = text(get(message, "role"))
        calls = []
        names: dict[str, str] = {}
        for call in items(get(message, "tool_calls")):
            function = get(call, "function", "custom")
            calls.append(Call(text(get(function, "name")), to_json(get(function, "arguments", "input"))))
            names[text(get(call, "id"))] = calls[-1].name
        if len(calls) == 1:  # results of calls made at once do not carry the function's name
            called.update(names)
        function = get(message, "function_call")
        if function is not None:
            calls.append(Call(text(get(function, "name")), to_json(get(function, "arguments"))))
        is_result = role in ("tool", "function")
        name = text(get(message, "name"))
        turns.append(
            Turn(
                role=role,
                text=content_text(get(message, "content")),
                pages=content_pages(get(message, "content")),
                name="" if is_result else name,
                calls=tuple(calls),
                result_of=called.get(text(get(message, "tool_call_id"))) if is_result else None,
                images=content_images(get(message, "content")),
            )
        )
    tools = [*(get(tool, "function") for tool in items(get(request, "tools"))), *items(get(request, "functions"))]
    schema = get(get(request, "response_format"), "json_schema")
    choice = get(request, "tool_choice", "function_call")
    return Conversation(
        turns=turns,
        tools=[tool_of(tool) for tool in tools if tool is not None],
        format=format_of(schema) if schema is not None else None,
        forced=text(get(get(choice, "function"), "name")) or text(get(choice, "name")),
        hides=any(has_recording(get(message, "content")) for message in items(get(request, "messages"))),
    )


def content_text(content: Any) -> str:
    """Return the text of a message's content, which is a string or a list of parts."""
    if not is_list(content):
        return text(content)
    return "".join(text(part) or text(get(part, "text", "refusal")) or document_in(part)[0] for part in items(content))


def content_images(content: Any) -> tuple[Image, ...]:
    """Return the images in a message's content."""
    found = (image_in(part) for part in items(content))
    return tuple(image for image in found if image is not None)


def content_pages(content: Any) -> int:
    """Return the pages of the documents in a message's content."""
    return sum(document_in(part)[1] for part in items(content))


def tool_of(tool: Any) -> Tool:
    """Return a function as OpenAI describes it, or an MCP server."""
    parameters = plain_json(get(tool, "parameters", "input_schema"))
    return Tool(text(get(tool, "name")), text(get(tool, "description")), parameters)


def format_of(schema: Any) -> Format:
    """Return the answer's schema as OpenAI describes it."""
    return Format(text(get(schema, "name")), text(get(schema, "description")), plain_json(get(schema, "schema")))
