"""Anthropic's Messages API, also through Bedrock and Vertex."""

from __future__ import annotations

from typing import Any

from .._calls import Draft
from .._values import fields_of, get, is_list, items, number, text, to_json

_EVENTS = frozenset(
    (
        "message_start",
        "message_delta",
        "message_stop",
        "content_block_start",
        "content_block_delta",
        "content_block_stop",
        "ping",
    )
)
_CALLS = ("tool_use", "server_tool_use", "mcp_tool_use")


def absorb(event: Any, draft: Draft) -> bool:
    """Read a message or an event of one."""
    event = fields_of(event)
    kind = text(event.get("type"))
    if kind in _EVENTS:
        _event(kind, event, draft)
        return True
    content = get(event, "content")
    if not (kind == "message" or get(event, "stop_reason") is not None) or not is_list(content):
        return False
    repeats = draft.begin(get(event, "id"), whole=True) and draft.call.has_content
    _frame(event, draft)
    draft.finish(get(event, "stop_reason"))
    for block in items(content) if not repeats else ():
        _block(None, block, draft)
    return True


def _event(kind: str, event: Any, draft: Draft) -> None:
    if kind == "content_block_delta":
        delta = fields_of(event.get("delta"))
        if not (draft.add_text(get(delta, "text")) or draft.add_reasoning(get(delta, "thinking"))):
            draft.call_tool(number(get(event, "index")) or 0, None, get(delta, "partial_json"))
    elif kind == "content_block_start":
        _block(number(get(event, "index")) or 0, get(event, "content_block"), draft)
    elif kind == "message_start":
        message = get(event, "message")
        draft.begin(get(message, "id"), anew=True)
        _frame(message, draft, begun=True)
    elif kind == "message_delta":
        draft.count(get(event, "usage"))
        draft.price(event)
        draft.finish(get(get(event, "delta"), "stop_reason"))
    elif kind == "message_stop":
        draft.call.closed = True


def _frame(message: object, draft: Draft, *, begun: bool = False) -> None:
    draft.identify(get(message, "id"))
    draft.name_model(get(message, "model"))
    draft.count(get(message, "usage"), begun=begun)
    draft.price(message)


def _block(key: int | None, block: object, draft: Draft) -> None:
    """Read a content block; at the start of a streamed block the arguments are empty."""
    if text(get(block, "type")) in _CALLS:
        arguments = to_json(get(block, "input"))
        draft.call_tool(key, get(block, "name"), "" if key is not None and arguments == "{}" else arguments)
    else:
        draft.add_text(get(block, "text")) or draft.add_reasoning(get(block, "thinking"))
