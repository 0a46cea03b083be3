"""OpenAI's chat completions, completions, Responses and Realtime APIs, and everything with the same shape."""

from __future__ import annotations

from base64 import b64decode
from typing import Any

from ..._diagnostics import raise_if_from_signal
from .._call_draft import CallDraft
from .._draft import Draft
from .._fields import dig, fields_of, get, is_list, items, number, text, to_json

# What the names of events with a delta of the Responses and Realtime APIs, and of a transcript, begin with.
_DELTAS = ("response.", "transcript.")
# The fields of a delta that a model writes.
_CONTENT = ("content", "tool_calls", "reasoning_content", "reasoning", "refusal", "audio", "function_call")
# The most choices that are told apart; OpenAI allows as many.
_MOST_CHOICES = 128
# OpenAI's own tools that have a price for each use.
_PAID = ("web_search_call", "file_search_call", "code_interpreter_call", "image_generation_call")
_LAST = ("response.completed", "response.incomplete", "response.failed", "response.done")
_OBJECTS = ("response", "realtime.response", "thread.run")
_UNFINISHED = ("in_progress", "queued", "requires_action", "cancelling")
_FRAMES = ("response.created", "response.in_progress", "response.queued", *_LAST)
# How the ids begin that LiteLLM makes of the provider's: with "litellm:" in Base64.
_LITELLM_ID = "resp_bGl0ZWxsbTp"


# Chat completions


def read_chat(event: object, draft: Draft) -> bool:
    """Read a completion or a chunk of one."""
    if words := _only_text(event, draft.call):  # in most chunks of a stream
        return draft.write(words, draft.call.text)
    fields = fields_of(event)
    choices = fields.get("choices")
    if not is_list(choices):
        return False
    name = text(fields.get("id"))
    choices = list(map(fields_of, items(choices)))
    is_chunk = text(fields.get("object")) == "chat.completion.chunk"
    is_whole = not is_chunk and len(choices) > 0 and choices[0].get("message") is not None
    if is_whole:
        draft.begin(name, whole=True)
    elif draft.call.finished_at and _answers_again(choices, draft.call, name):
        draft.begin_next()
    elif draft.call.is_done and draft.call.has_usage:
        return True
    # The last frame of some streams contains the whole answer again.
    repeats = is_whole and draft.call.has_content
    if not draft.call.ids:
        draft.identify(name)
    draft.name_model(fields.get("model"))
    draft.name_tier(fields.get("service_tier"))
    usage = fields.get("usage")
    if usage is None and (groq := fields.get("x_groq")) is not None:
        usage = get(groq, "usage")
    if usage is not None and not _is_default(usage):
        draft.count(usage, response=event)
    draft.fail(fields.get("error"))
    for position, choice in enumerate(choices):
        _add_choice(choice, position, draft, repeats=repeats)
    return True


def _is_default(usage: object) -> bool:
    """Return whether LiteLLM has written zeros, because the provider has sent no usage."""
    return type(usage).__module__.startswith("litellm.") and number(get(usage, "total_tokens")) == 0


def _answers_again(choices: list[Any], ended: CallDraft, name: str) -> bool:
    """Return whether there is an answer again for a choice that has ended.

    An id may be missing, or change within a stream: Azure reports what its filters found after the end, without one.
    Some servers give each answer the same id. A role or a finish reason alone may then belong to the answer that ended.
    """
    is_same = name in ended.ids
    if is_same and ended.counted_at < ended.finished_at:  # its usage is still to come
        return False
    signs = _CONTENT if is_same else (*_CONTENT, "role")
    for position, choice in enumerate(choices):
        place, delta = choice.get("index"), fields_of(choice.get("delta"))
        if (place if type(place) is int else position) != ended.choice or (is_same and choice.get("finish_reason")):
            continue
        if choice.get("text") or any(map(delta.get, signs)):
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


def _add_choice(choice: Any, position: int, draft: Draft, *, repeats: bool) -> None:
    draft.count(choice.get("usage"))  # Moonshot's streams
    draft.fail(choice.get("error"))
    place = choice.get("index")
    index = place if type(place) is int else position
    if len(draft.call.choices) < _MOST_CHOICES:
        draft.call.choices.setdefault(index, False)
    reason = choice.get("finish_reason")
    draft.finish(choice.get("stop_reason") if reason is None else reason, index)  # DeepSeek on Bedrock, or all others
    part = choice.get("delta")
    part = choice.get("message") if part is None else part
    if repeats:
        return
    if part is None:
        draft.add_text(choice.get("text"))
        return
    part = fields_of(part)
    draft.call.has_fees |= next(items(part.get("annotations")), None) is not None  # the sources of a search
    content = part.get("content")
    draft.add_text(content)
    for piece in items(content):  # as Mistral sends it for reasoning models
        draft.add_text(get(piece, "text"))
        thinking = get(piece, "thinking")
        for thought in items(thinking) if is_list(thinking) else (thinking,):
            draft.add_reasoning(thought) or draft.add_reasoning(get(thought, "text"))
    draft.add_text(part.get("refusal")) or draft.add_text(get(part.get("audio"), "transcript"))
    draft.add_reasoning(part.get("reasoning_content")) or draft.add_reasoning(part.get("reasoning"))
    for number_of_call, call in enumerate(items(part.get("tool_calls"))):
        place = number(get(call, "index"))
        function = get(call, "function", "custom")
        key = (index, number_of_call if place is None else place)
        draft.call_tool(key, get(function, "name"), get(function, "arguments", "input"), get(call, "id"))
    function = part.get("function_call")
    draft.call_tool((index, "function"), get(function, "name"), get(function, "arguments"))


