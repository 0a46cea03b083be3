"""Estimates of the tokens of a request and of an answer, for which the provider reported no usage."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Literal

from ..records import Usage
from ._families import Family, OpenAIRules, family_of, openai_rules
from ._fields import dig, get, is_list, is_record, items, number, plain_json, to_json
from ._fields import text as plain
from ._requests import Conversation, Tool, Turn, from_chat, from_converse, from_generate, from_messages, from_responses
from ._tokens import count_for, count_raw, count_tokens

API = Literal["chat", "responses", "messages", "converse", "generate", "embeddings"]

_CONVERSATION_OF: dict[str, Callable[[object], Conversation]] = {
    "chat": from_chat,
    "responses": from_responses,
    "messages": from_messages,
    "converse": from_converse,
    "generate": from_generate,
}
# Keywords of a JSON schema that restrict the answer without being shown to OpenAI's models.
_NOT_SHOWN = frozenset(
    (
        "additionalProperties",
        "default",
        "exclusiveMaximum",
        "exclusiveMinimum",
        "maxItems",
        "maxLength",
        "maximum",
        "minItems",
        "minLength",
        "minimum",
        "required",
    )
)
# A schema may contain itself. No real schema is deeper or larger.
_DEEPEST = 8
_MOST_TYPES = 2_000


# Requests


def estimate_prompt(request: object, *, model: str | None, api: API) -> Usage | None:
    """Estimate the input tokens of a request.

    Exact for plain text to OpenAI's models; within a few percent with tools, schemas and images of known size.

    Args:
        request: The provider's request as a dict.
        model: The model's name in any form; the one that answered, if it is known.
        api: The kind of request.

    Returns:
        A usage whose input is marked as estimated. It is a lower bound if the request contains what cannot be counted:
        PDFs, audio, video, files, images of unknown size, reasoning, tools that the provider runs, or a reference to
        something that the provider stored, such as ``previous_response_id``. ``None`` if there is nothing to count.
        Never raises.
    """
    if api == "embeddings":
        tokens = _count_embedded(request, model)
        estimated = frozenset(("input_tokens", "total_tokens"))
        return Usage(input_tokens=tokens, total_tokens=tokens, estimated=estimated) if tokens else None
    read = _CONVERSATION_OF.get(api)
    conversation = read(request) if read is not None else Conversation()
    if not conversation.turns:
        return None
    family = family_of(model)
    is_openai = family.openai and api in ("chat", "responses")
    tokens = _count_for_openai(conversation, family, api) if is_openai else _count_for_others(conversation, family)
    if not tokens:
        return None
    return Usage(
        input_tokens=tokens,
        estimated=frozenset(("input_tokens",)),
        lower_bound=conversation.is_partial or any(turn.is_partial for turn in conversation.turns),
    )


def _count_embedded(request: object, model: str | None) -> int:
    """Count the inputs of an embedding, which may be texts or lists of tokens."""
    given = get(request, "input", "texts", "content", "contents")
    inputs = list(items(given)) if is_list(given) else [given]
    if inputs and all(number(one) is not None for one in inputs):
        return len(inputs)
    return sum(len(one) if is_list(one) else count_tokens(plain(one), model=model) for one in inputs)


def _count_for_openai(conversation: Conversation, family: Family, api: str) -> int:
    """Count the text that OpenAI's models are shown, which is known exactly for plain text."""
    rules = openai_rules(family, api)
    tokens = family.priming + sum(_count_turn(turn, family, rules) for turn in conversation.turns)
    if conversation.searches_web:
        tokens += rules.web_search
    if conversation.forced:
        tokens += rules.forced_tool + count_raw(conversation.forced, family)
    parts = []
    if conversation.tools:
        parts.append(_namespace(conversation.tools))
    if (answer := conversation.answer) is not None:
        description = f"// {answer.description}\n" if answer.description else ""
        parts.append(f"# Response Formats\n\n## {answer.name}\n\n{description}{to_json(_shown(answer.schema))}")
    if not parts:
        return tokens
    # Tools and schema stand below the text of the system message, and their tokens depend on its end.
    system = next((turn.text for turn in conversation.turns if turn.role in ("system", "developer")), None)
    if system is None:
        tokens += rules.tools_without_system if conversation.tools else rules.schema_without_system
        return tokens + count_raw("\n\n".join(parts), family)
    tokens += rules.tools if conversation.tools else rules.schema
    return tokens + count_raw("\n\n".join((system, *parts)), family) - count_raw(system, family)


def _count_turn(turn: Turn, family: Family, rules: OpenAIRules) -> int:
    role = turn.role if turn.result_of is None else f"functions.{turn.result_of}"
    tokens = 3 + count_raw(role, family) + count_raw(turn.text, family)
    if turn.result_of is not None:
        tokens += 1
    if turn.name:
        tokens += 1 + count_raw(turn.name, family)
    for name, arguments in turn.calls:
        tokens += count_raw(name, family) + count_raw(arguments, family)
    if len(turn.calls) == 1:
        tokens += rules.per_call
    elif turn.calls:
        tokens += rules.parallel_calls + rules.per_parallel_call * len(turn.calls)
    elif turn.role == "assistant":
        tokens += rules.assistant_text
    return tokens + sum(image.tokens(family) for image in turn.images)


