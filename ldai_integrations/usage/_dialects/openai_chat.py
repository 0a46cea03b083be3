"""OpenAI chat completions and completions, and everything shaped like them."""

from __future__ import annotations

from typing import Any

from .._draft import Draft
from .._values import fields_of, get, is_list, items, number, text

_CHUNK = "chat.completion.chunk"
# What a chunk of text may carry besides, and hardly ever does: the chunk, its choice and the delta in it.
_BESIDE = (
    ("usage", "x_groq", "error"),
    ("finish_reason", "usage", "error", "message"),
    ("refusal", "reasoning_content", "reasoning", "tool_calls", "function_call"),
)


def absorb(event: Any, draft: Draft) -> bool | None:
    """Take a completion or a chunk of one; ``None`` if it is neither."""
    event = fields_of(event)
    choices = get(event, "choices")
    if not is_list(choices):
        return None
    if _is_known(event, draft) and (said := _text_alone(event, choices)):
        return draft.say(said)
    if not draft.is_identified:
        draft.identify(get(event, "id"))
    draft.name_model(get(event, "model"))
    if text(get(event, "object")) != _CHUNK and _is_whole(choices):  # a chunk's id may change within a stream
        draft.begin(get(event, "id"))
    usage = get(event, "usage")
    if usage is None:
        usage = get(get(event, "x_groq"), "usage")
    if usage is not None:
        draft.count(usage)
    error = get(event, "error")
    if error is not None:
        draft.fail(error)
    spoke = False
    for choice in items(choices):
        spoke |= _choice(choice, draft)
    return spoke


def _is_known(event: Any, draft: Draft) -> bool:
    """Tell a later chunk of a response, whose head says nothing new."""
    if type(event) is not dict or not draft.is_identified:
        return False
    model = event.get("model")
    return type(model) is str and model == draft.model


def _text_alone(event: dict[str, Any], choices: Any) -> str:
    """Return the text of a chunk that carries nothing else, as nearly all of a stream do; else nothing."""
    if type(choices) is not list or len(choices) != 1:
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


def _is_whole(choices: Any) -> bool:
    return any(get(choice, "message") is not None for choice in items(choices))


def _choice(choice: Any, draft: Draft) -> bool:
    choice = fields_of(choice)
    draft.finish(get(choice, "finish_reason"))
    draft.count(get(choice, "usage"))  # Moonshot's streams
    error = get(choice, "error")
    if error is not None:
        draft.fail(error)
    index = number(get(choice, "index")) or 0
    part = fields_of(get(choice, "delta", "message"))
    if part is None:
        return draft.say(get(choice, "text"))
    spoke = _content(get(part, "content"), draft) | draft.say(get(part, "refusal"))
    spoke |= draft.think(get(part, "reasoning_content", "reasoning"))
    for position, call in enumerate(items(get(part, "tool_calls"))):
        place = number(get(call, "index"))
        function = get(call, "function", "custom")
        key = (index, position if place is None else place)
        spoke |= draft.call(key, get(function, "name"), get(function, "arguments", "input"))
    function = get(part, "function_call")
    if function is not None:
        spoke |= draft.call((index, "function"), get(function, "name"), get(function, "arguments"))
    return spoke


def _content(content: Any, draft: Draft) -> bool:
    """Take content as text, or as the parts that Mistral sends for reasoning models."""
    if not is_list(content):
        return draft.say(content)
    spoke = False
    for part in items(content):
        spoke |= draft.say(get(part, "text"))
        thinking = get(part, "thinking")
        if not is_list(thinking):
            spoke |= draft.think(thinking)
        for thought in items(thinking):
            spoke |= draft.think(get(thought, "text"))
    return spoke
