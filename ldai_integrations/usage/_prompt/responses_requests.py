"""Requests of OpenAI's Responses API, whose input is a list of items of many kinds."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from .._values import dig, get, is_record, items, text, to_json
from .conversation import Call, Conversation, Tool, Turn
from .documents import has_recording
from .images import image_in
from .openai_requests import content_images, content_pages, content_text, format_of, tool_of

# With one of these the provider has what came before, and the request shows only what is new.
_KEPT_BY_THE_PROVIDER = ("previous_response_id", "conversation", "prompt")
_CALLS = ("function_call", "custom_tool_call")
_RESULTS = ("function_call_output", "custom_tool_call_output")
# What an item of a hosted tool says of itself; what the tool found is there only where the request once asked for it.
_OF_HOSTED_TOOLS = (
    "name",
    "arguments",
    "code",
    "queries",
    "action",
    "operation",
    "output",
    "outputs",
    "results",
    "error",
)
_DATE = re.compile(r"_\d{4}_\d\d_\d\d$")


def from_responses(request: Any) -> Conversation:
    """Return a Responses API request as a conversation; an empty one where the provider keeps what came before."""
    given = get(request, "input")
    listed = list(items(given))
    if _is_kept(request) or "item_reference" in map(_kind, listed):
        return Conversation()
    turns: list[Turn] = []
    instructions = text(get(request, "instructions"))
    if instructions:
        turns.append(Turn("developer", instructions))
    if text(given):
        turns.append(Turn("user", text(given)))
    turns.extend(_turns(listed))
    tools, hosted = _tools([*items(get(request, "tools")), *(one for one in listed if _kind(one) == "mcp_list_tools")])
    schema, choice = dig(request, "text.format"), get(request, "tool_choice")
    return Conversation(
        turns=turns,
        tools=tools,
        hosted_tools=tuple(hosted),
        format=format_of(schema) if text(get(schema, "type")) == "json_schema" else None,
        forced=text(get(choice, "name")) if text(get(choice, "type")) == "function" else "",
        reasonings=_reasonings(listed),
        hides=any(_is_hosted(_kind(item)) or has_recording(get(item, "content")) for item in listed),
    )


def _is_kept(request: Any) -> bool:
    """Tell whether the provider has what came before; a library's own mark for "not given" is neither text nor dict."""
    kept = (get(request, name) for name in _KEPT_BY_THE_PROVIDER)
    return any(text(one) or is_record(one) for one in kept)


def _kind(item: Any) -> str:
    return text(get(item, "type")) or "message"


def _is_hosted(kind: str) -> bool:
    return kind.endswith(("_call", "_call_output")) and kind not in (*_CALLS, *_RESULTS)


def _turns(listed: list[Any]) -> list[Turn]:
    """Return a turn for each item; calls that stand together were made at once, and are one."""
    turns: list[Turn] = []
    called: dict[str, str] = {}
    together = False
    for item in listed:
        turn = _turn(item, called)
        if turn is not None and turn.calls and together:
            turns[-1] = replace(turns[-1], calls=turns[-1].calls + turn.calls)
        elif turn is not None:
            turns.append(turn)
        together = turn is not None and bool(turn.calls)
    return turns


def _turn(item: Any, called: dict[str, str]) -> Turn | None:
    kind = _kind(item)
    if kind == "message":
        content = get(item, "content")
        images, pages = content_images(content), content_pages(content)
        return Turn(text(get(item, "role")), content_text(content), images=images, pages=pages)
    if kind in _CALLS:
        name = text(get(item, "name"))
        called[text(get(item, "call_id"))] = name
        return Turn("assistant", calls=(Call(name, to_json(get(item, "arguments", "input"))),))
    if kind in _RESULTS:
        output = get(item, "output")
        name = called.get(text(get(item, "call_id")), "")
        return Turn("tool", content_text(output), result_of=name, images=content_images(output))
    if not _is_hosted(kind):
        return None  # of reasoning the request shows no more than that there is some
    screenshot = image_in(get(item, "output"))
    if screenshot is not None:
        return Turn("tool", images=(screenshot,))
    return Turn("assistant", "\n".join(filter(None, (to_json(get(item, name)) for name in _OF_HOSTED_TOOLS))))


def _reasonings(listed: list[Any]) -> int:
    """Count the model's reasonings since a user spoke last; earlier ones are not put before it again.

    Source: OpenAI, Reasoning models, 2026-11; recorded requests bear it out for the earlier ones.
    """
    count = 0
    for item in listed:
        if text(get(item, "role")) == "user":
            count = 0
        count += _kind(item) == "reasoning"
    return count


def _tools(listed: Iterable[Any]) -> tuple[list[Tool], list[str]]:
    """Return the functions, those of namespaces and of MCP servers that were asked for theirs too, and other tools."""
    tools: list[Tool] = []
    hosted: list[str] = []
    for tool in listed:
        kind, inner = _kind(tool), get(tool, "tools")
        if kind == "function":
            tools.append(tool_of(tool))
        elif kind == "custom":
            words = (text(get(tool, "description")), text(dig(tool, "format.definition")))
            tools.append(Tool(text(get(tool, "name")), "\n".join(filter(None, words))))
        elif inner is not None:
            tools.extend(map(tool_of, items(inner)))
        else:
            hosted.append(_DATE.sub("", kind))
    return tools, hosted
