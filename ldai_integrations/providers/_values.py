"""Values of parameters, which people write in LaunchDarkly, in the form that every API reads."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

# Words and types for the choice of a tool: those of OpenAI's chat API, and those of Anthropic.
_CHOICES = ("auto", "none", "required", "any")


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


def _response_format_of(value: Any) -> Mapping[str, Any] | None:
    """Return the format of the answer; ``None`` if no API accepts it. A schema without a name gets one."""
    if not isinstance(value, Mapping) or not isinstance(value.get("type"), str):
        return None
    if value["type"] != "json_schema":
        return value
    described = value.get("json_schema")
    if not isinstance(described, Mapping) or not isinstance(described.get("schema"), Mapping):
        return None
    return {**value, "json_schema": {"name": "output", **described}}


#: Functions that return a value in the usual form, or ``None`` if it cannot be used, by the common name of a parameter.
READERS: Mapping[str, Callable[[Any], Any]] = {
    **dict.fromkeys(("max_tokens", "top_k", "seed", "n"), partial(_number_of, whole=True)),
    **dict.fromkeys(
        ("temperature", "top_p", "presence_penalty", "frequency_penalty"), partial(_number_of, whole=False)
    ),
    "tool_choice": lambda value: value if isinstance(value, Mapping) or value in _CHOICES else None,
    "response_format": _response_format_of,
}
#: A format of the answer that asks for nothing, which only some APIs have.
TEXT_FORMAT: Mapping[str, Any] = {"type": "text"}
