"""Functions written as a TypeScript namespace, the form in which OpenAI's models are shown them.

The form is OpenAI's own of its open models (github.com/openai/harmony); where the closed ones differ, this follows the
token counts of recorded requests.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from .._values import get, is_record, items, text, to_json
from .conversation import Tool

# A schema may refer to itself; no real one is deeper or larger.
_DEEPEST = 8
_MOST_TYPES = 2_000
_PLAIN = {"integer": "number", "number": "number", "string": "string", "boolean": "boolean", "null": "null"}


def namespace(tools: Iterable[Tool]) -> str:
    """Return the text that describes functions to a model."""
    lines = ["# Tools\n\n## functions\n\nnamespace functions {\n\n"]
    for tool in tools:
        has_parameters = is_record(get(tool.parameters, "properties")) and len(tool.parameters["properties"]) > 0
        argument = f"_: {_Schema(tool.parameters).type_of(tool.parameters, 0)}" if has_parameters else ""
        lines.append(f"{_comment(tool.description)}type {tool.name} = ({argument}) => any;\n\n")
    lines.append("} // namespace functions")
    return "".join(lines)


def starts_bare(tool: Tool) -> bool:
    """Tell whether a function's first parameter has no comment; the brace before it then costs a token less."""
    properties = get(tool.parameters, "properties")
    if not is_record(properties) or not properties:
        return False
    first = _Schema(tool.parameters).resolved(next(iter(properties.values())))
    return not (text(get(first, "title")) or text(get(first, "description")))


def _comment(description: Any) -> str:
    """Return a description as comment lines."""
    words = text(description).strip()
    return "".join(f"// {line.strip()}\n" if line.strip() else "//\n" for line in words.split("\n")) if words else ""


class _Schema:
    """Write the types of one JSON schema."""

    def __init__(self, root: Any) -> None:
        self._root = root
        self._left = _MOST_TYPES

    def resolved(self, schema: Any) -> Any:
        """Follow a reference within the schema."""
        reference = text(get(schema, "$ref"))
        if not reference.startswith("#/"):
            return schema
        found = self._root
        for name in reference[2:].split("/"):
            found = get(found, name)
        return found

    def type_of(self, schema: Any, depth: int, *, commented: bool = False) -> str:
        """Return a type, with its own title and description before it unless they stand above already."""
        schema = self.resolved(schema)
        self._left -= 1
        if not is_record(schema) or depth > _DEEPEST or self._left < 0:
            return "any"
        return ("" if commented else self._about(schema)) + self._bare_type(schema, depth)

    def _bare_type(self, schema: Any, depth: int) -> str:
        if isinstance(schema.get("enum"), list):
            return " | ".join(to_json_literal(value) for value in schema["enum"])
        if "const" in schema:
            return to_json_literal(schema["const"])
        union = get(schema, "anyOf", "oneOf", "allOf")
        kind = schema.get("type")
        if isinstance(union, list):
            return self._union(union, depth)
        if isinstance(kind, list):
            return self._union([{**schema, "type": one} for one in kind], depth)
        if kind == "array":
            inner = self.type_of(schema.get("items"), depth + 1)
            return f"Array<{inner}>" if "\n" in inner else f"{inner}[]"
        if is_record(schema.get("properties")) and schema["properties"]:
            return f"{{\n{self._properties(schema, depth)}}}"
        return _PLAIN.get(text(kind), text(kind) or "any")

    def _union(self, members: Any, depth: int) -> str:
        types = [self.type_of(member, depth + 1) for member in members]
        return types[0] if len(types) == 1 else "".join(f"\n | {one}" for one in types)

    def _properties(self, schema: Any, depth: int) -> str:
        required = set(map(text, items(schema.get("required"))))
        lines = []
        for name, value in schema["properties"].items():
            described = self.resolved(value)
            optional = "" if name in required else "?"
            line = f"{self._about(described)}{name}{optional}: {self.type_of(value, depth + 1, commented=True)},"
            if is_record(described) and "default" in described:
                line += f" // default: {to_json_literal(described['default'])}"
            lines.append(line + "\n")
        return "".join(lines)

    def _about(self, schema: Any) -> str:
        title, form = text(get(schema, "title")), text(get(schema, "format"))
        about = f"// {title}\n" if title else ""
        about += _comment(get(schema, "description"))
        return f"{about}// Format: {form}\n" if form else about


def to_json_literal(value: Any) -> str:
    """Return a value as a literal, strings in quotes."""
    return to_json([value])[1:-1]
