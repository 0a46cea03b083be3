"""The prompt of an AI Config, from which the request of every provider is built."""

from __future__ import annotations

import base64
import json
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeAlias

from .._ai_configs import snake_case

#: An object of JSON, or the arguments of a function; and one that is only read.
Json: TypeAlias = dict[str, Any]
Fields: TypeAlias = Mapping[str, Any]

# Names that providers and LaunchDarkly use for the same parameter, in snake_case.
_SAME = {
    "max_output_tokens": "max_tokens",
    "max_completion_tokens": "max_tokens",
    "stop_sequences": "stop",
    "random_seed": "seed",
    "p": "top_p",
    "k": "top_k",
}
_DATA_URL = re.compile(r"data:([^;,]+)(?:;[^;,]+)*;base64,(.*)", re.IGNORECASE | re.DOTALL)
_SYSTEM = ("system", "developer")
_TEXTS = ("text", "input_text", "output_text")
# These are no parameters of the model. Each provider has a place of its own for them.
_PARTS = {"tools", "tool_choice", "response_format", "model", "messages", "stream"}
# Words and types for the choice of a tool: those of OpenAI's chat API, and those of Anthropic.
_CHOICES = ("auto", "none", "required", "any")
# A format of the answer that asks for nothing, which only some APIs have.
_TEXT_FORMAT = {"type": "text"}


@dataclass(frozen=True, slots=True)
class Tool:
    """A tool that the model may call.

    Attributes:
        name: Its name.
        description: What it does.
        schema: The JSON Schema of its arguments.
    """

    name: str
    description: str = ""
    schema: Fields = field(default_factory=lambda: {"type": "object", "properties": {}})


@dataclass(frozen=True, slots=True)
class Image:
    """An image in a message.

    Attributes:
        url: Its address, or a ``data:`` URL.
        detail: How closely the model looks at it.
    """

    url: str
    detail: str = "auto"

    @property
    def data(self) -> tuple[str, bytes] | None:
        """The media type and the bytes of a ``data:`` URL; ``None`` for another one."""
        match = _DATA_URL.fullmatch(self.url)
        if match is None:
            return None
        try:
            return match[1].lower(), base64.b64decode(match[2])
        except ValueError:
            return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """What is asked of a model, in the format of OpenAI's chat messages.

    Attributes:
        model: The name of the model.
        messages: All messages: ``{"role": …, "content": …}``. A message of the assistant may have ``tool_calls``, and
            one with the role ``tool`` has a ``tool_call_id``.
        tools: The tools that the model may call.
        tool_choice: ``"auto"``, ``"none"``, ``"required"``, ``{"type": "function", "function": {"name": …}}``, or one
            of Anthropic's; see :attr:`choice`.
        response_format: ``{"type": "json_object"}``, ``{"type": "json_schema", "json_schema": {…}}``, or ``None``.
        parameters: The parameters of the model, by the names that the AI Config has for them.
        unusable: The names of parameters whose values no API accepts.
    """

    model: str
    messages: Sequence[Fields]
    tools: tuple[Tool, ...] = ()
    tool_choice: Any = None
    response_format: Fields | None = None
    parameters: Fields = field(default_factory=dict)
    unusable: tuple[str, ...] = ()

    @property
    def system(self) -> str:
        """The texts of all system messages."""
        written = (message for message in self.messages if message.get("role") in _SYSTEM)
        return "\n\n".join(text_of(message.get("content")) for message in written)

    @property
    def turns(self) -> list[Fields]:
        """The messages of the conversation, without system messages."""
        return [message for message in self.messages if message.get("role") not in _SYSTEM]

    @property
    def schema(self) -> Fields | None:
        """The JSON Schema of the answer; ``None`` if it has none."""
        described = (self.response_format or {}).get("json_schema")
        schema = described.get("schema") if isinstance(described, Mapping) else None
        return schema if isinstance(schema, Mapping) else None

    @property
    def wants_json(self) -> bool:
        """Whether the answer must be JSON."""
        return (self.response_format or {}).get("type") in ("json_object", "json_schema")

    @property
    def choice(self) -> Any:
        """The choice of a tool as OpenAI's chat API has it; one of Anthropic's is converted."""
        if self.forced_tool:
            return {"type": "function", "function": {"name": self.forced_tool}}
        choice = self.tool_choice
        if isinstance(choice, Mapping) and choice.get("type") in ("auto", "any", "none"):
            choice = choice["type"]
        return "required" if choice == "any" else choice

    @property
    def forced_tool(self) -> str:
        """The name of the tool that the model must call; empty if it may choose."""
        choice = self.tool_choice if isinstance(self.tool_choice, Mapping) else {}
        described = choice if choice.get("type") == "tool" else choice.get("function")
        return str(described.get("name", "")) if isinstance(described, Mapping) else ""


def _number_of(value: Any, *, whole: bool) -> int | float | None:
    """Return a number, which may be written as text; ``None`` if it is none."""
    try:
        number = float(value) if not isinstance(value, bool) else math.nan
    except (TypeError, ValueError, OverflowError):
        return None
    if not math.isfinite(number) or (whole and not number.is_integer()):
        return None
    if isinstance(value, int):
        return value
    return int(number) if whole else number


