"""Estimate what a model generated from what it shows."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..records import Usage
from ._counting import count_tokens
from ._models import family_of
from ._values import get, text as plain, to_json


def estimate_output(text: str, *, model: str | None, tool_calls: Iterable[Any] = ()) -> Usage:
    """Estimate the output tokens of a response from its visible text and tool calls.

    Args:
        text: The visible text.
        model: The model's name in any form.
        tool_calls: The tools it called: :class:`ToolCall`, or anything with ``name`` and ``arguments``.

    Returns:
        A usage whose output is marked as estimated, and as a lower bound where the model also reasons in hiding. Never
        raises.
    """
    family = family_of(model)
    tokens = count_tokens(text, model=model)
    for call in tool_calls:
        tokens += count_tokens(plain(get(call, "name")), model=model) + 7
        tokens += count_tokens(to_json(get(call, "arguments")), model=model)
    return Usage(output_tokens=tokens, estimated=frozenset({"output_tokens"}), lower_bound=family.hides_reasoning)
