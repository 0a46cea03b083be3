"""What was read from a response, and the estimate of its output tokens."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import field, replace
from decimal import Decimal
from functools import reduce
from operator import add
from typing import Any

from .._value import value_class
from ..records import Usage
from ._counting import TextTally, count_for, count_tokens
from ._families import Family, family_of, openai_rules
from ._values import dig, get, is_record, items, plain_json, to_json
from ._values import text as plain

# Finish reasons of an answer that was cut off at its limit, in lower case.
_CUT = frozenset(("length", "max_tokens", "max_output_tokens"))


@value_class
class ToolCall:
    """A tool that the model called.

    Attributes:
        name: The tool's name; empty if the provider did not send it.
        arguments: The arguments as JSON text.
    """

    name: str
    arguments: str = ""


@value_class
class Reading:
    """Everything that was read from a response or a stream.

    Attributes:
        usage: The provider's own numbers; ``None`` if it sent none. The sum, if there are several calls.
        text: Visible output, at most 262,144 characters for each call.
        tool_calls: Tools that the model called, in order.
        model: The model that answered last, as the provider names it.
        error: Type or code of an error in the response, never its message.
        finish_reasons: Why generation ended, in the provider's words; at most one for each call.
        reasoning: Reasoning that the response shows, at most 262,144 characters for each call.
        rest: Counters of the text and reasoning beyond these limits.
        ids: The ids of the response, or of the responses that it contains.
        api: ``"responses"`` for OpenAI's Responses API, which adds one token to an answer; otherwise ``"chat"``.
        parts: The readings of the single calls, if there are several.
        service_tier: The tier that served the request, in the provider's words and in lower case.
        cost: What a gateway or the provider says that the call costs, in USD.
    """

    usage: Usage | None = None
    text: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    model: str | None = None
    error: str | None = None
    finish_reasons: tuple[str, ...] = ()
    reasoning: str = ""
    rest: tuple[TextTally, ...] = field(default=(), repr=False, compare=False)
    ids: tuple[str, ...] = ()
    api: str = field(default="chat", repr=False, compare=False)
    parts: tuple[Reading, ...] = ()
    service_tier: str = ""
    cost: Decimal | None = None

    @property
    def calls(self) -> tuple[Reading, ...]:
        """One reading for each provider call; only this one if the response is a single call.

        A sum that a framework reports without the single calls is one reading without ids.
        """
        return self.parts or (self,)

    @property
    def has_output(self) -> bool:
        """Whether there is any text, reasoning or tool call."""
        return bool(self.text or self.reasoning or self.tool_calls)

    @property
    def dropped_tokens(self) -> int:
        """Tokens of the text that is not kept; counting takes about 50 µs for 1,000 characters."""
        return sum(tally.tokens() for tally in self.rest)

    def estimate(self, *, model: str | None = None, request: object = None) -> Usage:
        """Estimate the output tokens from everything that was shown: about 50 µs for 1,000 characters.

        Args:
            model: The model's name, if the response does not contain it.
            request: The request, if it is known.
        """
        if self.parts:
            return reduce(add, (part.estimate(model=model, request=request) for part in self.parts))
        name = self.model or model
        usage = estimate_output(
            self.text,
            model=name,
            tool_calls=self.tool_calls,
            request=request,
            api=self.api,
            cut=not _CUT.isdisjoint(map(str.lower, self.finish_reasons)),
        )
        more = self.dropped_tokens
        if self.reasoning:
            more += count_tokens(self.reasoning, model=name) + family_of(name).per_reasoning
        return replace(usage, output_tokens=(usage.output_tokens or 0) + more)


def estimate_output(
    text: str,
    *,
    model: str | None,
    tool_calls: Iterable[Any] = (),
    request: object = None,
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
    answer = plain(text)
    calls = [(plain(get(call, "name")), to_json(get(call, "arguments"))) for call in tool_calls]
    calls = [call for call in calls if any(call)]
    if request is not None:
        # A stored prompt of the Responses API is a mapping; a prompt of the completions API is text.
        has_input = get(request, "input") is not None or is_record(get(request, "prompt"))
        api = "responses" if has_input and get(request, "messages") is None else "chat"
    tokens = count_for(answer, family)
    if calls and family.splits_arguments:
        tokens += _split_calls(calls, family)
        tokens -= _forced_part(calls[0][0], family, request, answer)
    elif calls:
        tokens += _json_calls(calls, family, request, api)
    elif answer and family.openai:
        tokens += family.per_responses_output if api == "responses" else family.per_output
        if next(items(get(request, "tools")), None) is not None:
            has_schema = dig(request, "response_format.json_schema", "text.format.schema") is not None
            tokens += 5 if has_schema else 1
    elif answer and not cut:
        tokens += family.per_output
    return Usage(
        output_tokens=round(tokens), estimated=frozenset({"output_tokens"}), lower_bound=family.hides_reasoning
    )


def _json_calls(calls: list[tuple[str, str]], family: Family, request: object, api: str) -> float:
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


def _forced_part(name: str, family: Family, request: object, answer: str) -> float:
    """Count what Claude does not write itself because the request forces it to call a tool.

    If the request is not known, an answer that is only a tool call was probably forced: a model that may choose mostly
    writes some text first.
    """
    if not family.forced_call:
        return 0
    kind, choice = plain(dig(request, "tool_choice.type")), dig(request, "toolConfig.toolChoice")
    is_this_tool = kind == "tool" or get(choice, "tool") is not None or (request is None and not answer)
    tokens = count_for(name, family) if is_this_tool else 0
    if is_this_tool or kind == "any" or get(choice, "any") is not None:
        tokens += family.forced_call
    if dig(request, "tool_choice.disable_parallel_tool_use") is True:
        tokens += 10
    return tokens
