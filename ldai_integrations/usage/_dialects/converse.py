"""Bedrock's Converse API, and Amazon Nova through InvokeModel, which speaks the same."""

from __future__ import annotations

from typing import Any

from .._draft import Draft
from .._values import dig, get, is_list, is_record, items, number, to_json


def absorb(event: Any, draft: Draft) -> bool | None:
    """Take a Converse response or an event of its stream; ``None`` if it is neither. boto3 hands out dicts only."""
    if not is_record(event):
        return None
    delta = get(event, "contentBlockDelta")
    if delta is not None:
        return _delta(delta, draft)
    start = get(event, "contentBlockStart")
    if start is not None:
        return draft.call(number(get(start, "contentBlockIndex")) or 0, dig(start, "start.toolUse.name"))
    content = dig(event, "output.message.content")
    stop = dig(event, "stopReason", "messageStop.stopReason")
    if is_list(content):
        draft.finish(stop)
        draft.count(get(event, "usage"))
        return _message(content, draft)
    usage = dig(event, "metadata.usage")
    if stop is not None or usage is not None:
        draft.finish(stop)
        draft.count(usage)
        return False
    known = get(event, "messageStart", "messageStop", "contentBlockStop")
    return False if known is not None else None


def _delta(event: Any, draft: Draft) -> bool:
    delta = get(event, "delta")
    spoke = draft.say(get(delta, "text")) or draft.think(dig(delta, "reasoningContent.text"))
    return spoke or draft.call(number(get(event, "contentBlockIndex")) or 0, None, dig(delta, "toolUse.input"))


def _message(content: Any, draft: Draft) -> bool:
    spoke = False
    for block in items(content):
        spoke |= draft.say(get(block, "text"))
        spoke |= draft.think(dig(block, "reasoningContent.reasoningText.text"))
        call = get(block, "toolUse")
        if call is not None:
            spoke |= draft.call(None, get(call, "name"), to_json(get(call, "input")))
    return spoke
