"""Other formats: Ollama, llama.cpp, Hugging Face, watsonx, errors, and usage objects in unknown responses."""

from __future__ import annotations

from typing import Any

from .._calls import Draft
from .._counts import counts_in
from .._values import dig, get, is_a, is_list, is_record, items, number, text, to_json

# Events of AWS streams that are errors, named by the exception.
_AWS_ERRORS = (
    "internalServerException",
    "modelStreamErrorException",
    "modelTimeoutException",
    "serviceUnavailableException",
    "throttlingException",
    "validationException",
)
# Where responses of all kinds have their usage.
_USAGE = (
    "usage",
    "usage_metadata",
    "usageMetadata",
    "token_usage",
    "models_usage",
    "meta.usage",
    "meta",
    "metrics.accumulated_usage",
    "metrics",
    "metadata.usage",
    "metadata.tokenMetadata",
    "additional_kwargs",
)


def absorb_ollama(event: object, draft: Draft) -> bool:
    """Read an Ollama response or a line of one."""
    counted = number(get(event, "eval_count", "prompt_eval_count")) is not None
    if not counted and (not is_a(get(event, "done"), bool) or not text(get(event, "model"))):
        return False
    draft.begin_next()  # "done" is the end of an answer
    draft.name_model(get(event, "model"))
    draft.count(event)
    draft.finish(get(event, "done_reason"))
    draft.call.closed = True
    message = get(event, "message")
    for source in (message, event):
        draft.add_text(get(source, "content", "response"))
        draft.add_reasoning(get(source, "thinking"))
    for call in items(get(message, "tool_calls")):
        draft.call_tool(None, dig(call, "function.name"), to_json(dig(call, "function.arguments")))
    return True


def absorb_llama_cpp(event: object, draft: Draft) -> bool:
    """Read a completion of llama.cpp's own server or a chunk of one."""
    if number(get(event, "tokens_predicted")) is None or not is_a(get(event, "content"), str):
        return False
    draft.name_model(get(event, "model"))
    draft.count(event)
    draft.finish(get(event, "stop_type"))
    draft.add_text(get(event, "content"))
    return True


def absorb_hugging_face(event: object, draft: Draft) -> bool:
    """Read a text-generation response or an event of its stream."""
    token, whole = get(event, "token"), get(event, "generated_text")
    word = text(get(token, "text"))
    if not word and not text(whole):
        return False
    details = get(event, "details")
    draft.count(details)
    prefill = get(details, "prefill")
    if is_list(prefill) and len(prefill):
        draft.count({"input_length": len(prefill)})
    draft.finish(get(details, "finish_reason"))
    if not word:
        draft.add_text(whole)
    elif get(token, "special") is not True:
        draft.add_text(word)
    return True


def absorb_watsonx(event: object, draft: Draft) -> bool:
    """Read a text-generation response of watsonx or a chunk of one."""
    results = [one for one in items(get(event, "results")) if number(get(one, "generated_token_count")) is not None]
    if results:
        draft.name_model(get(event, "model_id"))
    for position, result in enumerate(results):
        draft.count(result)
        draft.finish(get(result, "stop_reason"), position)
        draft.add_text(get(result, "generated_text"))
    return bool(results)


def absorb_error(event: Any, draft: Draft) -> bool:
    """Read an error event."""
    error = get(event, "error")
    if text(get(event, "type")) == "error":
        draft.fail(error if error is not None and not text(error) else {"code": get(event, "code")})
    elif is_record(error) and get(error, "message", "code", "type") is not None:
        draft.fail(error)
    elif is_record(event) and text(error) and len(event) <= 2:  # Ollama; Hugging Face adds ``error_type``
        draft.fail({"type": get(event, "error_type")})
    else:
        name = next((name for name in _AWS_ERRORS if is_record(event) and get(event, name) is not None), None)
        if name is None:
            return False
        draft.fail({"type": name})
    return True


def absorb_usage(event: object, draft: Draft) -> bool:
    """Read the usage, and at most a plain text, of an unknown response."""
    usage = next((found for found in (dig(event, path) for path in _USAGE) if counts_in(found) is not None), None)
    if usage is None:
        return False
    draft.begin(whole=True)
    draft.count(usage)
    draft.name_model(get(event, "model", "model_name", "model_id"))
    if not draft.call.has_content:
        draft.add_text(get(event, "text", "response", "content"))
    return True


def absorb_counts(event: object, draft: Draft) -> bool:
    """Read a usage object, or one for each model as LangChain's callback has them."""
    counts = counts_in(event)
    if counts is not None:
        if counts.values.keys() == {"input"}:
            return False  # the answer of a service that counts the tokens of a prompt
        draft.begin(whole=True)
        draft.count(event)
        return True
    if type(event) is not dict or not event:
        return False
    for usage in event.values():
        has_more = type(usage) is not dict or any(text(value) or is_list(value) for value in usage.values())
        if has_more or counts_in(usage) is None:
            return False  # a response, which has its counts among other things
    for model, usage in event.items():
        draft.begin(model)
        draft.count(usage)
        draft.name_model(model)
    return True
