"""OpenAI's Responses and Realtime APIs, whole and as a stream of typed events."""

from __future__ import annotations

from typing import Any

from .._draft import Draft
from .._values import get, items, number, text

_TEXT = (
    "response.output_text.delta",
    "response.refusal.delta",
    "response.output_audio_transcript.delta",
    "response.audio_transcript.delta",
    "response.text.delta",
    "transcript.text.delta",
)
_REASONING = ("response.reasoning_summary_text.delta", "response.reasoning_text.delta")
_ARGUMENTS = ("response.function_call_arguments.delta", "response.custom_tool_call_input.delta")
_CALLS = ("function_call", "custom_tool_call")
_LAST = ("response.completed", "response.incomplete", "response.failed", "response.done")
_OBJECTS = ("response", "realtime.response")
_FRAMES = ("response.created", "response.in_progress", "response.queued", *_LAST)


def absorb(event: Any, draft: Draft) -> bool | None:
    """Take a response or an event of one; ``None`` if it is neither."""
    kind = text(get(event, "type"))
    is_event = kind in _TEXT or kind.startswith("response.")
    if not is_event and text(get(event, "object")) not in _OBJECTS:
        return None
    draft.api = "responses"
    if not is_event:
        _frame(event, draft)
        return _output(event, draft)
    if kind in _TEXT:
        return draft.say(get(event, "delta"))
    if kind in _REASONING:
        return draft.think(get(event, "delta"))
    if kind in _ARGUMENTS:
        return draft.call(_key(event), None, get(event, "delta"))
    if kind in _FRAMES:
        return _frame_event(kind, get(event, "response"), draft)
    item = get(event, "item") if kind == "response.output_item.added" else None
    if text(get(item, "type")) not in _CALLS:
        return False
    return draft.call(_key(event), get(item, "name"), get(item, "arguments", "input"))


def _frame_event(kind: str, response: Any, draft: Draft) -> bool:
    if kind == "response.created":  # openai-agents gives every response of other providers the same id
        draft.begin(get(response, "id"), anew=True)
    _frame(response, draft)
    return kind in _LAST and not draft.has_content and _output(response, draft)


def _key(event: Any) -> Any:
    index = number(get(event, "output_index"))
    return index if index is not None else text(get(event, "item_id"))


def _frame(response: Any, draft: Draft) -> None:
    draft.begin(get(response, "id"))
    draft.identify(get(response, "id"))
    draft.name_model(get(response, "model"))
    draft.count(get(response, "usage"))
    error = get(response, "error")
    if error is not None:
        draft.fail(error)
    status = text(get(response, "status"))
    if status not in ("in_progress", "queued"):
        draft.finish(get(get(response, "incomplete_details"), "reason") or status)


def _output(response: Any, draft: Draft) -> bool:
    spoke = False
    for position, item in enumerate(items(get(response, "output"))):
        kind = text(get(item, "type"))
        if kind in _CALLS:
            spoke |= draft.call(position, get(item, "name"), get(item, "arguments", "input"))
        elif kind == "reasoning":
            for part in items(get(item, "summary")):
                spoke |= draft.think(get(part, "text"))
        else:
            for part in items(get(item, "content")):
                spoke |= draft.say(get(part, "text", "refusal", "transcript"))
    return spoke
