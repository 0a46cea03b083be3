"""OpenAI's chat completions, completions, Responses and Realtime APIs, and everything with the same shape."""

from __future__ import annotations

from typing import Any

from .._calls import Draft
from .._values import fields_of, get, is_list, items, number, text

# What a chunk of text may contain besides: the chunk, its choice and the delta in it.
_BESIDE = (
    ("usage", "x_groq", "error"),
    ("finish_reason", "usage", "error", "message"),
    ("refusal", "reasoning_content", "reasoning", "tool_calls", "function_call"),
)

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


# Chat completions


def absorb_chat(event: Any, draft: Draft) -> bool | None:
    """Read a completion or a chunk of one; return ``None`` if it is neither."""
    event = fields_of(event)
    choices = get(event, "choices")
    if not is_list(choices):
        return None
    if said := _text_of_later_chunk(event, choices, draft):
        return draft.add_text(said)
    name = get(event, "id")
    is_chunk = text(get(event, "object")) == "chat.completion.chunk"
    is_whole = not is_chunk and any(get(choice, "message") is not None for choice in items(choices))
    repeats = False
    if is_whole:
        draft.begin(name, whole=True)
        repeats = draft.call.has_content  # the last frame of some streams contains the whole answer again
    elif len(choices) and text(name) not in draft.call.ids:
        draft.begin_next()  # an id may change within a stream, but not after the end of an answer
    if not draft.call.ids:
        draft.identify(name)
    draft.name_model(get(event, "model"))
    usage = get(event, "usage")
    if usage is None:
        usage = get(get(event, "x_groq"), "usage")
    if usage is not None:
        draft.count(usage)
    error = get(event, "error")
    if error is not None:
        draft.fail(error)
    spoke = False
    for position, choice in enumerate(items(choices)):
        spoke |= _choice(fields_of(choice), position, draft, repeats=repeats)
    return spoke


def _text_of_later_chunk(event: Any, choices: Any, draft: Draft) -> str:
    """Return the text of a chunk that contains nothing else and is not the first, as most chunks; else no text."""
    if type(event) is not dict or type(choices) is not list or len(choices) != 1 or not draft.call.ids:
        return ""
    model = event.get("model")
    if type(model) is not str or model != draft.call.model or draft.call.finished_at:
        return ""
    choice = fields_of(choices[0])
    delta = fields_of(choice.get("delta")) if type(choice) is dict else None
    if type(delta) is not dict:
        return ""
    for part, besides in zip((event, choice, delta), _BESIDE, strict=True):
        for name in besides:
            if part.get(name) is not None:
                return ""
    content = delta.get("content")
    return content if type(content) is str else ""


def _choice(choice: Any, position: int, draft: Draft, *, repeats: bool) -> bool:
    draft.count(get(choice, "usage"))  # Moonshot's streams
    error = get(choice, "error")
    if error is not None:
        draft.fail(error)
    place = number(get(choice, "index"))
    index = position if place is None else place
    draft.finish(get(choice, "finish_reason"), index)
    part = fields_of(get(choice, "delta", "message"))
    if repeats:
        return False
    if part is None:
        return draft.add_text(get(choice, "text"))
    content = get(part, "content")
    spoke = _parts(content, draft) if is_list(content) else draft.add_text(content)
    spoke |= draft.add_text(get(part, "refusal"))
    spoke |= draft.add_reasoning(get(part, "reasoning_content", "reasoning"))
    for number_of_call, call in enumerate(items(get(part, "tool_calls"))):
        place = number(get(call, "index"))
        function = get(call, "function", "custom")
        key = (index, number_of_call if place is None else place)
        spoke |= draft.call_tool(key, get(function, "name"), get(function, "arguments", "input"))
    function = get(part, "function_call")
    if function is not None:
        spoke |= draft.call_tool((index, "function"), get(function, "name"), get(function, "arguments"))
    return spoke


def _parts(content: Any, draft: Draft) -> bool:
    """Read content in parts, as Mistral sends it for reasoning models."""
    spoke = False
    for part in items(content):
        spoke |= draft.add_text(get(part, "text"))
        thinking = get(part, "thinking")
        for thought in items(thinking) if is_list(thinking) else (thinking,):
            spoke |= draft.add_reasoning(thought) or draft.add_reasoning(get(thought, "text"))
    return spoke


# Responses


def absorb_response(event: Any, draft: Draft) -> bool | None:
    """Read a response or an event of one; return ``None`` if it is neither."""
    kind = text(get(event, "type"))
    is_event = kind in _TEXT or kind.startswith("response.")
    if not is_event and text(get(event, "object")) not in _OBJECTS:
        return None
    draft.api = "responses"
    if not is_event:
        repeats = draft.begin(get(event, "id"), whole=True) and draft.call.has_content
        _frame(event, draft)
        return not repeats and absorb_output(get(event, "output"), draft)
    if kind in _TEXT:
        return draft.add_text(get(event, "delta"))
    if kind in _REASONING:
        return draft.add_reasoning(get(event, "delta"))
    if kind in _ARGUMENTS:
        return draft.call_tool(_key(event), None, get(event, "delta"))
    if kind in _FRAMES:
        response = get(event, "response")
        # openai-agents gives every response of other providers the same id.
        draft.begin(get(response, "id"), anew=kind == "response.created")
        _frame(response, draft)
        draft.call.closed |= kind in _LAST
        return kind in _LAST and not draft.call.has_content and absorb_output(get(response, "output"), draft)
    item = get(event, "item") if kind == "response.output_item.added" else None
    if text(get(item, "type")) not in _CALLS:
        return False
    return draft.call_tool(_key(event), get(item, "name"), get(item, "arguments", "input"))


def _key(event: Any) -> Any:
    index = number(get(event, "output_index"))
    return index if index is not None else text(get(event, "item_id"))


def _frame(response: Any, draft: Draft) -> None:
    draft.identify(get(response, "id"))
    draft.name_model(get(response, "model"))
    draft.count(get(response, "usage"))
    error = get(response, "error")
    if error is not None:
        draft.fail(error)
    status = text(get(response, "status"))
    if status not in ("in_progress", "queued"):
        draft.finish(get(get(response, "incomplete_details"), "reason") or status)


def absorb_output(output: Any, draft: Draft) -> bool:
    """Read the items that a response contains; return whether they have text, reasoning or a tool call."""
    spoke = False
    for position, item in enumerate(items(output)):
        kind = text(get(item, "type"))
        if kind in _CALLS:
            spoke |= draft.call_tool(position, get(item, "name"), get(item, "arguments", "input"))
        elif kind == "reasoning":
            for part in items(get(item, "summary")):
                spoke |= draft.add_reasoning(get(part, "text"))
        else:
            for part in items(get(item, "content")):
                spoke |= draft.add_text(get(part, "text", "refusal", "transcript"))
    return spoke
