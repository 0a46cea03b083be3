"""The formats of Anthropic, Gemini, Mistral and Cohere, wherever their models are served."""

from __future__ import annotations

from .._counts import read_counts
from .._draft import Draft
from .._fields import dig, fields_of, get, is_list, items, number, text, to_json
from .._shapes import GEMINI

# Anthropic's events without content that is read.
_ANTHROPIC_MARKS = ("content_block_stop", "ping")
_ANTHROPIC_CALLS = ("tool_use", "server_tool_use", "mcp_tool_use")
# The states of an interaction that goes on.
_INTERACTING = ("in_progress", "queued", "idle")
# Google's words for the tiers.
_GEMINI_TIERS = {
    "on_demand_flex": "flex",
    "on_demand_priority": "priority",
    "provisioned_throughput": "provisioned_throughput",
}
# What Gemini searched for, and what it found: places of a map are found without a query.
_GEMINI_SOURCES = (("webSearchQueries", "web_search_queries"), ("groundingChunks", "grounding_chunks"))
_COHERE_V2 = {
    *("message-start", "content-start", "content-delta", "content-end", "message-end"),
    *("tool-plan-delta", "tool-call-start", "tool-call-delta", "tool-call-end", "citation-start", "citation-end"),
}
_COHERE_V1 = {
    *("stream-start", "text-generation", "tool-calls-generation", "tool-calls-chunk"),
    *("citation-generation", "search-results"),
}


# Anthropic


def read_anthropic(event: object, draft: Draft) -> bool:
    """Read a message of Anthropic's Messages API or an event of one."""
    fields = fields_of(event)
    kind = text(fields.get("type"))
    if kind == "content_block_delta":
        delta = fields_of(fields.get("delta"))
        if not (draft.add_text(delta.get("text")) or draft.add_reasoning(delta.get("thinking"))):
            draft.call_tool(number(fields.get("index")) or 0, None, delta.get("partial_json"))
    elif kind == "content_block_start":
        _add_block(number(fields.get("index")) or 0, fields.get("content_block"), draft)
    elif kind == "message_start":
        message = fields.get("message")
        draft.begin(get(message, "id"), anew=True)
        draft.describe(message)
        draft.count(get(message, "usage"), begun=True)
    elif kind == "message_delta":
        draft.count(fields.get("usage"))
        draft.price(event)
        draft.finish(get(fields.get("delta"), "stop_reason"))
        draft.call.no_usage_follows |= fields.get("usage") is not None  # of a refusal, it has zeros only
    elif kind == "message_stop":
        draft.call.no_usage_follows = True
    elif kind not in _ANTHROPIC_MARKS:
        content, reason = fields.get("content"), fields.get("stop_reason")
        if not is_list(content) or (kind != "message" and reason is None):
            return False
        repeats = draft.begin(fields.get("id"), whole=True) and draft.call.has_content
        draft.describe(event)
        draft.count(fields.get("usage"))
        draft.finish(reason)
        for block in items(content) if not repeats else ():
            _add_block(None, block, draft)
    return True


def _add_block(key: int | None, block: object, draft: Draft) -> None:
    """Add a content block; at the start of a streamed block the arguments are empty."""
    kind, name = text(get(block, "type")), get(block, "name")
    if kind in _ANTHROPIC_CALLS:
        draft.call.has_fees |= kind == "server_tool_use" and "code_execution" in text(name)  # billed by the hour
        arguments = to_json(get(block, "input"))
        draft.call_tool(key, name, "" if key is not None and arguments == "{}" else arguments)
    elif kind == "fallback":
        draft.call.fallbacks += 1
        if key is not None:  # a whole message names the model that it comes from
            draft.name_model(dig(block, "to.model"))
    else:
        draft.add_text(get(block, "text")) or draft.add_reasoning(get(block, "thinking"))


# Gemini


def read_gemini(event: object, draft: Draft) -> bool:
    """Read a response of Gemini's generateContent or a chunk of one, also of Vertex and of the Live API."""
    fields = fields_of(event)
    candidates = fields.get("candidates")
    usage = get(fields, "usageMetadata", "usage_metadata")
    if not is_list(candidates) and not _read_live(fields, draft):
        counts = read_counts(usage)
        if counts is None or counts.shape is not GEMINI:
            return False
    name = get(fields, "responseId", "response_id")
    # A response of a stream begins a call only if the one before has ended: each may have an id of its own.
    if draft.call.finished_at or not draft.call.ids:
        draft.begin(name, whole=is_list(candidates))
    draft.identify(name)
    draft.has_whole = False  # nothing distinguishes the responses of a stream
    draft.name_model(get(fields, "modelVersion", "model_version"))
    draft.count(usage)
    if get(fields, "embedding", "embeddings") is not None:  # has no output, and its total may be missing
        draft.count({"totalTokenCount": get(usage, "promptTokenCount", "prompt_token_count")}, shape=GEMINI)
    traffic = text(get(usage, "trafficType")) or text(dig(usage, "traffic_type.value"))
    headers = dig(fields, "sdk_http_response.headers")
    draft.name_tier(_GEMINI_TIERS.get(traffic.lower()) or get(headers, "x-gemini-service-tier"))
    draft.finish(dig(fields, "promptFeedback.blockReason", "prompt_feedback.block_reason"))
    for position, candidate in enumerate(items(candidates)):
        draft.finish(get(candidate, "finishReason", "finish_reason"), position)
        _read_content(get(candidate, "content"), draft)
        grounding = get(candidate, "groundingMetadata", "grounding_metadata")
        for names in _GEMINI_SOURCES:
            draft.call.has_fees |= next(items(get(grounding, *names)), None) is not None
    return True