# Responses


def read_response(event: object, draft: Draft) -> bool:
    """Read a response of the Responses or the Realtime API or an assistant's run, or an event of one."""
    fields = fields_of(event)
    kind = text(fields.get("type"))
    if kind.endswith(".delta") and kind.startswith(_DELTAS):
        _add_delta(kind, fields, draft)
    elif not kind.startswith("response."):
        return _read_whole(fields, draft)
    elif kind in _FRAMES:
        response = fields.get("response")
        # openai-agents gives every response of other providers the same id.
        draft.begin(get(response, "id"), anew=kind == "response.created", ends=kind in _LAST)
        _describe(response, draft)
        draft.call.no_usage_follows |= kind in _LAST
        if kind in _LAST:
            _add_missing(get(response, "output"), draft)
    elif kind == "response.output_item.added":
        _add_tool(_key_of(fields), fields.get("item"), draft)
    draft.api = "responses"
    return True


def _add_delta(kind: str, event: Any, draft: Draft) -> None:
    """Add what the model wrote; the name of the event says for whom."""
    delta = event.get("delta")
    if "_call" in kind:
        draft.call_tool(_key_of(event), None, delta)
    elif "reasoning" in kind:
        draft.add_reasoning(delta)
    elif not kind.endswith("audio.delta"):  # sound in Base64
        draft.add_text(delta)


def _add_tool(key: object, item: object, draft: Draft, *, whole: bool = False) -> bool:
    """Add an item that is a tool call; return whether it is one. OpenAI's own tools are not named."""
    kind = text(get(item, "type"))
    if not kind.endswith("_call") or kind in _PAID:
        return False
    arguments = get(item, "arguments", "input")
    if arguments is None and whole:  # in a stream, they follow
        arguments = to_json(fields_of(get(item, "action", "operation")))
    draft.call_tool(key, get(item, "name") or kind.removesuffix("_call"), arguments)
    return True


def _read_whole(response: object, draft: Draft) -> bool:
    name = text(get(response, "object"))
    if name == "thread.message.delta":  # what an assistant adds to a message
        for part in items(dig(response, "delta.content")):
            draft.add_text(dig(part, "text.value"))
        return True
    if name == "thread.run.step.delta":
        for call in items(dig(response, "delta.step_details.tool_calls")):
            key = (text(get(response, "id")), number(get(call, "index")))
            draft.call_tool(key, dig(call, "function.name"), dig(call, "function.arguments"))
        return True
    if name not in _OBJECTS:
        # The usage of an assistant's run includes that of its steps.
        return name == "thread.run.step" and bool(draft.call.ids)
    draft.api = "responses"
    repeats = draft.begin(get(response, "id"), whole=True) and draft.call.has_content
    _describe(response, draft)
    if not repeats:
        add_output(get(response, "output"), draft)
    return True


def _key_of(event: object) -> object:
    index = number(get(event, "output_index"))
    return index if index is not None else text(get(event, "item_id"))


def _describe(response: object, draft: Draft) -> None:
    draft.describe(response)
    draft.identify(_id_inside(text(get(response, "id"))))
    draft.name_tier(get(response, "service_tier"))
    draft.count(get(response, "usage"), response=response)
    tools = get(response, "tool_usage")
    draft.count_further("image_gen", get(tools, "image_gen"))
    draft.call.has_fees |= bool(number(dig(tools, "web_search.num_requests")))
    for position, item in enumerate(items(get(response, "output"))):
        draft.call.has_fees |= _has_fee(item)
        draft.count_further(f"output {position}", get(item, "svg_usage"))
    draft.fail(get(response, "error", "last_error"))
    draft.fail(dig(response, "status_details.error"))
    status = text(get(response, "status"))
    if status == "failed":
        draft.fail({"type": status})
    if status not in _UNFINISHED:
        draft.finish(dig(response, "incomplete_details.reason") or status)


def _has_fee(item: object) -> bool:
    """Return whether an item of a response has a price besides the tokens: a tool of OpenAI, or its container."""
    place = text(dig(item, "environment.type"))  # where the commands of a shell call run
    return text(get(item, "type")) in _PAID or place not in ("", "local")


def _id_inside(name: str) -> str:
    """Return the provider's id that is inside of an id of LiteLLM; empty if there is none."""
    if not name.startswith(_LITELLM_ID):
        return ""
    try:
        return b64decode(name.removeprefix("resp_")).decode().rpartition("response_id:")[2]
    except ValueError:
        return ""


def _add_missing(output: object, draft: Draft) -> None:
    """Add the items at the end of a stream that its events did not contain: all of them, or the tool calls."""
    if not draft.call.has_content:
        add_output(output, draft)
    elif not draft.call.tool_calls:
        for position, item in enumerate(items(output)):
            _add_tool(position, item, draft, whole=True)


def add_output(output: object, draft: Draft) -> None:
    """Add the items that a response contains."""
    for position, item in enumerate(items(output)):
        if _add_tool(position, item, draft, whole=True):
            continue
        if text(get(item, "type")) == "reasoning":
            for part in items(get(item, "summary")):
                draft.add_reasoning(get(part, "text"))
        else:
            for part in items(get(item, "content")):
                draft.add_text(get(part, "text", "refusal", "transcript"))
