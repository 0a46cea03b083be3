"""Estimates of what a request costs before it is answered."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Literal

from ..records import Usage
from ._counting import count_for, count_raw, count_tokens
from ._families import Family, OpenAIRules, family_of, openai_rules
from ._requests import Conversation, Tool, Turn, from_chat, from_converse, from_generate, from_messages, from_responses
from ._values import get, is_list, is_record, items, number, text, to_json

API = Literal["chat", "responses", "messages", "converse", "generate", "embeddings"]

_CONVERSATION_OF: dict[str, Callable[[Any], Conversation]] = {
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
_TYPES = {"integer": "number"}


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
    reader = _CONVERSATION_OF.get(api)
    conversation = reader(request) if reader is not None else Conversation()
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
    return sum(len(one) if is_list(one) else count_tokens(text(one), model=model) for one in inputs)


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
    if (answer := conversation.format) is not None:
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


def _shown(schema: object) -> Any:
    """Return a schema of plain dicts and lists without the keywords that the models are not shown."""
    if isinstance(schema, dict):
        return {name: _shown(value) for name, value in schema.items() if name not in _NOT_SHOWN}
    return [_shown(value) for value in schema] if isinstance(schema, list) else schema


def _count_for_others(conversation: Conversation, family: Family) -> int:
    """Count the texts for models whose full prompts are not public, and add measured constants."""
    tokens = float(family.priming)
    for turn in conversation.turns:
        tokens += count_for(turn.text, family) + sum(image.tokens(family) for image in turn.images)
        for name, arguments in turn.calls:
            tokens += count_for(name, family) + count_for(arguments, family) + family.per_call
        tokens += family.per_message if turn.role != "system" else 0
    if conversation.tools:
        tokens += family.per_tools + family.per_tool * len(conversation.tools)
        tokens += family.per_forced_tools if conversation.forced else 0
        for tool in conversation.tools:
            written = {"name": tool.name, "description": tool.description, "parameters": tool.parameters}
            tokens += count_raw(to_json(written), family) * family.tool_factor
    if conversation.format is not None:
        tokens += family.per_format + count_raw(to_json(conversation.format.schema), family) * family.format_factor
    return round(tokens)


# Tools of OpenAI's models


def _namespace(tools: Iterable[Tool]) -> str:
    """Return functions as a TypeScript namespace, the form in which OpenAI's models are shown them.

    The form is that of OpenAI's open models (github.com/openai/harmony). Where other models differ, it follows the
    token counts of recorded requests.
    """
    lines = ["# Tools\n\n## functions\n\nnamespace functions {\n\n"]
    for tool in tools:
        has_parameters = is_record(get(tool.parameters, "properties")) and len(tool.parameters["properties"]) > 0
        argument = f"_: {_Schema(tool.parameters).type_of(tool.parameters, 0)}" if has_parameters else ""
        lines.append(f"{_comment(tool.description)}type {tool.name} = ({argument}) => any;\n\n")
    lines.append("} // namespace functions")
    return "".join(lines)


def _comment(description: object) -> str:
    words = text(description).strip()
    return "".join(f"// {line.strip()}\n" if line.strip() else "//\n" for line in words.split("\n")) if words else ""


class _Schema:
    """A writer of the types of one JSON schema."""

    def __init__(self, root: object) -> None:
        self._root = root
        self._left = _MOST_TYPES

    def type_of(self, schema: object, depth: int, *, commented: bool = False) -> str:
        """Return a type after its own title and description, unless these were written before."""
        schema = self._resolved(schema)
        self._left -= 1
        if not is_record(schema) or depth > _DEEPEST or self._left < 0:
            return "any"
        return ("" if commented else self._about(schema)) + self._bare_type(schema, depth)

    def _resolved(self, schema: object) -> Any:
        """Follow a reference within the schema."""
        reference = text(get(schema, "$ref"))
        if not reference.startswith("#/"):
            return schema
        found = self._root
        for name in reference[2:].split("/"):
            found = get(found, name)
        return found

    def _bare_type(self, schema: Any, depth: int) -> str:
        if isinstance(schema.get("enum"), list):
            return " | ".join(map(_literal, schema["enum"]))
        if "const" in schema:
            return _literal(schema["const"])
        union = get(schema, "anyOf", "oneOf", "allOf")
        kind = schema.get("type")
        if not isinstance(union, list) and isinstance(kind, list):
            union = [{**schema, "type": one} for one in kind]
        if isinstance(union, list):
            types = [self.type_of(member, depth + 1) for member in union]
            return types[0] if len(types) == 1 else "".join(f"\n | {one}" for one in types)
        if kind == "array":
            inner = self.type_of(schema.get("items"), depth + 1)
            return f"Array<{inner}>" if "\n" in inner else f"{inner}[]"
        if is_record(schema.get("properties")) and schema["properties"]:
            return f"{{\n{self._properties(schema, depth)}}}"
        return _TYPES.get(text(kind), text(kind) or "any")

    def _properties(self, schema: Any, depth: int) -> str:
        required = set(map(text, items(schema.get("required"))))
        lines = []
        for name, value in schema["properties"].items():
            described = self._resolved(value)
            optional = "" if name in required else "?"
            line = f"{self._about(described)}{name}{optional}: {self.type_of(value, depth + 1, commented=True)},"
            if is_record(described) and "default" in described:
                line += f" // default: {_literal(described['default'])}"
            lines.append(line + "\n")
        return "".join(lines)

    def _about(self, schema: object) -> str:
        title, form = text(get(schema, "title")), text(get(schema, "format"))
        about = f"// {title}\n" if title else ""
        about += _comment(get(schema, "description"))
        return f"{about}// Format: {form}\n" if form else about


def _literal(value: object) -> str:
    return to_json([value])[1:-1]
