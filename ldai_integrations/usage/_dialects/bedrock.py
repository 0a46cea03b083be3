"""Bedrock's Converse API, Amazon Nova, and the other bodies of InvokeModel."""

from __future__ import annotations

from typing import Any

from .._calls import Draft
from .._values import dig, get, is_list, is_record, items, number, text, to_json


def absorb_converse(event: object, draft: Draft) -> bool:
    """Read a Converse response or an event of its stream. boto3 returns dicts."""
    if not is_record(event):
        return False
    delta, start = get(event, "contentBlockDelta"), get(event, "contentBlockStart")
    if delta is not None:
        piece = get(delta, "delta")
        if not (draft.add_text(get(piece, "text")) or draft.add_reasoning(dig(piece, "reasoningContent.text"))):
            draft.call_tool(number(get(delta, "contentBlockIndex")) or 0, None, dig(piece, "toolUse.input"))
        return True
    if start is not None:
        draft.call_tool(number(get(start, "contentBlockIndex")) or 0, dig(start, "start.toolUse.name"))
        return True
    content, usage = dig(event, "output.message.content"), dig(event, "metadata.usage")
    stop = dig(event, "stopReason", "messageStop.stopReason")
    if is_list(content):
        draft.begin(whole=True)
        draft.count(get(event, "usage"))
        draft.finish(stop)
        _message(content, draft)
    elif stop is not None or usage is not None:
        draft.count(usage)
        draft.finish(stop)
    elif get(event, "messageStart") is not None:
        draft.begin_next()
    else:
        return get(event, "messageStop", "contentBlockStop") is not None
    return True


def _message(content: object, draft: Draft) -> None:
    for block in items(content):
        draft.add_text(get(block, "text"))
        draft.add_reasoning(dig(block, "reasoningContent.reasoningText.text"))
        call = get(block, "toolUse")
        if call is not None:
            draft.call_tool(None, get(call, "name"), to_json(get(call, "input")))


def absorb_invoke(event: object, draft: Draft) -> bool:
    """Read a Titan, Llama, Mistral, AI21 or Claude 2 body or a chunk of one."""
    if not is_record(event):
        return False
    # The body of what boto3 returns is a stream that only the caller may read. Its headers contain the counts.
    if draft.count(dig(event, "ResponseMetadata.HTTPHeaders")):
        return True
    return any(absorb_one(event, draft) for absorb_one in (_titan, _llama_or_claude, _mistral, _ai21))


def _titan(event: object, draft: Draft) -> bool:
    """Read a text, whose output is counted for each result or in the last chunk, or an embedding, which has none."""
    prompt = number(get(event, "inputTextTokenCount"))
    results = list(items(get(event, "results")))
    words = text(get(event, "outputText"))
    if prompt is None and not words and not any(text(get(result, "outputText")) for result in results):
        return False
    draft.begin(whole=bool(results))
    if get(event, "embedding", "embeddingsByType") is not None:
        draft.begin(whole=True)
        draft.count({"prompt_tokens": prompt, "total_tokens": prompt})
        return True
    output = number(get(event, "totalOutputTextTokenCount"))
    if output is None and results:
        output = sum(number(get(result, "tokenCount")) or 0 for result in results)
    draft.count({"inputTextTokenCount": prompt, "totalOutputTextTokenCount": output})
    draft.finish(get(event, "completionReason"))
    draft.add_text(words)
    for position, result in enumerate(results):
        draft.finish(get(result, "completionReason"), position)
        draft.add_text(get(result, "outputText"))
    return True


def _llama_or_claude(event: Any, draft: Draft) -> bool:
    counted = number(get(event, "generation_token_count", "prompt_token_count")) is not None
    words = text(get(event, "generation", "completion"))
    if not counted and not (words and "stop_reason" in event):
        return False
    draft.count(event)
    draft.finish(get(event, "stop_reason"))
    draft.add_text(words)
    return True


def _mistral(event: object, draft: Draft) -> bool:
    outputs = [output for output in items(get(event, "outputs")) if is_record(output) and "stop_reason" in output]
    for position, output in enumerate(outputs):
        draft.finish(output["stop_reason"], position)
        draft.add_text(get(output, "text"))
    return bool(outputs)


def _ai21(event: object, draft: Draft) -> bool:
    """Read a body of AI21's Jurassic, which lists its tokens instead of counting them."""
    completions = [one for one in items(get(event, "completions")) if text(dig(one, "data.text"))]
    prompt = dig(event, "prompt.tokens")
    if not completions or not is_list(prompt):
        return False
    output = sum(len(list(items(dig(one, "data.tokens")))) for one in completions)
    draft.count({"prompt_token_count": len(prompt), "generation_token_count": output})
    for position, one in enumerate(completions):
        draft.finish(dig(one, "finishReason.reason"), position)
        draft.add_text(dig(one, "data.text"))
    return True
