"""Functions as a TypeScript namespace, the form in which OpenAI's models are shown them.

The form is that of OpenAI's open models (github.com/openai/harmony). Where other models differ, it follows the token
counts of recorded requests.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ._requests import Tool
from ._values import get, is_record, items, text, to_json

# A schema may contain itself. No real schema is deeper or larger.
_DEEPEST = 8
_MOST_TYPES = 2_000
_PLAIN = {"integer": "number"}


def namespace(tools: Iterable[Tool]) -> str:
    """Return the text that describes functions to a model."""
    lines = ["# Tools\n\n## functions\n\nnamespace functions {\n\n"]
    for tool in tools:
        has_parameters = is_record(get(tool.parameters, "properties")) and len(tool.parameters["properties"]) > 0
        argument = f"_: {_Schema(tool.parameters).type_of(tool.parameters, 0)}" if has_parameters else ""
        lines.append(f"{_comment(tool.description)}type {tool.name} = ({argument}) => any;\n\n")
    lines.append("} // namespace functions")
    return "".join(lines)


def _comment(description: Any) -> str:
    words = text(description).strip()
    return "".join(f"// {line.strip()}\n" if line.strip() else "//\n" for line in words.split("\n")) if words else ""


class _Schema:
    """A writer of the types of one JSON schema."""

    def __init__(self, root: Any) -> None:
        self._root = root
        self._left = _MOST_TYPES

    def type_of(self, schema: Any, depth: int, *, commented: bool = False) -> str:
        """Return a type after its own title and description, unless these were written before."""
        schema = self._resolved(schema)
        self._left -= 1
        if not is_record(schema) or depth > _DEEPEST or self._left < 0:
            return "any"
        return ("" if commented else self._about(schema)) + self._bare_type(schema, depth)

    def _resolved(self, schema: Any) -> Any:
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
        return _PLAIN.get(text(kind), text(kind) or "any")

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

    def _about(self, schema: Any) -> str:
        title, form = text(get(schema, "title")), text(get(schema, "format"))
        about = f"// {title}\n" if title else ""
        about += _comment(get(schema, "description"))
        return f"{about}// Format: {form}\n" if form else about


def _literal(value: Any) -> str:
    return to_json([value])[1:-1]
