"""Estimates of the tokens of a request and of an answer, for which the provider reported no usage."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from ..records import Usage
from ._families import Family, family_of
from ._fields import dig, get, is_list, is_record, items, number, plain_json, to_json
from ._fields import text as plain
from ._requests import Conversation, Tool, read_request
from ._tokens import count_for, count_raw, count_tokens

API = Literal["chat", "responses", "messages", "converse", "generate", "embeddings"]

_CONVERSATIONS = frozenset(("chat", "responses", "messages", "converse", "generate"))
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
# How deep a schema is written. It may contain itself, so that a reference counts as three levels.
_DEEPEST = 8


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
    conversation = read_request(request) if api in _CONVERSATIONS else Conversation()
    if not conversation.turns:
        return None
    return Usage(
        input_tokens=_count_conversation(conversation, family_of(model), api),
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


def _count_conversation(conversation: Conversation, family: Family, api: str) -> int:
    """Count the texts of a prompt, and add the measured constants of the family."""
    tokens = float(family.priming)
    for turn in conversation.turns:
        if family.openai or turn.role != "system":
            tokens += family.per_message
        tokens += count_for(turn.text, family) + sum(image.tokens(family) for image in turn.images)
        tokens += sum(count_for(word, family) + family.per_word for word in turn.words if word)
    if conversation.searches_web:
        tokens += family.web_search
    frame = 0
    if conversation.tools:
        tokens += _count_tools(conversation.tools, family)
        frame += family.per_tools
    if (answer := conversation.answer) is not None:
        description = f"// {answer.description}\n" if answer.description else ""
        written = f"# Response Formats\n\n## {answer.name}\n\n{description}{to_json(_shown(answer.schema))}"
        tokens += count_for(written, family)
        frame += family.per_schema
    if family.openai and (conversation.tools or answer is not None):  # these stand in a system message
        has_system = any(turn.role in ("system", "developer") for turn in conversation.turns)
        frame += 0 if has_system else family.per_message
    return round(tokens + (0 if api == "responses" else frame))


def _count_tools(tools: Iterable[Tool], family: Family) -> float:
    """Count the functions in the form in which the model is shown them, or in JSON if the form is not public."""
    if family.openai:
        return count_raw(_namespace(tools), family)
    written = ({"name": tool.name, "description": tool.description, "parameters": tool.schema} for tool in tools)
    return sum(family.per_tool + count_raw(to_json(one), family) * family.tool_factor for one in written)


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
        schema = tool.schema
        argument = f"_: {_about(schema)}{_type_of(schema, schema)}" if get(schema, "properties") else ""
        written += f"{_about({'description': tool.description})}type {tool.name} = ({argument}) => any;\n\n"
    return written + "} // namespace functions"


def _about(schema: object) -> str:
    """Return the title and the description of a schema as comments."""
    words = map(plain, (get(schema, "title"), get(schema, "description")))
    return "".join(f"// {one.strip()}\n" for one in words if one)


def _type_of(schema: object, root: object, depth: int = 0) -> str:
    """Return the TypeScript type that a part of a JSON schema describes."""
    if reference := plain(get(schema, "$ref")):
        schema = dig(root, reference.removeprefix("#/").replace("/", "."))
        depth += 2
    if depth > _DEEPEST:
        return "any"
    kind, properties = get(schema, "type"), get(schema, "properties")
    if is_record(properties) and properties:
        required = set(map(plain, items(get(schema, "required"))))
        lines = (
            f"{_about(value)}{name}{'' if name in required else '?'}: {_type_of(value, root, depth + 1)},\n"
            for name, value in properties.items()
        )
        return "{\n" + "".join(lines) + "}"
    choices, union = get(schema, "enum"), get(schema, "anyOf", "oneOf", "allOf")
    if is_list(choices):
        return " | ".join(map(to_json, choices))
    if is_list(union):
        return "".join(f"\n | {_type_of(one, root, depth + 1)}" for one in union)
    if kind == "array":
        return f"{_type_of(get(schema, 'items'), root, depth + 1)}[]"
    return "number" if kind == "integer" else plain(kind) or "any"


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
        tool_calls: The tool calls: :class:`CalledTool`, or any objects with ``name`` and ``arguments``.
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
    if calls:
        tokens += _count_calls(calls, family, request)
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


def _count_calls(calls: list[tuple[str, str]], family: Family, request: object) -> float:
    """Count tool calls. If the request forces the model to call a tool, the model writes less of each call."""
    kind, choice = plain(dig(request, "tool_choice.type")), dig(request, "toolConfig.toolChoice")
    is_named = kind in ("function", "tool") or get(choice, "tool") is not None
    is_forced = is_named or kind == "any" or get(choice, "any") is not None
    tokens = float(family.per_output_calls + family.per_output_call * len(calls))
    tokens += family.parallel_output_calls if len(calls) > 1 else 0
    tokens -= family.forced_call if is_forced else 0
    tokens -= 10 if dig(request, "tool_choice.disable_parallel_tool_use") is True else 0  # Claude's
    tokens += 0 if is_named else sum(count_for(name, family) for name, _ in calls)
    return tokens + sum(_count_arguments(arguments, family) for _, arguments in calls)


def _count_arguments(written: str, family: Family) -> float:
    """Count the arguments of a tool call, which some models write one by one and others as a JSON object."""
    arguments = plain_json(written) if family.splits_arguments else None
    if not isinstance(arguments, dict):
        return count_for(written, family)
    return sum(
        family.per_output_argument + count_for(name, family) + count_for(to_json(value), family)
        for name, value in arguments.items()
    )