def _response_format_of(value: Any) -> Fields | None:
    """Return the format of the answer; ``None`` if no API accepts it. A schema without a name gets one."""
    if not isinstance(value, Mapping) or not isinstance(value.get("type"), str):
        return None
    if value["type"] != "json_schema":
        return value
    described = value.get("json_schema")
    if not isinstance(described, Mapping) or not isinstance(described.get("schema"), Mapping):
        return None
    return {**value, "json_schema": {"name": "output", **described}}


# By the common name of a parameter, functions that return its value in the form that every API reads, or ``None`` if it
# cannot be used: people write the values in LaunchDarkly.
_READERS: Mapping[str, Callable[[Any], Any]] = {
    **dict.fromkeys(("max_tokens", "top_k", "seed", "n"), partial(_number_of, whole=True)),
    **dict.fromkeys(
        ("temperature", "top_p", "presence_penalty", "frequency_penalty"), partial(_number_of, whole=False)
    ),
    "tool_choice": lambda value: value if isinstance(value, Mapping) or value in _CHOICES else None,
    "response_format": _response_format_of,
}


def prompt_of(model: str, messages: Sequence[Fields], parameters: Fields, *, tools: Mapping[str, Fields]) -> Prompt:
    """Return the prompt of an AI Config.

    Args:
        model: The name of the model.
        messages: The messages, with the history and what the user says.
        parameters: The parameters of the model.
        tools: The tools of the AI Config, by their names.
    """
    parts: Json = {}
    others: Json = {}
    unusable = []
    for name, value in parameters.items():
        read = _READERS.get(common_name(name))
        usable = read(value) if read is not None else value
        if usable is None:
            unusable.append(name)
        elif snake_case(name) in _PARTS:
            parts[snake_case(name)] = usable
        else:
            others[name] = usable
    if parts.get("response_format") == _TEXT_FORMAT:
        del parts["response_format"]
    known = {tool.name: tool for tool in _tools_in(parts.get("tools"))}
    known |= {tool.name: tool for tool in _tools_in(list(tools.values()))}
    return Prompt(
        model=model,
        messages=messages,
        tools=tuple(known.values()),
        tool_choice=parts.get("tool_choice"),
        response_format=parts.get("response_format"),
        parameters=others,
        unusable=tuple(unusable),
    )


def common_name(name: str) -> str:
    """Return the name under which all providers' names of a parameter are known: ``maxTokens`` is ``max_tokens``."""
    snake = snake_case(name)
    return _SAME.get(snake, snake)


def text_of(content: object) -> str:
    """Return the text of a message: a string, or the text parts of a list, which are mappings or objects."""
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, (list, tuple)) else ()
    return "".join(str(_field(part, "text") or "") for part in parts if is_text(part))


def parts_in(message: Fields) -> Sequence[Any]:
    """Return the parts of a message; a string is one part."""
    content = message.get("content")
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    return content if isinstance(content, (list, tuple)) else ()


def is_text(part: object) -> bool:
    """Return whether a part of a message is a text that the user sees, and not for example a thought."""
    return type_of(part) in _TEXTS


def type_of(part: object) -> str:
    """Return the type of a part of a message."""
    named = _field(part, "type")
    if isinstance(named, str):
        return named
    return "text" if isinstance(part, Mapping) and "text" in part else type(part).__name__


def image_in(part: object) -> Image | None:
    """Return the image in a part of a message; ``None`` if there is none."""
    if not isinstance(part, Mapping):
        return None
    given = part.get("image_url")
    image = given if isinstance(given, Mapping) else {"url": given, "detail": part.get("detail")}
    url, detail = image.get("url"), image.get("detail")
    return Image(url, detail if isinstance(detail, str) else "auto") if isinstance(url, str) else None


def arguments_of(value: object) -> Json:
    """Return the arguments of a tool call, which providers send as JSON text or as an object."""
    if isinstance(value, str):
        try:
            value = json.loads(value or "{}")
        except ValueError:
            return {}
    return dict(value) if isinstance(value, Mapping) else {}


def merged(turns: Iterable[tuple[str, list[Any]]], *, content: str = "content") -> list[Json]:
    """Return messages in which roles alternate: some providers refuse two messages of one role in a row."""
    messages: list[Json] = []
    for role, parts in turns:
        if messages and messages[-1]["role"] == role:
            messages[-1][content].extend(parts)
        elif parts:
            messages.append({"role": role, content: list(parts)})
    return messages


def _tools_in(entries: object) -> Iterator[Tool]:
    """Read tools as LaunchDarkly keeps them, flat, or as OpenAI's chat API wants them, in a ``function``."""
    for entry in entries if isinstance(entries, (list, tuple)) else ():
        tool = entry.get("function", entry) if isinstance(entry, Mapping) else None
        if not isinstance(tool, Mapping) or not isinstance(tool.get("name"), str):
            continue
        schema = _mapping(tool.get("parameters")) or _mapping(tool.get("input_schema"))
        given = {"schema": schema} if schema is not None else {}
        yield Tool(tool["name"], str(tool.get("description") or ""), **given)


def _field(part: object, name: str) -> Any:
    return part.get(name) if isinstance(part, Mapping) else getattr(part, name, None)


def _mapping(value: object) -> Fields | None:
    return value if isinstance(value, Mapping) and value else None
