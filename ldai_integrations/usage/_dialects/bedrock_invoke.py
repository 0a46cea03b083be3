"""Bodies that Bedrock's InvokeModel passes on from models with no API of their own there."""

from __future__ import annotations

from typing import Any

from .._draft import Draft
from .._values import dig, get, is_record, items, number, text


def absorb(event: Any, draft: Draft) -> bool | None:
    """Take a Titan, Llama, Mistral, AI21 or Claude 2 body or a chunk of one; ``None`` if it is neither."""
    if not is_record(event):
        return None
    metrics = draft.count(get(event, "amazon-bedrock-invocationMetrics"))
    recognised = _titan(event, draft)
    if recognised is None:
        recognised = _plain(event, draft)
    return recognised if recognised is not None else (False if metrics else None)


def _titan(event: Any, draft: Draft) -> bool | None:
    """Titan counts the output once per result, or once in the last chunk."""
    prompt = number(get(event, "inputTextTokenCount"))
    spoke = draft.say(get(event, "outputText"))
    results = list(items(get(event, "results")))
    if prompt is None and not spoke and not any(text(get(result, "outputText")) for result in results):
        return None
    output = number(get(event, "totalOutputTextTokenCount"))
    if output is None and results:
        output = sum(number(get(result, "tokenCount")) or 0 for result in results)
    draft.count({"inputTextTokenCount": prompt, "totalOutputTextTokenCount": output})
    draft.finish(get(event, "completionReason"))
    for result in results:
        draft.finish(get(result, "completionReason"))
        spoke |= draft.say(get(result, "outputText"))
    return spoke


def _plain(event: Any, draft: Draft) -> bool | None:
    recognised, spoke = False, False
    if "stop_reason" in event and text(get(event, "generation", "completion")):
        recognised, spoke = True, draft.say(get(event, "generation", "completion"))
    if number(get(event, "generation_token_count", "prompt_token_count")) is not None:
        recognised = draft.count(event)
    for output in items(get(event, "outputs")):
        if is_record(output) and "stop_reason" in output:
            recognised, spoke = True, spoke | draft.say(get(output, "text"))
            draft.finish(get(output, "stop_reason"))
    for completion in items(get(event, "completions")):
        if not text(dig(completion, "data.text")):
            continue
        recognised, spoke = True, spoke | draft.say(dig(completion, "data.text"))
        draft.finish(dig(completion, "finishReason.reason"))
    if recognised:
        draft.finish(get(event, "stop_reason"))
    return spoke if recognised else None
