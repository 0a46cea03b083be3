"""Estimate what a model generated from what it shows."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..records import Usage
from . import _constants as constants
from ._counting import count_raw
from ._families import Family
from ._models import family_of
from ._values import dig, get, is_list, is_record, to_json
from ._values import text as plain


def estimate_output(text: str, *, model: str | None, tool_calls: Iterable[Any] = (), request: Any = None) -> Usage:
    """Estimate the output tokens of a response from its visible text and tool calls.

    Args:
        text: The visible text.
        model: The model's name in any form.
        tool_calls: The tools it called: :class:`ToolCall`, or anything with ``name`` and ``arguments``.
        request: The request, if it is known; it tells what an answer costs on top with tools, a schema or a forced
            function, and through the Responses API.

    Returns:
        A usage whose output is marked as estimated, and as a lower bound where the model also reasons in hiding. Never
        raises.
    """
    family = family_of(model)
    calls = [(plain(get(call, "name")), to_json(get(call, "arguments"))) for call in tool_calls]
    said = plain(text)
    words = count_raw(said, family)
    forced = _forces_function(request)
    for name, arguments in calls:
        words += count_raw(arguments, family) + (0 if forced else count_raw(name, family))
    tokens = round(words * family.factor)
    if words:
        tokens += family.per_output if said else 0
        tokens += 0 if forced else _call_extras(len(calls), family)
        tokens += _request_extras(request, calls=bool(calls)) if family.openai else 0
    return Usage(output_tokens=tokens, estimated=frozenset({"output_tokens"}), lower_bound=family.hides_reasoning)


def _call_extras(calls: int, family: Family) -> int:
    if calls > 1 and family.openai:
        return constants.PARALLEL_OUTPUT_CALLS + constants.PER_PARALLEL_OUTPUT_CALL * calls
    return family.per_output_call * calls


def _forces_function(request: Any) -> bool:
    return is_record(get(request, "tool_choice")) and plain(dig(request, "tool_choice.type")) == "function"


def _request_extras(request: Any, *, calls: bool) -> int:
    schema = dig(request, "response_format.json_schema", "text.format.schema")
    if get(request, "messages") is None and get(request, "input") is not None:
        return constants.ANSWER_OF_RESPONSES
    if not calls and is_list(get(request, "tools")):
        return constants.ANSWER_WITH_TOOLS_AND_SCHEMA if schema is not None else constants.ANSWER_WITH_TOOLS
    return 0
