"""The results of LLM frameworks and of LaunchDarkly's newer AI SDK."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from ..._diagnostics import raise_if_from_signal
from .._counts import read_counts
from .._draft import Draft
from .._fields import dig, fields_of, get, is_a, is_list, is_record, items, number, text, to_json
from .._shapes import LAUNCHDARKLY
from .openai import add_output

_AI = ("ai", "AIMessageChunk")
# Ids that LangChain gives to chunks begin with one of these.
_LANGCHAIN_IDS = ("lc_run-", "run-")
# Most nodes of a graph that answer in one event.
_MOST_NODES = 32


def read_langchain(event: object, draft: Draft) -> bool:
    """Read an AI message, a chunk of one or of its generation, an ``LLMResult`` or a LangGraph state."""
    messages = get(event, "messages")
    if messages is not None:
        return _read_messages(messages, draft)
    rows = list(items(get(event, "generations")))
    if rows and (is_list(rows[0]) or get(rows[0], "message") is not None):
        _read_llm_result(event, rows, draft)
        return True
    if text(get(event, "type")) == "ChatGenerationChunk":
        return _read_generation_chunk(event, draft)
    return _read_message(event, draft) or (type(event) is dict and _read_updates(event, draft))


def _read_messages(messages: object, draft: Draft, place: str = "") -> bool:
    """Read what the model wrote after the last human message. Earlier calls caused the other messages."""
    if not is_list(messages):  # a node may return one message without a list
        return _read_message(messages, draft, place)
    turn: list[object] = []
    for message in items(messages):
        if text(get(message, "type")) == "human":
            turn.clear()
        else:
            turn.append(message)
    known = False
    for position, message in enumerate(turn):
        known |= _read_message(message, draft, f"message {position}")
    return known


def _read_updates(event: dict[object, object], draft: Draft) -> bool:
    """Read what LangGraph streams after each step: the changed part of the state, by the name of the node."""
    known = False
    for position, state in enumerate(list(event.values())[:_MOST_NODES]):
        known |= type(state) is dict and _read_messages(state.get("messages"), draft, f"node {position}")
    return known


def _read_llm_result(event: object, rows: list[object], draft: Draft) -> None:
    """Read the result of one or several prompts, each with one or several generations, which share its usage."""
    counted = False
    for position, row in enumerate(rows):
        draft.begin(place=f"prompt {position}", whole=True)
        for choice, generation in enumerate(items(row) if is_list(row) else (row,)):
            message = get(generation, "message") if choice == 0 else None
            if message is not None:
                _read_message(message, draft)
            else:
                draft.add_text(get(generation, "text"))
            counted |= get(message, "usage_metadata") is not None
    usage = dig(event, "llm_output.token_usage", "llm_output.usage")
    if not counted and usage is not None:
        if len(rows) > 1:
            draft.begin_sum()
        draft.count(usage)


def _read_generation_chunk(chunk: object, draft: Draft) -> bool:
    """Read a chunk as LangChain's callbacks get it; its message may lack the model and the reason of the end."""
    known = _read_message(get(chunk, "message"), draft)
    info = get(chunk, "generation_info")
    draft.name_model(get(info, "model_name"))
    draft.finish(get(info, "finish_reason"))
    return known


def _read_message(message: object, draft: Draft, place: str = "") -> bool:
    """Read a message; one without an id is known by its place."""
    message = fields_of(message)
    kind = text(get(message, "type"))
    metadata = get(message, "response_metadata")
    if kind not in _AI or not is_record(metadata):
        return False
    if dig(message, "usage_metadata.total_cost") == 0:  # so LangChain marks an answer from its cache
        draft.has_cached = True
        return True
    name = text(get(message, "id"))
    if name.startswith(_LANGCHAIN_IDS):  # the first chunk of OpenAI's Responses API has the provider's id
        draft.add_alias(name)
    known = draft.begin(name, place=place, whole=kind == "ai")
    draft.identify(get(metadata, "id"))
    usage = get(message, "usage_metadata")
    if kind == "AIMessageChunk":
        draft.count_delta(usage)
    elif not draft.count(usage):
        draft.count(get(metadata, "token_usage", "usage", "usage_metadata")) or draft.count(metadata)
    draft.name_model(get(metadata, "model_name", "model", "model_id"))
    draft.finish(get(metadata, "finish_reason", "stop_reason", "done_reason", "status"))
    if not (known and kind == "ai"):  # a state repeats what chunks or an earlier state contained
        _add_content(message, draft)
    return True


def _add_content(message: Any, draft: Draft) -> None:
    """Add the text, the reasoning and the tool calls of a message."""
    content = get(message, "content")
    draft.add_text(content)
    for part in items(content):
        draft.add_text(part) or draft.add_text(get(part, "text")) or draft.add_reasoning(get(part, "thinking"))
    draft.add_reasoning(dig(message, "additional_kwargs.reasoning_content"))
    if text(get(message, "type")) == "AIMessageChunk":
        for call in items(get(message, "tool_call_chunks")):
            draft.call_tool(number(get(call, "index")) or 0, get(call, "name"), get(call, "args"))
    else:
        for call in items(get(message, "tool_calls")):
            draft.call_tool(None, get(call, "name"), to_json(get(call, "args")))


