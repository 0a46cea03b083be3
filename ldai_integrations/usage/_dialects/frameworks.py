"""What frameworks on top of the providers hand out: LangChain, LangGraph, openai-agents."""

from __future__ import annotations

from typing import Any

from .._draft import Draft
from .._values import dig, get, is_list, is_record, items, number, text, to_json

_AI = ("ai", "AIMessageChunk")


def absorb_langchain(event: Any, draft: Draft) -> bool | None:
    """Take an AI message, a chunk of one, an ``LLMResult`` or a LangGraph state; ``None`` if it is none of them."""
    messages = get(event, "messages")
    if is_list(messages):
        return _last_turn(list(items(messages)), draft)
    generations = get(event, "generations")
    if is_list(generations) and is_record(get(event, "llm_output")):
        return _llm_result(event, draft)
    return _message(event, draft)


def _last_turn(messages: list[Any], draft: Draft) -> bool | None:
    """Take the messages the model wrote since a human spoke last: earlier ones were paid for by earlier calls."""
    start = 0
    for position, message in enumerate(messages):
        if text(get(message, "type")) == "human":
            start = position + 1
    spoke = None
    for message in messages[start:]:
        draft.begin(get(message, "id"))
        said = _message(message, draft)
        if said is not None:
            spoke = said or bool(spoke)
    return spoke


def _llm_result(event: Any, draft: Draft) -> bool:
    spoke = False
    for row in items(get(event, "generations")):
        for generation in items(row):
            message = get(generation, "message")
            said = _message(message, draft) if message is not None else draft.say(get(generation, "text"))
            spoke |= bool(said)
    if not draft.has_usage:
        draft.count(dig(event, "llm_output.token_usage", "llm_output.usage"))
    return spoke


def _message(message: Any, draft: Draft) -> bool | None:
    kind = text(get(message, "type"))
    metadata = get(message, "response_metadata")
    if kind not in _AI or not is_record(metadata):
        return None
    usage = get(message, "usage_metadata")
    if kind == "ai":
        draft.count(usage) or draft.count(get(metadata, "token_usage", "usage"))
    else:
        draft.count_delta(usage)
    draft.name_model(get(metadata, "model_name", "model", "model_id"))
    draft.finish(get(metadata, "finish_reason", "stop_reason", "done_reason"))
    content = get(message, "content")
    spoke = draft.say(content)
    for part in items(content):
        spoke |= draft.say(part) or draft.say(get(part, "text")) or draft.think(get(part, "thinking"))
    spoke |= draft.think(dig(message, "additional_kwargs.reasoning_content"))
    if kind != "ai":
        for call in items(get(message, "tool_call_chunks")):
            spoke |= draft.call(number(get(call, "index")) or 0, get(call, "name"), get(call, "args"))
        return spoke
    for call in items(get(message, "tool_calls")):
        spoke |= draft.call(None, get(call, "name"), to_json(get(call, "args")))
    return spoke


def absorb_agents(event: Any, draft: Draft) -> bool | None:
    """Take a run result of openai-agents; ``None`` if it is none."""
    responses = get(event, "raw_responses")
    if not is_list(responses):
        return None
    if not draft.count(dig(event, "context_wrapper.usage")):
        for position, response in enumerate(items(responses)):
            draft.begin(get(response, "response_id") or f"response {position}")
            draft.count(get(response, "usage"))
    return draft.say(get(event, "final_output"))
