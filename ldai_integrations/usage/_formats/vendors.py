"""The formats of Anthropic, Gemini and Cohere, wherever their models are served."""

from __future__ import annotations

from .._counts import read_counts
from .._draft import Draft
from .._fields import dig, fields_of, get, is_list, items, number, text, to_json
from .._shapes import GEMINI

# Anthropic's events without content that is read.
_ANTHROPIC_MARKS = ("content_block_stop", "ping")
_ANTHROPIC_CALLS = ("tool_use", "server_tool_use", "mcp_tool_use")
# Google's words for the tiers.
_GEMINI_TIERS = {"on_demand_flex": "flex", "on_demand_priority": "priority"}
_COHERE_V2 = frozenset(
    (
        "message-start",
        "content-start",
        "content-delta",
        "content-end",
        "tool-plan-delta",
        "tool-call-start",
        "tool-call-delta",
        "tool-call-end",
        "citation-start",
        "citation-end",
        "message-end",
    )
)
_COHERE_V1 = (
    "stream-start",
    "text-generation",
    "tool-calls-generation",
    "tool-calls-chunk",
    "citation-generation",
    "search-results",
)


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
    elif kind == "message_stop":
        draft.call.closed = True
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
    if text(get(block, "type")) in _ANTHROPIC_CALLS:
        arguments = to_json(get(block, "input"))
        draft.call_tool(key, get(block, "name"), "" if key is not None and arguments == "{}" else arguments)
    else:
        draft.add_text(get(block, "text")) or draft.add_reasoning(get(block, "thinking"))


# Gemini


def read_gemini(event: object, draft: Draft) -> bool:
    """Read a response of Gemini's generateContent or a chunk of one, also of Vertex and of the Live API."""
    fields = fields_of(event)
    candidates = fields.get("candidates")
    usage = get(fields, "usageMetadata", "usage_metadata")
    live = get(fields, "serverContent", "server_content")
    if not is_list(candidates) and live is None:
        counts = read_counts(usage)
        if counts is None or counts.shape is not GEMINI:
            return False
    name = get(fields, "responseId", "response_id")
    draft.begin(name, whole=is_list(candidates))
    draft.identify(name)
    draft.name_model(get(fields, "modelVersion", "model_version"))
    draft.count(usage)
    traffic = text(get(usage, "trafficType")) or text(dig(usage, "traffic_type.value"))
    draft.name_tier(_GEMINI_TIERS.get(traffic.lower()))
    draft.finish(dig(fields, "promptFeedback.blockReason", "prompt_feedback.block_reason"))
    contents = [get(live, "modelTurn", "model_turn")]
    for position, candidate in enumerate(items(candidates)):
        draft.finish(get(candidate, "finishReason", "finish_reason"), position)
        contents.append(get(candidate, "content"))
    for part in (part for content in contents for part in items(get(content, "parts"))):
        call = get(part, "functionCall", "function_call")
        if get(part, "thought") is True:
            draft.add_reasoning(get(part, "text"))
        elif call is not None:
            draft.call_tool(None, get(call, "name"), to_json(get(call, "args")))
        else:
            code = dig(part, "executableCode.code", "executable_code.code")
            draft.add_text(get(part, "text")) or draft.add_text(code)
    return True


def read_gemini_interaction(event: object, draft: Draft) -> bool:
    """Read an interaction of Gemini's Interactions API or an event of one."""
    kind = text(get(event, "event_type"))
    if kind in ("step.delta", "content.delta"):
        delta = get(event, "delta")
        draft.add_text(get(delta, "text")) or draft.add_reasoning(dig(delta, "content.text"))
        return True
    whole = event if text(get(event, "object")) == "interaction" else None
    interaction = whole if whole is not None else get(event, "interaction")
    if interaction is None and not kind.startswith(("interaction.", "step.")):
        return False
    if whole is not None:
        draft.begin(get(whole, "id"), whole=True)
    draft.describe(interaction)
    draft.count(get(interaction, "usage")) or draft.count(dig(event, "metadata.usage"))
    status = text(get(interaction, "status"))
    if status != "in_progress":
        draft.finish(status)
    for step in items(get(whole, "steps", "outputs")):
        for part in items(get(step, "content")):
            draft.add_text(get(part, "text"))
    return True


def read_vertex_embeddings(event: object, draft: Draft) -> bool:
    """Read embeddings of Vertex, which count each text."""
    vectors = [get(one, "embeddings") for one in items(get(event, "predictions"))] or items(get(event, "embeddings"))
    counts = [number(dig(one, "statistics.token_count", "statistics.tokenCount")) for one in vectors]
    together = sum(count or 0 for count in counts)
    if together:
        draft.count({"prompt_tokens": together, "total_tokens": together})
    return together > 0


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
        draft.identify(get(event, "id"))
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