def read_agents(event: object, draft: Draft) -> bool:
    """Read a response of openai-agents, or a run result: its single responses, or the sum if only that has usage."""
    responses = get(event, "raw_responses")
    if not is_list(responses):
        if get(event, "to_input_items") is None or not is_list(get(event, "output")):
            return False
        _read_agents_response(event, draft.entry, draft)
        return True
    counted = False
    for position, response in enumerate(items(responses)):
        counted |= _read_agents_response(response, f"{draft.entry} response {position}", draft)
    if not draft.has_text:
        draft.add_text(get(event, "final_output"))
    usage = dig(event, "context_wrapper.usage")
    if not counted and number(get(usage, "total_tokens")):
        draft.begin_sum()
        draft.count(usage)
    return True


def _read_agents_response(response: object, place: str, draft: Draft) -> bool:
    """Read a response, which is known by its place, as many share one id; return whether it has usage."""
    known = draft.begin(place=place, whole=True)
    draft.identify(get(response, "response_id"))
    counted = draft.count_unless_zero(get(response, "usage"))
    if not known:
        add_output(get(response, "output"), draft)
    return counted


def read_pydantic_ai(event: object, draft: Draft) -> bool:
    """Read a model response of pydantic-ai, or the result of an agent: the responses among the messages of its run.

    Other runs may share the usage of a result: runs before it, and those of agents that its tools call. If it has more
    requests than there are responses, some calls may be missing.
    """
    messages = _new_messages(event)
    if messages is None:
        return _read_model_response(event, draft)
    draft.begin(whole=True)
    places = ((message, f"{draft.entry} message {position}") for position, message in enumerate(messages))
    responses = sum(_read_model_response(message, draft, place) for message, place in places)
    draft.call.lacks_calls = (number(dig(event, "_state.usage.requests", "usage.requests")) or 0) > responses
    return True


def _new_messages(result: Any) -> list[object] | None:
    """Return the messages of the run that a result of pydantic-ai is about; ``None`` if it is not such a result."""
    try:
        return list(items(result.new_messages())) if hasattr(type(result), "new_messages") else None
    except Exception as exc:  # another library's object
        raise_if_from_signal(exc)
        return None


def _read_model_response(event: object, draft: Draft, place: str = "") -> bool:
    """Read a model response; one without an id is known by its place."""
    parts, usage = get(event, "parts"), get(event, "usage")
    if text(get(event, "kind")) != "response" or not is_list(parts) or usage is None:
        return False
    draft.begin(get(event, "provider_response_id"), place=place, whole=True)
    draft.name_model(get(event, "model_name"))
    received_at = get(event, "timestamp")
    # Before version 1.38, it was the provider's time, which most providers tell in whole seconds.
    if get(event, "run_id") is not None and is_a(received_at, datetime) and received_at.microsecond:
        draft.call.received_at = received_at.timestamp()
    reason = dig(event, "provider_details.finish_reason") or get(event, "finish_reason")
    draft.finish(reason)
    if not text(reason) and text(get(event, "state")) != "complete":  # left: what was sent of the output is not known
        usage = {"input_tokens": get(usage, "input_tokens")}
    draft.count_unless_zero(usage)
    for part in items(parts):
        kind = text(get(part, "part_kind"))
        if kind == "text":
            draft.add_text(get(part, "content"))
        elif kind == "thinking":
            draft.add_reasoning(get(part, "content"))
        elif kind == "tool-call":
            draft.call_tool(None, get(part, "tool_name"), to_json(get(part, "args")))
    return True


def read_strands(event: object, draft: Draft) -> bool:
    """Read the result of an agent of Strands: the calls of its last invocation, each of which is a cycle.

    The totals of a result are those of the agent's whole life. A cycle may have made no call, or one without usage.
    """
    metrics = get(event, "metrics")
    if not read_counts(get(metrics, "accumulated_usage")):
        return False
    if draft.pieces and not draft.has_whole:  # the last event of a stream, whose other events contain the calls
        return True
    draft.begin(whole=True)
    usages = [get(cycle, "usage") for cycle in items(dig(metrics, "latest_agent_invocation.cycles"))]
    counted = [one for one in usages if number(get(one, "inputTokens")) or number(get(one, "outputTokens"))]
    for position, usage in enumerate(counted):
        draft.begin(place=f"{draft.entry} cycle {position}", whole=True)
        draft.count(usage)
    draft.call.lacks_calls |= len(counted) < len(usages)
    for part in items(dig(event, "message.content")):
        draft.add_text(get(part, "text"))
    return True


def read_crewai(event: object, draft: Draft) -> bool:
    """Read the result of a crew or an agent of CrewAI, without its usage.

    CrewAI counts the tokens of a model object for as long as it lives, for all requests that share it.
    """
    words = get(event, "raw")
    if not is_a(words, str) or not read_counts(get(event, "token_usage", "usage_metrics")):
        return False
    draft.begin(whole=True)
    draft.add_text(words)
    return True


def read_launchdarkly(event: object, draft: Draft) -> bool:
    """Read what LaunchDarkly's newer AI SDK returns, or an event of its stream; return whether it is one."""
    kind = text(get(event, "type"))
    if kind == "chunk":
        return draft.add_text(get(event, "text"))
    usage = get(event, "usage")
    if number(get(usage, "total")) is None or not (kind == "done" or get(event, "track_data") is not None):
        return False
    draft.begin(whole=kind != "done")
    draft.count_unless_zero(usage, shape=LAUNCHDARKLY)
    draft.finish("done")
    if not draft.call.has_content:
        draft.add_text(get(event, "response"))
    return True
