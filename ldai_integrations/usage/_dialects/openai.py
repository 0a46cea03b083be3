"""OpenAI's chat completions, completions, Responses and Realtime APIs, and everything with the same shape."""

from __future__ import annotations

from typing import Any

from ..._diagnostics import raise_if_from_signal
from .._calls import CallDraft, Draft
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
_OBJECTS = ("response", "realtime.response", "thread.run")
_UNFINISHED = ("in_progress", "queued", "requires_action", "cancelling")
_FRAMES = ("response.created", "response.in_progress", "response.queued", *_LAST)


# Chat completions


def absorb_chat(event: Any, draft: Draft) -> bool:
    """Read a completion or a chunk of one."""
    if words := _only_text(event, draft.call):  # in most chunks of a stream
        draft.call.text.add(words)
        draft.pieces += 1
        return True
    event = fields_of(event)
    choices = event.get("choices")
    if type(choices) is not list and not is_list(choices):
        return False
    name = text(event.get("id"))
    choices = list(map(fields_of, items(choices)))
    is_chunk = text(event.get("object")) == "chat.completion.chunk"
    is_whole = not is_chunk and len(choices) > 0 and choices[0].get("message") is not None
    if is_whole:
        draft.begin(name, whole=True)
    elif draft.call.finished_at and name not in draft.call.ids and _answers_again(choices, draft.call.choice):
        draft.begin_next()
    # The last frame of some streams contains the whole answer again.
    repeats = is_whole and draft.call.has_content
    if not draft.call.ids:
        draft.identify(name)
    draft.name_model(event.get("model"))
    draft.name_tier(event.get("service_tier"))
    usage = event.get("usage")
    if usage is None and (groq := event.get("x_groq")) is not None:
        usage = get(groq, "usage")
    draft.count(usage)
    draft.fail(event.get("error"))
    for position, choice in enumerate(choices):
        _choice(choice, position, draft, repeats=repeats)
    return True


def _answers_again(choices: list[Any], ended: int) -> bool:
    """Return whether there is an answer again for a choice that has ended.

    An id may be missing, or change within a stream: Azure reports what its filters found after the end, without one.
    """
    for position, choice in enumerate(choices):
        place, delta = choice.get("index"), fields_of(choice.get("delta"))
        if (place if type(place) is int else position) == ended and (choice.get("text") or any(delta.values())):
            return True
    return False


def _only_text(chunk: Any, call: CallDraft) -> str:
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
        content = delta.content
        if not has_rest and chunk.model == call.model and type(content) is str:
            return content
    except AttributeError:  # another library's object
        return ""
    except Exception as exc:  # a property may raise anything
        raise_if_from_signal(exc)
    return ""


def _choice(choice: Any, position: int, draft: Draft, *, repeats: bool) -> None:
    draft.count(choice.get("usage"))  # Moonshot's streams
    draft.fail(choice.get("error"))
    place = choice.get("index")
    index = place if type(place) is int else position
    draft.finish(choice.get("finish_reason"), index)
    part = choice.get("delta")
    part = choice.get("message") if part is None else part
    if repeats:
        return
    if part is None:
        draft.add_text(choice.get("text"))
        return
    part = fields_of(part)
    content = part.get("content")
    if type(content) is str or not is_list(content):
        draft.add_text(content)
    else:
        _parts(content, draft)
    draft.add_text(part.get("refusal"))
    draft.add_reasoning(part.get("reasoning_content")) or draft.add_reasoning(part.get("reasoning"))
    for number_of_call, call in enumerate(items(part.get("tool_calls"))):
        place = number(get(call, "index"))
        function = get(call, "function", "custom")
        key = (index, number_of_call if place is None else place)
        draft.call_tool(key, get(function, "name"), get(function, "arguments", "input"), get(call, "id"))
    function = part.get("function_call")
    draft.call_tool((index, "function"), get(function, "name"), get(function, "arguments"))


def _parts(content: object, draft: Draft) -> None:
    """Read content in parts, as Mistral sends it for reasoning models."""
    for part in items(content):
        draft.add_text(get(part, "text"))
        thinking = get(part, "thinking")
        for thought in items(thinking) if is_list(thinking) else (thinking,):
            draft.add_reasoning(thought) or draft.add_reasoning(get(thought, "text"))


# Responses


def absorb_response(event: Any, draft: Draft) -> bool:
    """Read a response or an event of one."""
    event = fields_of(event)
    kind = text(event.get("type"))
    if kind not in _TEXT and not kind.startswith("response."):
        return _absorb_whole(event, draft)
    draft.api = "responses"
    if kind in _TEXT:
        draft.add_text(event.get("delta"))
    elif kind in _REASONING:
        draft.add_reasoning(event.get("delta"))
    elif kind in _ARGUMENTS:
        draft.call_tool(_key(event), None, event.get("delta"))
    elif kind in _FRAMES:
        response = event.get("response")
        # openai-agents gives every response of other providers the same id.
        draft.begin(get(response, "id"), anew=kind == "response.created", ends=kind in _LAST)
        _frame(response, draft)
        draft.call.closed |= kind in _LAST
        if kind in _LAST and not draft.call.has_content:
            absorb_output(get(response, "output"), draft)
    elif kind == "response.output_item.added":
        item = event.get("item")
        if text(get(item, "type")) in _CALLS:
            draft.call_tool(_key(event), get(item, "name"), get(item, "arguments", "input"))
    return True


def _absorb_whole(response: Any, draft: Draft) -> bool:
    name = text(response.get("object"))
    if name == "thread.message.delta":
        return _absorb_message(response, draft)
    if name not in _OBJECTS:
        # The usage of an assistant's run includes that of its steps.
        return name == "thread.run.step" and bool(draft.call.ids)
    draft.api = "responses"
    repeats = draft.begin(response.get("id"), whole=True) and draft.call.has_content
    _frame(response, draft)
    if not repeats:
        absorb_output(response.get("output"), draft)
    return True


def _absorb_message(event: Any, draft: Draft) -> bool:
    """Read what an assistant adds to a message."""
    for part in items(get(event.get("delta"), "content")):
        draft.add_text(get(get(part, "text"), "value"))
    return True


def _key(event: Any) -> Any:
    index = number(event.get("output_index"))
    return index if index is not None else text(event.get("item_id"))


def _frame(response: Any, draft: Draft) -> None:
    draft.identify(get(response, "id"))
    draft.name_model(get(response, "model"))
    draft.name_tier(get(response, "service_tier"))
    draft.count(get(response, "usage"))
    draft.price(response)
    draft.fail(get(response, "error", "last_error"))
    draft.fail(get(get(response, "status_details"), "error"))
    status = text(get(response, "status"))
    if status not in _UNFINISHED:
        draft.finish(get(get(response, "incomplete_details"), "reason") or status)


def absorb_output(output: object, draft: Draft) -> None:
    """Read the items that a response contains."""
    for position, item in enumerate(items(output)):
        kind = text(get(item, "type"))
        if kind in _CALLS:
            draft.call_tool(position, get(item, "name"), get(item, "arguments", "input"))
        elif kind == "reasoning":
            for part in items(get(item, "summary")):
                draft.add_reasoning(get(part, "text"))
        else:
            for part in items(get(item, "content")):
                draft.add_text(get(part, "text", "refusal", "transcript"))