def _read_live(fields: object, draft: Draft) -> bool:
    """Read what only messages of the Live API have; return whether this is one. Each turn is a call."""
    live = get(fields, "serverContent", "server_content")
    tools = dig(fields, "toolCall.functionCalls", "tool_call.function_calls")
    if live is None and not is_list(tools):
        return False
    turn = get(live, "modelTurn", "model_turn")
    if turn is not None or is_list(tools):
        draft.begin_next()
    for call in items(tools):
        draft.call_tool(None, get(call, "name"), to_json(get(call, "args")))
    _read_content(turn, draft)
    if get(live, "turnComplete", "turn_complete") is True:
        draft.finish("turn_complete")
    return True


def _read_content(content: object, draft: Draft) -> None:
    """Read what Gemini wrote: reasoning, tool calls, text and code."""
    for part in items(get(content, "parts")):
        call = get(part, "functionCall", "function_call")
        if get(part, "thought") is True:
            draft.add_reasoning(get(part, "text"))
        elif get(call, "name"):  # an empty call stands for none
            draft.call_tool(None, get(call, "name"), to_json(get(call, "args")))
        else:
            code = dig(part, "executableCode.code", "executable_code.code")
            draft.add_text(get(part, "text")) or draft.add_text(code)


def read_gemini_interaction(event: object, draft: Draft) -> bool:
    """Read an interaction of Gemini's Interactions API or an event of one."""
    kind = text(get(event, "event_type"))
    if kind in ("step.delta", "content.delta"):
        delta = get(event, "delta")
        draft.add_text(get(delta, "text")) or draft.add_reasoning(dig(delta, "content.text"))
        draft.call_tool(number(get(event, "index")) or 0, None, get(delta, "arguments"))
    elif kind == "step.start":
        step = get(event, "step")
        if text(get(step, "type")) == "function_call":
            draft.call_tool(number(get(event, "index")) or 0, get(step, "name"), "", get(step, "id"))
    elif kind.startswith(("interaction.", "step.", "content.")):
        interaction = get(event, "interaction")
        is_last = kind in ("interaction.completed", "interaction.complete")
        draft.begin(get(interaction, "id"), anew=kind == "interaction.created", ends=is_last)
        _describe_interaction(interaction, draft)
    else:
        return _read_whole_interaction(event, draft)
    draft.count(get(event, "usage")) or draft.count(dig(event, "metadata.total_usage", "metadata.usage"))
    return True


def _read_whole_interaction(interaction: object, draft: Draft) -> bool:
    steps = get(interaction, "steps", "outputs")
    # google-genai keeps no mark of the kind.
    is_known = is_list(steps) and text(get(interaction, "status")) and get(interaction, "id") is not None
    if text(get(interaction, "object")) != "interaction" and not is_known:
        return False
    repeats = draft.begin(get(interaction, "id"), whole=True) and draft.call.has_content
    _describe_interaction(interaction, draft)
    for step in items(steps) if not repeats else ():
        if text(get(step, "type")) == "function_call":
            draft.call_tool(None, get(step, "name"), to_json(get(step, "arguments")))
        is_thought = text(get(step, "type")) == "thought"
        for part in items(get(step, "summary" if is_thought else "content")):
            words = get(part, "text")
            draft.add_reasoning(words) if is_thought else draft.add_text(words)
    return True


def _describe_interaction(interaction: object, draft: Draft) -> None:
    draft.describe(interaction)
    draft.name_tier(get(interaction, "service_tier"))
    draft.count(get(interaction, "usage"))
    status = text(get(interaction, "status"))
    if status == "failed":
        draft.fail(next(items(get(interaction, "errors")), {"type": status}))
    if status not in _INTERACTING:
        draft.finish(status)


