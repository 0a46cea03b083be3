"""What many providers write alike: an error, or a usage object in an otherwise unknown response."""

from __future__ import annotations

from typing import Any

from .._counts import counts_in
from .._draft import Draft
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


# Where a response keeps its usage, whoever wrote it.
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
    """Take an error event; ``None`` if it is none."""
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
    """Take a response of which only the usage, and at most a plain text, is found; ``None`` if it has none."""
    for path in _USAGE:
        if draft.count(dig(event, path)):
            draft.name_model(get(event, "model", "model_name", "model_id"))
            said = get(event, "text", "response", "content") if not draft.has_content else None
            return draft.say(said)
    return None


def absorb_counts(event: Any, draft: Draft) -> bool | None:
    """Take a usage object itself, or one for each model, as LangChain's callback keeps them; ``None`` if it is none."""
    if draft.count(event):
        return False
    if type(event) is not dict or not event or not all(map(_is_only_counts, event.values())):
        return None
    for model, usage in event.items():
        draft.begin(model)
        draft.count(usage)
    return False


def _is_only_counts(usage: Any) -> bool:
    """Tell a usage object from a response that has its counts among other things."""
    if type(usage) is not dict or any(text(value) or is_list(value) for value in usage.values()):
        return False
    return counts_in(usage) is not None
