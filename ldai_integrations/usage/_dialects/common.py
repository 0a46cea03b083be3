"""What many providers write alike: an error, or a usage object in an otherwise unknown response."""

from __future__ import annotations

from typing import Any

from .._draft import Draft
from .._values import dig, get, is_record, text

# Events of AWS streams that are errors, named by the exception.
_AWS_ERRORS = (
    "internalServerException",
    "modelStreamErrorException",
    "modelTimeoutException",
    "serviceUnavailableException",
    "throttlingException",
    "validationException",
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
    """Take nothing but the usage of a response, or a usage object itself; ``None`` if there is none."""
    for path in ("usage", "usage_metadata", "usageMetadata", "token_usage", "meta", "metrics", "metadata.usage"):
        if draft.count(dig(event, path)):
            draft.name_model(get(event, "model"))
            return False
    return False if draft.count(event) else None
