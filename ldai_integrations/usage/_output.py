"""Estimates of what a model generated, from what it shows."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..records import Usage
from ._counting import count_for
from ._families import Family, family_of, openai_rules
from ._values import dig, get, is_record, items, plain_json, to_json
from ._values import text as plain


def estimate_output(
    text: str,
    *,
    model: str | None,
    tool_calls: Iterable[Any] = (),
    request: Any = None,
    api: str = "chat",
    cut: bool = False,
) -> Usage:
    """Estimate the output tokens of a response from its visible text and tool calls.

    Args:
        text: The visible text.
        model: The model's name in any form.
        tool_calls: The tool calls: :class:`ToolCall`, or any objects with ``name`` and ``arguments``.
        request: The request, if it is known. It shows what tools, a schema or a forced function add to an answer, and
            which API was used.
        api: The API if the request is not known; ``"responses"`` is OpenAI's Responses API.
        cut: True if the answer was cut off at its limit, so that it has no end.

    Returns:
        A usage whose output is marked as estimated, and as a lower bound if the model also reasons invisibly. Never
        raises.
    """
    family = family_of(model)
    said = plain(text)
    calls = [(plain(get(call, "name")), to_json(get(call, "arguments"))) for call in tool_calls]
    calls = [call for call in calls if any(call)]
    if request is not None:
        # A stored prompt of the Responses API is a mapping; a prompt of the completions API is text.
        has_input = get(request, "input") is not None or is_record(get(request, "prompt"))
        api = "responses" if has_input and get(request, "messages") is None else "chat"
    tokens = count_for(said, family)
    if calls and family.splits_arguments:
        tokens += _split_calls(calls, family)
        tokens -= _forced_part(calls[0][0], family, request, said)
    elif calls:
        tokens += _json_calls(calls, family, request, api)
    elif said and family.openai:
        tokens += family.per_responses_output if api == "responses" else family.per_output
        if next(items(get(request, "tools")), None) is not None:
            has_schema = dig(request, "response_format.json_schema", "text.format.schema") is not None
            tokens += 5 if has_schema else 1
    elif said and not cut:
        tokens += family.per_output
    return Usage(
        output_tokens=round(tokens),
        estimated=frozenset({"output_tokens"}),
        lower_bound=family.hides_reasoning,
    )


def _json_calls(calls: list[tuple[str, str]], family: Family, request: Any, api: str) -> float:
    """Count tool calls that are written as a name and a JSON object, or as the object only if they are forced."""
    rules = openai_rules(family, api)
    tokens = sum(count_for(arguments, family) for _, arguments in calls)
    if plain(dig(request, "tool_choice.type")) == "function":
        return tokens + rules.forced_output_call
    tokens += sum(count_for(name, family) for name, _ in calls)
    if family.openai and len(calls) > 1:
        return tokens + rules.parallel_output_calls + 6 * len(calls)
    return tokens + len(calls) * (
        family.per_responses_call if family.openai and api == "responses" else family.per_output_call
    )


def _split_calls(calls: list[tuple[str, str]], family: Family) -> float:
    """Count tool calls whose arguments are written one by one."""
    tokens = float(family.per_output_calls + family.per_output_call * len(calls))
    for name, written in calls:
        arguments = plain_json(written)
        if not isinstance(arguments, dict):  # cut off
            arguments = {"": written}
        tokens += count_for(name, family)
        for parameter, value in arguments.items():
            tokens += family.per_output_argument + count_for(parameter, family) + count_for(to_json(value), family)
    return tokens


def _forced_part(name: str, family: Family, request: Any, said: str) -> float:
    """Count what Claude does not write itself because the request forces it to call a tool.

    If the request is not known, an answer that is only a tool call was probably forced: a model that may choose mostly
    writes some text first.
    """
    if not family.forced_call:
        return 0
    kind, choice = plain(dig(request, "tool_choice.type")), dig(request, "toolConfig.toolChoice")
    is_this_tool = kind == "tool" or get(choice, "tool") is not None or (request is None and not said)
    tokens = count_for(name, family) if is_this_tool else 0
    if is_this_tool or kind == "any" or get(choice, "any") is not None:
        tokens += family.forced_call
    if dig(request, "tool_choice.disable_parallel_tool_use") is True:
        tokens += 10
    return tokens
