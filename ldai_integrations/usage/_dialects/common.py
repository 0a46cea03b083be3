"""What many providers have in common: errors, and usage objects in otherwise unknown responses."""

from __future__ import annotations

from typing import Any

from .._calls import Draft
from .._counts import counts_in
from .._values import dig, get, is_list, is_record, text

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


def absorb_error(event: Any, draft: Draft) -> bool | None:
    """Read an error event; return ``None`` if it is not one."""
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
            return None
        draft.fail({"type": name})
    return False


def absorb_usage(event: Any, draft: Draft) -> bool | None:
    """Read the usage, and at most a plain text, of an unknown response; return ``None`` if it has no usage."""
    usage = next((found for found in (dig(event, path) for path in _USAGE) if counts_in(found) is not None), None)
    if usage is None:
        return None
    draft.begin(whole=True)
    draft.count(usage)
    draft.name_model(get(event, "model", "model_name", "model_id"))
    said = get(event, "text", "response", "content") if not draft.call.has_content else None
    return draft.say(said)


def absorb_counts(event: Any, draft: Draft) -> bool | None:
    """Read a usage object, or one for each model as LangChain's callback has them; return ``None`` if it is neither."""
    if counts_in(event) is not None:
        draft.begin(whole=True)
        draft.count(event)
        return False
    if type(event) is not dict or not event:
        return None
    for usage in event.values():
        has_more = type(usage) is not dict or any(text(value) or is_list(value) for value in usage.values())
        if has_more or counts_in(usage) is None:
            return None  # a response, which has its counts among other things
    for model, usage in event.items():
        draft.begin(model)
        draft.count(usage)
        draft.name_model(model)
    return False
