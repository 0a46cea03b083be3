"""A large text, and the response of a provider that contains it."""

from __future__ import annotations

from typing import Any

MB = 2**20
TEXT = ("Grüße an word, " * MB)[:MB]
USAGE = {"prompt_tokens": 7001, "completion_tokens": 9002, "total_tokens": 16003}


def completion(text: str, **more: Any) -> dict[str, Any]:
    """Build a provider's response."""
    message = {"role": "assistant", "content": text}
    choices = [{"index": 0, "finish_reason": "stop", "message": message}]
    return {"id": "x", "object": "chat.completion", "model": "gpt-4o", "choices": choices, **more}
