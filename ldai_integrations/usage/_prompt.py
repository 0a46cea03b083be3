"""Estimate what a request costs before it is answered."""

from __future__ import annotations

from typing import Any, Literal

from ..records import Usage
from ._counting import count_tokens
from ._values import get, items, text, to_json

API = Literal["chat", "responses", "messages", "converse", "generate", "embeddings"]


def estimate_prompt(request: Any, *, model: str | None, api: API) -> Usage | None:
    """Estimate the input tokens of a request.

    Args:
        request: The provider's request as a dict.
        model: The model's name in any form.
        api: The kind of request.

    Returns:
        A usage whose input is marked as estimated; ``None`` where the request holds nothing to count. Never raises.
    """
    tokens = 3
    for message in items(get(request, "messages", "input", "contents")):
        content = get(message, "content", "parts")
        parts = [content] if text(content) else [get(part, "text") for part in items(content)]
        tokens += 4 + count_tokens("".join(text(part) for part in parts), model=model)
    if tokens == 3:
        tokens = count_tokens(to_json(get(request, "input", "prompt")), model=model)
    return Usage(input_tokens=tokens, estimated=frozenset({"input_tokens"})) if tokens else None