def _shown(schema: object) -> object:
    """Return a schema of plain dicts and lists without the keywords that the models are not shown."""
    if isinstance(schema, dict):
        return {name: _shown(value) for name, value in schema.items() if name not in _NOT_SHOWN}
    return [_shown(value) for value in schema] if isinstance(schema, list) else schema


def _namespace(tools: Iterable[Tool]) -> str:
    """Return functions as a TypeScript namespace, the form in which OpenAI's models are shown them.

    The form is that of OpenAI's open models (github.com/openai/harmony).
    """
    written = "# Tools\n\n## functions\n\nnamespace functions {\n\n"
    for tool in tools:
        schema = tool.parameters
        argument = f"_: {_about(schema)}{_Types(schema).of(schema)}" if get(schema, "properties") else ""
        written += f"{_about({'description': tool.description})}type {tool.name} = ({argument}) => any;\n\n"
    return written + "} // namespace functions"


def _about(schema: object) -> str:
    """Return the title and the description of a schema as comments."""
    words = map(plain, (get(schema, "title"), get(schema, "description")))
    return "".join(f"// {one.strip()}\n" for one in words if one)


class _Types:
    """A writer of the parts of one JSON schema as TypeScript types."""

    def __init__(self, root: object) -> None:
        self._root = root
        self._left = _MOST_TYPES

    def of(self, schema: object, depth: int = 0) -> str:
        """Return the type that a schema describes."""
        schema = self._resolved(schema)
        self._left -= 1
        if depth > _DEEPEST or self._left < 0:
            return "any"
        kind, properties = get(schema, "type"), get(schema, "properties")
        if is_record(properties) and properties:
            required = set(map(plain, items(get(schema, "required"))))
            lines = []
            for name, value in properties.items():
                inner = self._resolved(value)
                default = get(inner, "default")
                end = "," if default is None else f", // default: {to_json([default])[1:-1]}"
                optional = "" if name in required else "?"
                lines.append(f"{_about(inner)}{name}{optional}: {self.of(inner, depth + 1)}{end}\n")
            return "{\n" + "".join(lines) + "}"
        choices, union = get(schema, "enum"), get(schema, "anyOf", "oneOf", "allOf")
        if is_list(choices):
            return " | ".join(to_json([one])[1:-1] for one in choices)
        if is_list(union) or is_list(kind):
            types = [self.of(one, depth + 1) for one in union] if is_list(union) else list(map(plain, kind))
            return types[0] if len(types) == 1 else "".join(f"\n | {one}" for one in types)
        if kind == "array":
            return f"{self.of(get(schema, 'items'), depth + 1)}[]"
        return "number" if kind == "integer" else plain(kind) or "any"

    def _resolved(self, schema: object) -> object:
        """Follow a reference within the schema."""
        reference = plain(get(schema, "$ref"))
        if not reference.startswith("#/"):
            return schema
        found = self._root
        for name in reference[2:].split("/"):
            found = get(found, name)
        return found


def _count_for_others(conversation: Conversation, family: Family) -> int:
    """Count the texts for models whose full prompts are not public, and add measured constants."""
    tokens = float(family.priming)
    for turn in conversation.turns:
        tokens += count_for(turn.text, family) + sum(image.tokens(family) for image in turn.images)
        tokens += sum(count_for(name, family) + count_for(arguments, family) for name, arguments in turn.calls)
        tokens += family.per_message if turn.role != "system" else 0
    if conversation.tools:
        tokens += family.per_tools
    for tool in conversation.tools:
        written = {"name": tool.name, "description": tool.description, "parameters": tool.parameters}
        tokens += family.per_tool + count_raw(to_json(written), family) * family.tool_factor
    if conversation.answer is not None:
        tokens += count_for(to_json(conversation.answer.schema), family)
    return round(tokens)


# Answers


def estimate_output(
    text: str,
    *,
    model: str | None,
    tool_calls: Iterable[object] = (),
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
        tokens += _count_split_calls(calls, family) - _count_forced_part(calls[0][0], family, request, answer)
    elif calls:
        tokens += _count_json_calls(calls, family, request, api)
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


def _count_json_calls(calls: list[tuple[str, str]], family: Family, request: object, api: str) -> float:
    """Count tool calls that are written as a name and a JSON object, or as the object only if they are forced."""
    rules = openai_rules(family, api)
    tokens = sum(count_for(arguments, family) for _, arguments in calls)
    if plain(dig(request, "tool_choice.type")) == "function":
        return tokens + rules.forced_output_call
    tokens += sum(count_for(name, family) for name, _ in calls)
    if family.openai and len(calls) > 1:
        return tokens + rules.parallel_output_calls + 6 * len(calls)
    in_responses = family.openai and api == "responses"
    return tokens + len(calls) * (family.per_responses_call if in_responses else family.per_output_call)


def _count_split_calls(calls: list[tuple[str, str]], family: Family) -> float:
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


def _count_forced_part(name: str, family: Family, request: object, answer: str) -> float:
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
