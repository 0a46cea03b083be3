"""Estimate what a model generated from what it shows."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

from ..records import Usage
from ._counting import count_own
from ._families import Family
from ._models import family_of, openai_rules
from ._values import dig, get, is_record, items, plain_json, to_json
from ._values import text as plain

_encode = json.JSONEncoder(ensure_ascii=False).encode


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
        tool_calls: The tools it called: :class:`ToolCall`, or anything with ``name`` and ``arguments``.
        request: The request, if it is known; it tells what an answer costs on top with tools, a schema or a forced
            function, and which API it went through.
        api: That API where the request is not known; ``"responses"`` is OpenAI's Responses API.
        cut: True where the answer was cut off at its limit, and never came to its end.

    Returns:
        A usage whose output is marked as estimated, and as a lower bound where the model also reasons in hiding. Never
        raises.
    """
    family = family_of(model)
    said = plain(text)
    named = [(plain(get(call, "name")), to_json(get(call, "arguments"))) for call in tool_calls]
    calls = [call for call in named if any(call)]
    api = api if request is None else _api_of(request)
    tokens = _words(said, family)
    if calls and family.splits_arguments:
        tokens += _split_calls(calls, family)
        tokens -= _spared(calls, family, request, silent=not said) if family.per_output_calls else 0
    elif calls:
        tokens += _json_calls(calls, family, request, api)
    elif said and (family.openai or not cut):
        tokens += _around_words(family, request, api)
    return Usage(
        output_tokens=round(tokens),
        estimated=frozenset({"output_tokens"}),
        lower_bound=family.hides_reasoning,
    )


def _words(said: str, family: Family) -> float:
    """Count the words of an answer; Claude's begins as after a space, which stays alone before a number."""
    alone = family.vocabulary is not None and family.vocabulary.spaces and said[:1].isdigit()
    return count_own(said, family) + alone


def _around_words(family: Family, request: Any, api: str) -> int:
    """Count what an answer in words has beyond them, through the API and with the tools that it was asked with."""
    if not family.openai:
        return family.per_output
    rules = openai_rules(family, api)
    tokens = family.per_output if rules.api == "chat" else family.per_responses_output
    if next(items(get(request, "tools")), None) is None:
        return tokens
    schema = dig(request, "response_format.json_schema", "text.format.schema")
    return tokens + (rules.answer_with_tools if schema is None else rules.answer_with_tools_and_schema)


def _json_calls(calls: list[tuple[str, str]], family: Family, request: Any, api: str) -> float:
    """Count calls that are written as a name and a JSON object; of a forced function only the object is."""
    rules = openai_rules(family, api)
    tokens = sum(count_own(arguments, family) for _, arguments in calls)
    if is_record(get(request, "tool_choice")) and plain(dig(request, "tool_choice.type")) == "function":
        return tokens + rules.forced_output_call
    tokens += sum(count_own(name, family) for name, _ in calls)
    if len(calls) > 1 and family.openai:
        return tokens + rules.parallel_output_calls + rules.per_parallel_output_call * len(calls)
    through_responses = family.openai and rules.api == "responses"
    return tokens + (family.per_responses_call if through_responses else family.per_output_call) * len(calls)


def _split_calls(calls: list[tuple[str, str]], family: Family) -> float:
    """Count calls whose arguments are written one by one."""
    tokens = float(family.per_output_calls + family.per_output_call * len(calls))
    for name, arguments in calls:
        tokens += count_own(name, family)
        for parameter, value in _arguments(arguments):
            tokens += family.per_output_argument + count_own(parameter, family) + count_own(value, family)
    return tokens


def _spared(calls: list[tuple[str, str]], family: Family, request: Any, *, silent: bool) -> float:
    """Count what of its calls Claude has not to write itself, because the request forces it to make them.

    Where the request is not known, an answer of nothing but a call is taken to be one that had to be made: what asks
    for an answer of a schema forces the one tool, and a model that has the choice mostly says something first.
    """
    tokens = float(family.spared_closing) if dig(request, "tool_choice.disable_parallel_tool_use") is True else 0.0
    kind, of_bedrock = plain(dig(request, "tool_choice.type")), dig(request, "toolConfig.toolChoice")
    this_one = kind == "tool" or get(of_bedrock, "tool") is not None or (request is None and silent)
    if this_one or kind == "any" or get(of_bedrock, "any") is not None:
        tokens += family.spared_opening
    return tokens + count_own(calls[0][0], family) if this_one else tokens


def _arguments(written: str) -> Iterator[tuple[str, str]]:
    """Yield a call's arguments as texts, by name; without one where they are no whole object."""
    arguments = plain_json(written)
    if not isinstance(arguments, dict):
        yield "", written
        return
    for name, value in arguments.items():
        yield name, value if isinstance(value, str) else _encode(value)


def _api_of(request: Any) -> str:
    """Tell OpenAI's Responses API, whose prompt may be kept by OpenAI; a completion's prompt is text."""
    given = get(request, "input") is not None or is_record(get(request, "prompt"))
    return "responses" if given and get(request, "messages") is None else "chat"
