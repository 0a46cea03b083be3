"""Ollama, llama.cpp, and the text-generation servers of Hugging Face and IBM."""

from __future__ import annotations

from typing import Any

from .._calls import Draft
from .._values import dig, get, is_a, is_list, items, number, text, to_json


def absorb_ollama(event: Any, draft: Draft) -> bool | None:
    """Read an Ollama response or a line of one; return ``None`` if it is neither."""
    counted = number(get(event, "eval_count", "prompt_eval_count")) is not None
    if not counted and (not is_a(get(event, "done"), bool) or not text(get(event, "model"))):
        return None
    draft.begin_next()  # "done" is the end of an answer
    draft.name_model(get(event, "model"))
    draft.count(event)
    draft.finish(get(event, "done_reason"))
    draft.call.closed = True
    message = get(event, "message")
    spoke = draft.say(get(message, "content")) | draft.say(get(event, "response"))
    spoke |= draft.think(get(message, "thinking")) | draft.think(get(event, "thinking"))
    for call in items(get(message, "tool_calls")):
        spoke |= draft.call_tool(None, dig(call, "function.name"), to_json(dig(call, "function.arguments")))
    return spoke


def absorb_llama_cpp(event: Any, draft: Draft) -> bool | None:
    """Read a completion of llama.cpp's own server or a chunk of one; return ``None`` if it is neither."""
    if number(get(event, "tokens_predicted")) is None or not is_a(get(event, "content"), str):
        return None
    draft.name_model(get(event, "model"))
    draft.count(event)
    draft.finish(get(event, "stop_type"))
    return draft.say(get(event, "content"))


def absorb_hugging_face(event: Any, draft: Draft) -> bool | None:
    """Read a text-generation response or an event of its stream; return ``None`` if it is neither."""
    token, whole = get(event, "token"), get(event, "generated_text")
    if not text(get(token, "text")) and not text(whole):
        return None
    details = get(event, "details")
    draft.count(details)
    prefill = get(details, "prefill")
    if is_list(prefill) and len(prefill):
        draft.count({"input_length": len(prefill)})
    draft.finish(get(details, "finish_reason"))
    if text(get(token, "text")):
        return get(token, "special") is not True and draft.say(get(token, "text"))
    return draft.say(whole)


def absorb_watsonx(event: Any, draft: Draft) -> bool | None:
    """Read a text-generation response of watsonx or a chunk of one; return ``None`` if it is neither."""
    results = [
        result for result in items(get(event, "results")) if number(get(result, "generated_token_count")) is not None
    ]
    if not results:
        return None
    draft.name_model(get(event, "model_id"))
    spoke = False
    for position, result in enumerate(results):
        draft.count(result)
        draft.finish(get(result, "stop_reason"), position)
        spoke |= draft.say(get(result, "generated_text"))
    return spoke
