"""Prompt templates: ``{{variable}}`` is filled in for a model and not for a browser."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import chevron
import chevron.tokenizer

_Tokens = tuple[tuple[str, str], ...]

# Filling in a template takes about 50 µs for each tag, and much longer for deeply nested sections. These limits keep it
# below about 100 ms.
MOST_TAGS = 2_000
MOST_NESTED = 20


class TemplateError(ValueError):
    """A template that cannot be filled in."""


@lru_cache(maxsize=1024)
def parse(template: str) -> _Tokens:
    """Parse a Mustache template so that values are not escaped and no file is ever read.

    Raises:
        TemplateError: If the template is malformed or exceeds a limit.
    """
    if template.count("{{") > MOST_TAGS:
        raise TemplateError(f"has more than {MOST_TAGS:,} tags")
    depth = 0
    try:
        tokens = []
        for kind, value in chevron.tokenizer.tokenize(template):
            depth += {"section": 1, "inverted section": 1, "end": -1}.get(kind, 0)
            if depth > MOST_NESTED:
                raise TemplateError(f"has more than {MOST_NESTED} nested sections")
            if kind != "partial":
                tokens.append(("no escape" if kind == "variable" else kind, value))
    except TemplateError:
        raise
    except Exception as exc:  # chevron raises its own error, or IndexError for an empty tag
        raise TemplateError("is not a well-formed template; check its {{tags}}") from exc
    return tuple(tokens)


def render(template: str, variables: Mapping[str, Any]) -> str:
    """Fill in a template. A variable that is not given becomes the empty string.

    Raises:
        TemplateError: If the template is malformed or exceeds a limit.
        Exception: Whatever converting a variable to text raises.
    """
    if "{{" not in template:
        return template
    return str(chevron.render(parse(template), variables, partials_path=None))


def missing_variables(template: str, variables: Mapping[str, Any]) -> list[str]:
    """Return the names of variables outside of sections that are not given."""
    if "{{" not in template:
        return []
    return [name for name in _names_in(template) if name not in variables]


@lru_cache(maxsize=1024)
def _names_in(template: str) -> tuple[str, ...]:
    """Return the names of the variables outside of sections."""
    names, depth = [], 0
    for kind, value in parse(template):
        depth += {"section": 1, "inverted section": 1, "end": -1}.get(kind, 0)
        name = value.partition(".")[0]
        if kind == "no escape" and not depth and name:
            names.append(name)
    return tuple(names)
