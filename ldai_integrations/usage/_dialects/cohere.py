"""Cohere's chat v1 and v2, and its older generate."""

from __future__ import annotations

from .._calls import Draft
from .._values import dig, get, is_list, items, number, text, to_json

_V2_EVENTS = frozenset(
    (
        "message-start",
        "content-start",
        "content-delta",
        "content-end",
        "tool-plan-delta",
        "tool-call-start",
        "tool-call-delta",
        "tool-call-end",
        "citation-start",
        "citation-end",
        "message-end",
    )
)
_V1_EVENTS = ("stream-start", "tool-calls-generation", "tool-calls-chunk", "citation-generation", "search-results")


def absorb(event: object, draft: Draft) -> bool:
    """Read a Cohere response or an event of its stream."""
    kind = text(get(event, "type"))
    if kind in _V2_EVENTS:
        _v2_event(kind, event, draft)
        return True
    kind = text(get(event, "event_type"))
    if kind == "stream-end":
        response = get(event, "response")
        _frame(response, draft)
        if not draft.call.has_content:
            _v1(response, draft)
    elif kind == "text-generation" or kind in _V1_EVENTS or (kind == "" and get(event, "is_finished") is False):
        draft.add_text(get(event, "text"))
    else:
        return _whole(event, draft)
    return True


def _v2_event(kind: str, event: object, draft: Draft) -> None:
    if kind == "message-start":
        draft.begin(get(event, "id"), anew=True)
        draft.identify(get(event, "id"))
    delta = get(event, "delta")
    draft.count(get(delta, "usage"))
    draft.finish(get(delta, "finish_reason"))
    message = get(delta, "message")
    call, content = get(message, "tool_calls"), get(message, "content")
    if call is not None and not is_list(call):
        function = get(call, "function")
        draft.call_tool(number(get(event, "index")) or 0, get(function, "name"), get(function, "arguments"))
    elif content is None or is_list(content):
        draft.add_reasoning(get(message, "tool_plan"))
    else:
        draft.add_text(get(content, "text")) or draft.add_reasoning(get(content, "thinking"))


def _whole(event: object, draft: Draft) -> bool:
    generations, message = get(event, "generations"), get(event, "message")
    if is_list(generations) and get(event, "id") is not None:
        _frame(event, draft, whole=True)
        for position, generation in enumerate(items(generations)):
            draft.finish(get(generation, "finish_reason"), position)
            draft.add_text(get(generation, "text"))
        return True
    if get(event, "generation_id", "response_id") is not None and get(event, "text") is not None:
        _frame(event, draft, whole=True)
        _v1(event, draft)
        return True
    content, calls = get(message, "content"), get(message, "tool_calls")
    if get(event, "finish_reason") is None or not (is_list(content) or is_list(calls)):
        return False
    _frame(event, draft, whole=True)
    draft.add_reasoning(get(message, "tool_plan"))
    for part in items(content):
        draft.add_text(get(part, "text")) or draft.add_reasoning(get(part, "thinking"))
    for call in items(calls):
        draft.call_tool(None, dig(call, "function.name"), dig(call, "function.arguments"))
    return True


def _frame(response: object, draft: Draft, *, whole: bool = False) -> None:
    name = get(response, "id", "response_id", "generation_id")
    if whole:
        draft.begin(name, whole=True)
    draft.identify(name)
    draft.count(get(response, "usage")) or draft.count(get(response, "meta"))
    draft.finish(get(response, "finish_reason"))


def _v1(response: object, draft: Draft) -> None:
    draft.add_text(get(response, "text"))
    for call in items(get(response, "tool_calls")):
        draft.call_tool(None, get(call, "name"), to_json(get(call, "parameters")))
