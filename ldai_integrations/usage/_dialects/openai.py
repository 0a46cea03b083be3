"""OpenAI's chat completions, completions, Responses and Realtime APIs, and everything with the same shape."""

from __future__ import annotations

from typing import Any

from ..._diagnostics import raise_if_from_signal
from .._calls import Call, Draft
from .._values import fields_of, get, is_list, items, number, text

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
    if words := _only_text(event, draft.call):  # in most chunks of a stream
        draft.call.text.add(words)
        return True
    event = fields_of(event)
    choices = event.get("choices")
    if type(choices) is not list and not is_list(choices):
        return None
    name = text(event.get("id"))
    choices = [fields_of(choice) for choice in items(choices)]
    is_chunk = text(event.get("object")) == "chat.completion.chunk"
    is_whole = not is_chunk and any(choice.get("message") is not None for choice in choices)
    if is_whole:
        draft.begin(name, whole=True)
    elif choices and name not in draft.call.ids:
        draft.begin_next()  # an id may change within a stream, but not after the end of an answer
    # The last frame of some streams contains the whole answer again.
    repeats = is_whole and draft.call.has_content
    if not draft.call.ids:
        draft.identify(name)
    draft.name_model(event.get("model"))
    usage = event.get("usage")
    if usage is None and (groq := event.get("x_groq")) is not None:
        usage = get(groq, "usage")
    draft.count(usage)
    draft.fail(event.get("error"))
    spoke = False
    for position, choice in enumerate(choices):
        spoke |= _choice(choice, position, draft, repeats=repeats)
    return spoke


def _only_text(chunk: Any, call: Call) -> str:
    """Return the text of a later chunk of openai's library; empty if there may be anything else to read in it."""
    if type(chunk) is dict or not call.ids or call.finished_at:
        return ""
    try:
        choices = chunk.choices
        if len(choices) != 1:
            return ""
        choice = choices[0]
        delta = choice.delta
        has_unknown = chunk.__pydantic_extra__ or choice.__pydantic_extra__ or delta.__pydantic_extra__
        has_call = not (delta.tool_calls is delta.function_call is None)
        has_rest = has_call or has_unknown or not (chunk.usage is choice.finish_reason is delta.refusal is None)
        if not has_rest and chunk.model == call.model and type(delta.content) is str:
            return delta.content
    except AttributeError:  # another library's object
        return ""
    except Exception as exc:  # a property may raise anything
        raise_if_from_signal(exc)
    return ""


def _choice(choice: Any, position: int, draft: Draft, *, repeats: bool) -> bool:
    draft.count(choice.get("usage"))  # Moonshot's streams
    draft.fail(choice.get("error"))
    place = choice.get("index")
    index = place if type(place) is int else position
    draft.finish(choice.get("finish_reason"), index)
    part = choice.get("delta")
    part = choice.get("message") if part is None else part
    if repeats:
        return False
    if part is None:
        return draft.add_text(choice.get("text"))
    part = fields_of(part)
    content = part.get("content")
    spoke = _parts(content, draft) if is_list(content) else draft.add_text(content)
    spoke |= draft.add_text(part.get("refusal"))
    spoke |= draft.add_reasoning(part.get("reasoning_content")) or draft.add_reasoning(part.get("reasoning"))
    for number_of_call, call in enumerate(items(part.get("tool_calls"))):
        place = number(get(call, "index"))
        function = get(call, "function", "custom")
        key = (index, number_of_call if place is None else place)
        spoke |= draft.call_tool(key, get(function, "name"), get(function, "arguments", "input"))
    function = part.get("function_call")
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
    event = fields_of(event)
    kind = text(event.get("type"))
    is_event = kind in _TEXT or kind.startswith("response.")
    if not is_event and text(event.get("object")) not in _OBJECTS:
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
    draft.fail(get(response, "error"))
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
