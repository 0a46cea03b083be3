"""Bodies that Bedrock's InvokeModel passes on from models with no API of their own there."""

from __future__ import annotations

from typing import Any

from .._draft import Draft
from .._values import dig, get, is_list, is_record, items, number, text


def absorb(event: Any, draft: Draft) -> bool | None:
    """Take a Titan, Llama, Mistral, AI21 or Claude 2 body or a chunk of one; ``None`` if it is neither."""
    if not is_record(event):
        return None
    for absorb_one in (_metered, _titan, _llama_or_claude, _mistral, _ai21):
        spoke = absorb_one(event, draft)
        if spoke is not None:
            return spoke
    return None


def _metered(event: Any, draft: Draft) -> bool | None:
    """Take what boto3 returns, whose body is a stream that only the caller may read; its headers count the tokens."""
    return False if draft.count(dig(event, "ResponseMetadata.HTTPHeaders")) else None


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


def _llama_or_claude(event: Any, draft: Draft) -> bool | None:
    counted = number(get(event, "generation_token_count", "prompt_token_count")) is not None
    said = text(get(event, "generation", "completion"))
    if not counted and not (said and "stop_reason" in event):
        return None
    draft.count(event)
    draft.finish(get(event, "stop_reason"))
    return draft.say(said)


def _mistral(event: Any, draft: Draft) -> bool | None:
    outputs = [output for output in items(get(event, "outputs")) if is_record(output) and "stop_reason" in output]
    for output in outputs:
        draft.finish(output["stop_reason"])
    return draft.say("".join(text(get(output, "text")) for output in outputs)) if outputs else None


def _ai21(event: Any, draft: Draft) -> bool | None:
    """AI21's Jurassic lists its tokens instead of counting them."""
    completions = [one for one in items(get(event, "completions")) if text(dig(one, "data.text"))]
    prompt = dig(event, "prompt.tokens")
    if not completions or not is_list(prompt):
        return None
    output = sum(len(list(items(dig(one, "data.tokens")))) for one in completions)
    draft.count({"prompt_token_count": len(prompt), "generation_token_count": output})
    for one in completions:
        draft.finish(dig(one, "finishReason.reason"))
    return draft.say("".join(text(dig(one, "data.text")) for one in completions))
