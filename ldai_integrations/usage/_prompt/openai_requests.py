"""OpenAI's requests: chat completions, and the Responses API."""

from __future__ import annotations

from typing import Any

from .._values import get, is_list, items, plain_json, text, to_json
from .conversation import Call, Conversation, Format, Image, Tool, Turn
from .documents import document_in
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
        tools=[_tool(tool) for tool in tools if tool is not None],
        format=_format(schema) if schema is not None else None,
        forced=text(get(get(choice, "function"), "name")) or text(get(choice, "name")),
    )


def from_responses(request: Any) -> Conversation:
    """Return a Responses API request as a conversation."""
    turns: list[Turn] = []
    called: dict[str, str] = {}
    instructions, given = text(get(request, "instructions")), get(request, "input")
    if instructions:
        turns.append(Turn("developer", instructions))
    if text(given):
        turns.append(Turn("user", text(given)))
    for item in items(given):
        turn = _item(item, called)
        if turn is not None:
            turns.append(turn)
    tools, hosted = [], []
    for tool in items(get(request, "tools")):
        kind = text(get(tool, "type"))
        if kind == "function":
            tools.append(_tool(tool))
        else:
            hosted.append(kind)
    schema = get(get(request, "text"), "format")
    choice = get(request, "tool_choice")
    return Conversation(
        turns=turns,
        tools=tools,
        hosted_tools=tuple(hosted),
        format=_format(schema) if text(get(schema, "type")) == "json_schema" else None,
        forced=text(get(choice, "name")) if text(get(choice, "type")) == "function" else "",
    )


def _item(item: Any, called: dict[str, str]) -> Turn | None:
    kind = text(get(item, "type")) or "message"
    if kind == "message":
        content = get(item, "content")
        images, pages = content_images(content), content_pages(content)
        return Turn(text(get(item, "role")), content_text(content), images=images, pages=pages)
    if kind == "function_call":
        name = text(get(item, "name"))
        called[text(get(item, "call_id"))] = name
        return Turn("assistant", calls=(Call(name, to_json(get(item, "arguments"))),))
    if kind == "function_call_output":
        output = get(item, "output")
        return Turn("tool", content_text(output), result_of=called.get(text(get(item, "call_id")), ""))
    return None  # reasoning and hosted tools' items are not charged by what the request shows of them


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


def _tool(tool: Any) -> Tool:
    return Tool(text(get(tool, "name")), text(get(tool, "description")), plain_json(get(tool, "parameters")))


def _format(schema: Any) -> Format:
    return Format(text(get(schema, "name")), text(get(schema, "description")), plain_json(get(schema, "schema")))
