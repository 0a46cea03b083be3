"""Gemini and Vertex ``generateContent``, and the Interactions API."""

from __future__ import annotations

from typing import Any

from .._calls import Draft
from .._counts import counts_in
from .._shapes import GEMINI
from .._values import dig, fields_of, get, is_list, items, number, text, to_json

# The words of Vertex for the tiers.
_TIERS = {"on_demand_flex": "flex", "on_demand_priority": "priority"}


def absorb(event: Any, draft: Draft) -> bool:
    """Read a generateContent response or a chunk of one."""
    event = fields_of(event)
    candidates = event.get("candidates")
    usage = get(event, "usageMetadata", "usage_metadata")
    live = get(event, "serverContent", "server_content")
    if not is_list(candidates) and live is None:
        counts = counts_in(usage)
        if counts is None or counts.shape is not GEMINI:
            return False
    name = get(event, "responseId", "response_id")
    draft.begin(name, whole=is_list(candidates))
    draft.identify(name)
    draft.name_model(get(event, "modelVersion", "model_version"))
    draft.count(usage)
    traffic = text(get(usage, "trafficType")) or text(get(get(usage, "traffic_type"), "value"))
    draft.name_tier(_TIERS.get(traffic.lower()))
    draft.finish(dig(event, "promptFeedback.blockReason", "prompt_feedback.block_reason"))
    _parts(get(live, "modelTurn", "model_turn"), draft)
    for position, candidate in enumerate(items(candidates)):
        draft.finish(get(candidate, "finishReason", "finish_reason"), position)
        _parts(get(candidate, "content"), draft)
    return True


def _parts(content: object, draft: Draft) -> None:
    for part in map(fields_of, items(get(content, "parts"))):
        call = get(part, "functionCall", "function_call")
        if get(part, "thought") is True:
            draft.add_reasoning(get(part, "text"))
        elif call is not None:
            draft.call_tool(None, get(call, "name"), to_json(get(call, "args")))
        else:
            draft.add_text(get(part, "text")) or draft.add_text(
                dig(part, "executableCode.code", "executable_code.code")
            )


def absorb_interaction(event: object, draft: Draft) -> bool:
    """Read an interaction or an event of one."""
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
    draft.identify(get(interaction, "id"))
    draft.name_model(get(interaction, "model"))
    draft.count(get(interaction, "usage")) or draft.count(dig(event, "metadata.usage"))
    status = text(get(interaction, "status"))
    if status not in ("", "in_progress"):
        draft.finish(status)
    for step in items(get(whole, "steps", "outputs")):
        for part in items(get(step, "content")):
            draft.add_text(get(part, "text"))
    return True


def absorb_predictions(event: object, draft: Draft) -> bool:
    """Read embeddings of Vertex, which count each text."""
    vectors = [get(one, "embeddings") for one in items(get(event, "predictions"))] or items(get(event, "embeddings"))
    statistics = (get(vector, "statistics") for vector in vectors)
    counts = [number(get(one, "token_count", "tokenCount")) for one in statistics if one is not None]
    together = sum(count or 0 for count in counts)
    if together:
        draft.count({"prompt_tokens": together, "total_tokens": together})
    return together > 0
