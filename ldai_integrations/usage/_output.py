"""Estimate what a model generated from what it shows."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

from ..records import Usage
from . import _constants as constants
from ._counting import count_raw
from ._families import Family
from ._models import family_of
from ._values import dig, get, is_list, is_record, plain_json, to_json
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
    said = plain(text)
    named = [(plain(get(call, "name")), to_json(get(call, "arguments"))) for call in tool_calls]
    calls = [call for call in named if any(call)]
    tokens = count_raw(said, family)
    if calls:
        tokens += _split_calls(calls, family) if family.splits_arguments else _json_calls(calls, family, request)
        tokens -= _spared(calls, family, request, silent=not said) if family.per_output_calls else 0
    elif said:
        tokens += family.per_output
    if tokens and family.openai:
        tokens += _request_extras(request, calls=bool(calls))
    return Usage(
        output_tokens=round(tokens * family.factor),
        estimated=frozenset({"output_tokens"}),
        lower_bound=family.hides_reasoning,
    )


def _json_calls(calls: list[tuple[str, str]], family: Family, request: Any) -> int:
    """Count calls that are written as a name and a JSON object; of a forced function only the object is."""
    tokens = sum(count_raw(arguments, family) for _, arguments in calls)
    if is_record(get(request, "tool_choice")) and plain(dig(request, "tool_choice.type")) == "function":
        return tokens
    tokens += sum(count_raw(name, family) for name, _ in calls)
    if len(calls) > 1 and family.openai:
        return tokens + constants.PARALLEL_OUTPUT_CALLS + constants.PER_PARALLEL_OUTPUT_CALL * len(calls)
    return tokens + family.per_output_call * len(calls)


def _split_calls(calls: list[tuple[str, str]], family: Family) -> int:
    """Count calls whose arguments are written one by one."""
    tokens = family.per_output_calls + family.per_output_call * len(calls)
    for name, arguments in calls:
        tokens += count_raw(name, family)
        for parameter, value in _arguments(arguments):
            tokens += family.per_output_argument + count_raw(parameter, family) + count_raw(value, family)
    return tokens


def _spared(calls: list[tuple[str, str]], family: Family, request: Any, *, silent: bool) -> int:
    """Count what of its calls Claude has not to write itself, because the request forces it to make them.

    Where the request is not known, an answer of nothing but calls is taken to be forced: most are, and a model that has
    the choice mostly says something first.
    """
    tokens = constants.UNCLOSED_CALLS if dig(request, "tool_choice.disable_parallel_tool_use") is True else 0
    kind, of_bedrock = plain(dig(request, "tool_choice.type")), dig(request, "toolConfig.toolChoice")
    if kind == "tool" or get(of_bedrock, "tool") is not None:
        tokens += constants.OPENED_CALL + count_raw(calls[0][0], family)
    elif kind == "any" or get(of_bedrock, "any") is not None or (request is None and silent):
        tokens += constants.OPENED_CALLS
    return tokens


def _arguments(written: str) -> Iterator[tuple[str, str]]:
    """Yield a call's arguments as texts, by name; without one where they are no whole object."""
    arguments = plain_json(written)
    if not isinstance(arguments, dict):
        yield "", written
        return
    for name, value in arguments.items():
        yield name, value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _request_extras(request: Any, *, calls: bool) -> int:
    schema = dig(request, "response_format.json_schema", "text.format.schema")
    if get(request, "messages") is None and get(request, "input") is not None:
        return constants.ANSWER_OF_RESPONSES
    if not calls and is_list(get(request, "tools")):
        return constants.ANSWER_WITH_TOOLS_AND_SCHEMA if schema is not None else constants.ANSWER_WITH_TOOLS
    return 0
