"""What frameworks on top of the providers hand out: LangChain, LangGraph, openai-agents."""

from __future__ import annotations

from typing import Any

from .._draft import Draft
from .._values import dig, get, is_list, is_record, items, number, text, to_json

_AI = ("ai", "AIMessageChunk")
# Most nodes of a graph that answer in one event.
_MOST_NODES = 32


def absorb_langchain(event: Any, draft: Draft) -> bool | None:
    """Take an AI message, a chunk of one, an ``LLMResult`` or a LangGraph state; ``None`` if it is none of them."""
    messages = get(event, "messages")
    if is_list(messages):
        return _last_turn(list(items(messages)), draft)
    if messages is not None:  # a node may return one message without a list
        return _message(messages, draft)
    rows = list(items(get(event, "generations")))
    if rows and (is_list(rows[0]) or get(rows[0], "message") is not None):
        return _llm_result(event, rows, draft)
    spoke = _message(event, draft)
    return spoke if spoke is not None or type(event) is not dict else _updates(event, draft)


def _last_turn(messages: list[Any], draft: Draft) -> bool | None:
    """Take the messages the model wrote since a human spoke last: earlier ones were paid for by earlier calls."""
    start = 0
    for position, message in enumerate(messages):
        if text(get(message, "type")) == "human":
            start = position + 1
    spoke = None
    for position, message in enumerate(messages[start:]):
        if not text(get(message, "id")):
            draft.begin(f"message {position}")
        said = _message(message, draft)
        if said is not None:
            spoke = said or bool(spoke)
    return spoke


def _updates(event: dict[Any, Any], draft: Draft) -> bool | None:
    """Take what LangGraph streams after each step: the changed part of the state, by the name of the node."""
    spoke = None
    for state in list(event.values())[:_MOST_NODES]:
        messages = state.get("messages") if type(state) is dict else None
        said = _last_turn(list(items(messages)), draft) if is_list(messages) else _message(messages, draft)
        if said is not None:
            spoke = said or bool(spoke)
    return spoke


def _llm_result(event: Any, rows: list[Any], draft: Draft) -> bool:
    spoke, counted = False, False
    for position, row in enumerate(rows):
        draft.begin(f"prompt {position}")
        for generation in items(row) if is_list(row) else (row,):
            message = get(generation, "message")
            said = _message(message, draft) if message is not None else draft.say(get(generation, "text"))
            spoke |= bool(said)
            counted |= get(message, "usage_metadata") is not None
    if not counted:
        draft.count(dig(event, "llm_output.token_usage", "llm_output.usage"))
    return spoke


def _message(message: Any, draft: Draft) -> bool | None:
    kind = text(get(message, "type"))
    metadata = get(message, "response_metadata")
    if kind not in _AI or not is_record(metadata):
        return None
    known = draft.begin(get(message, "id"))
    draft.identify(get(metadata, "id") or get(message, "id"))
    usage = get(message, "usage_metadata")
    if kind == "AIMessageChunk":
        draft.meter.count_delta(usage)
    elif not draft.count(usage):
        draft.count(get(metadata, "token_usage", "usage", "usage_metadata")) or draft.count(metadata)
    draft.name_model(get(metadata, "model_name", "model", "model_id"))
    draft.finish(get(metadata, "finish_reason", "stop_reason", "done_reason"))
    if known and kind == "ai":  # a state repeats what chunks or an earlier state said
        return False
    content = get(message, "content")
    spoke = draft.say(content)
    for part in items(content):
        spoke |= draft.say(part) or draft.say(get(part, "text")) or draft.think(get(part, "thinking"))
    spoke |= draft.think(dig(message, "additional_kwargs.reasoning_content"))
    return _calls(message, kind, draft) or spoke


def _calls(message: Any, kind: str, draft: Draft) -> bool:
    spoke = False
    if kind == "AIMessageChunk":
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
    whole = _told(dig(event, "context_wrapper.usage"), draft)
    for position, response in enumerate(items(responses)):
        draft.identify(get(response, "response_id"))
        if not whole:
            draft.begin(f"response {position}")
            _told(get(response, "usage"), draft)
    return draft.say(get(event, "final_output"))


def _told(usage: Any, draft: Draft) -> bool:
    """Take a usage object of openai-agents, which writes zeros where the provider told nothing."""
    return number(get(usage, "total_tokens")) != 0 and draft.count(usage)
