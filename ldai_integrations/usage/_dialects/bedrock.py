"""Bedrock's Converse API, Amazon Nova, and the other bodies of InvokeModel."""

from __future__ import annotations

from typing import Any

from .._calls import Draft
from .._values import dig, get, is_list, is_record, items, number, text, to_json


def absorb_converse(event: Any, draft: Draft) -> bool | None:
    """Read a Converse response or an event of its stream; return ``None`` if it is neither. boto3 returns dicts."""
    if not is_record(event):
        return None
    delta = get(event, "contentBlockDelta")
    if delta is not None:
        piece = get(delta, "delta")
        spoke = draft.add_text(get(piece, "text")) or draft.add_reasoning(dig(piece, "reasoningContent.text"))
        return spoke or draft.call_tool(number(get(delta, "contentBlockIndex")) or 0, None, dig(piece, "toolUse.input"))
    start = get(event, "contentBlockStart")
    if start is not None:
        return draft.call_tool(number(get(start, "contentBlockIndex")) or 0, dig(start, "start.toolUse.name"))
    content = dig(event, "output.message.content")
    stop = dig(event, "stopReason", "messageStop.stopReason")
    if is_list(content):
        draft.begin(whole=True)
        draft.count(get(event, "usage"))
        draft.finish(stop)
        return _message(content, draft)
    usage = dig(event, "metadata.usage")
    if stop is not None or usage is not None:
        draft.count(usage)
        draft.finish(stop)
        return False
    if get(event, "messageStart") is not None:
        draft.begin_next()
        return False
    return False if get(event, "messageStop", "contentBlockStop") is not None else None


def _message(content: Any, draft: Draft) -> bool:
    spoke = False
    for block in items(content):
        spoke |= draft.add_text(get(block, "text"))
        spoke |= draft.add_reasoning(dig(block, "reasoningContent.reasoningText.text"))
        call = get(block, "toolUse")
        if call is not None:
            spoke |= draft.call_tool(None, get(call, "name"), to_json(get(call, "input")))
    return spoke


def absorb_invoke(event: Any, draft: Draft) -> bool | None:
    """Read a Titan, Llama, Mistral, AI21 or Claude 2 body or a chunk of one; return ``None`` if it is neither."""
    if not is_record(event):
        return None
    # The body of what boto3 returns is a stream that only the caller may read. Its headers contain the counts.
    if draft.count(dig(event, "ResponseMetadata.HTTPHeaders")):
        return False
    for absorb_one in (_titan, _llama_or_claude, _mistral, _ai21):
        spoke = absorb_one(event, draft)
        if spoke is not None:
            return spoke
    return None


def _titan(event: Any, draft: Draft) -> bool | None:
    """Read a text, whose output is counted for each result or in the last chunk, or an embedding, which has none."""
    prompt = number(get(event, "inputTextTokenCount"))
    results = list(items(get(event, "results")))
    said = text(get(event, "outputText"))
    if prompt is None and not said and not any(text(get(result, "outputText")) for result in results):
        return None
    draft.begin(whole=bool(results))
    if get(event, "embedding", "embeddingsByType") is not None:
        draft.begin(whole=True)
        draft.count({"prompt_tokens": prompt, "total_tokens": prompt})
        return False
    output = number(get(event, "totalOutputTextTokenCount"))
    if output is None and results:
        output = sum(number(get(result, "tokenCount")) or 0 for result in results)
    draft.count({"inputTextTokenCount": prompt, "totalOutputTextTokenCount": output})
    draft.finish(get(event, "completionReason"))
    spoke = draft.add_text(said)
    for position, result in enumerate(results):
        draft.finish(get(result, "completionReason"), position)
        spoke |= draft.add_text(get(result, "outputText"))
    return spoke


def _llama_or_claude(event: Any, draft: Draft) -> bool | None:
    counted = number(get(event, "generation_token_count", "prompt_token_count")) is not None
    said = text(get(event, "generation", "completion"))
    if not counted and not (said and "stop_reason" in event):
        return None
    draft.count(event)
    draft.finish(get(event, "stop_reason"))
    return draft.add_text(said)


def _mistral(event: Any, draft: Draft) -> bool | None:
    outputs = [output for output in items(get(event, "outputs")) if is_record(output) and "stop_reason" in output]
    for position, output in enumerate(outputs):
        draft.finish(output["stop_reason"], position)
    return draft.add_text("".join(text(get(output, "text")) for output in outputs)) if outputs else None


def _ai21(event: Any, draft: Draft) -> bool | None:
    """Read a body of AI21's Jurassic, which lists its tokens instead of counting them."""
    completions = [one for one in items(get(event, "completions")) if text(dig(one, "data.text"))]
    prompt = dig(event, "prompt.tokens")
    if not completions or not is_list(prompt):
        return None
    output = sum(len(list(items(dig(one, "data.tokens")))) for one in completions)
    draft.count({"prompt_token_count": len(prompt), "generation_token_count": output})
    for position, one in enumerate(completions):
        draft.finish(dig(one, "finishReason.reason"), position)
    return draft.add_text("".join(text(dig(one, "data.text")) for one in completions))