def read_vertex_embeddings(event: object, draft: Draft) -> bool:
    """Read embeddings of Vertex, which count each text."""
    vectors = [get(one, "embeddings") for one in items(get(event, "predictions"))] or items(get(event, "embeddings"))
    counts = [number(dig(one, "statistics.token_count", "statistics.tokenCount")) for one in vectors]
    together = sum(count or 0 for count in counts)
    if together:
        draft.begin(whole=True)
        draft.count({"prompt_tokens": together, "total_tokens": together})
    return together > 0


# Mistral


def read_mistral_conversation(event: object, draft: Draft) -> bool:
    """Read a response of Mistral's Conversations API or an event of one. Its chat has OpenAI's format."""
    kind = text(get(event, "type"))
    if text(get(event, "object")) == "conversation.response":
        draft.begin(whole=True)
        for entry in items(get(event, "outputs")):
            _add_entry(text(get(entry, "type")), entry, draft)
    elif kind.startswith("conversation.response."):
        draft.begin(anew=kind == "conversation.response.started")
        if kind == "conversation.response.done":
            draft.finish(kind)
        elif kind == "conversation.response.error":
            draft.fail({"code": get(event, "code")})
    elif kind in ("message.output.delta", "function.call.delta"):
        _add_entry(kind.removesuffix(".delta"), event, draft, key=get(event, "id"))
    else:
        return False
    draft.count(get(event, "usage"))
    return True


def _add_entry(kind: str, entry: object, draft: Draft, key: object = None) -> None:
    """Add an entry of a conversation, or a piece of one that shares a key with the others."""
    draft.name_model(get(entry, "model"))
    if kind == "message.output":
        content = get(entry, "content")
        draft.add_text(content)
        for part in items(content):
            draft.add_text(get(part, "text"))
    elif kind == "function.call":
        draft.call_tool(key, get(entry, "name"), to_json(get(entry, "arguments")))


# Cohere


def read_cohere(event: object, draft: Draft) -> bool:
    """Read a response of Cohere's chat v1 or v2 or of its older generate, or an event of a stream."""
    kind = text(get(event, "type"))
    if kind in _COHERE_V2:
        _read_cohere_v2(kind, event, draft)
        return True
    kind = text(get(event, "event_type"))
    if kind == "stream-end":
        response = get(event, "response")
        _describe_cohere(response, draft)
        if not draft.call.has_content:
            _add_cohere_v1(response, draft)
        return True
    if kind in _COHERE_V1 or (kind == "" and get(event, "is_finished") is False):
        draft.add_text(get(event, "text"))
        return True
    return _read_whole_cohere(event, draft)


def _read_whole_cohere(event: object, draft: Draft) -> bool:
    generations, message = get(event, "generations"), get(event, "message")
    content, calls = get(message, "content"), get(message, "tool_calls")
    is_v1 = get(event, "generation_id", "response_id") is not None and get(event, "text") is not None
    is_generated = is_list(generations) and get(event, "id") is not None
    is_v2 = get(event, "finish_reason") is not None and (is_list(content) or is_list(calls))
    if not (is_generated or is_v1 or is_v2):
        return False
    draft.begin(get(event, "id", "response_id", "generation_id"), whole=True)
    _describe_cohere(event, draft)
    if is_generated:
        for position, generation in enumerate(items(generations)):
            draft.finish(get(generation, "finish_reason"), position)
            draft.add_text(get(generation, "text"))
    elif is_v1:
        _add_cohere_v1(event, draft)
    else:
        draft.add_reasoning(get(message, "tool_plan"))
        for part in items(content):
            draft.add_text(get(part, "text")) or draft.add_reasoning(get(part, "thinking"))
        for call in items(calls):
            draft.call_tool(None, dig(call, "function.name"), dig(call, "function.arguments"))
    return True


def _read_cohere_v2(kind: str, event: object, draft: Draft) -> None:
    if kind == "message-start":
        draft.begin(get(event, "id"), anew=True)
    delta = get(event, "delta")
    draft.count(get(delta, "usage"))
    draft.finish(get(delta, "finish_reason"))
    message = get(delta, "message")
    call, content = get(message, "tool_calls"), get(message, "content")
    if call is not None and not is_list(call):
        key, function = number(get(event, "index")) or 0, get(call, "function")
        draft.call_tool(key, get(function, "name"), get(function, "arguments"))
    elif content is None or is_list(content):
        draft.add_reasoning(get(message, "tool_plan"))
    else:
        draft.add_text(get(content, "text")) or draft.add_reasoning(get(content, "thinking"))


def _describe_cohere(response: object, draft: Draft) -> None:
    draft.identify(get(response, "id", "response_id", "generation_id"))
    draft.count(get(response, "usage")) or draft.count(get(response, "meta"))
    draft.finish(get(response, "finish_reason"))


def _add_cohere_v1(response: object, draft: Draft) -> None:
    draft.add_text(get(response, "text"))
    for call in items(get(response, "tool_calls")):
        draft.call_tool(None, get(call, "name"), to_json(get(call, "parameters")))
