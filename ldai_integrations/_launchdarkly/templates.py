"""Prompt templates: ``{{variable}}`` is filled in for a model and not for a browser."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

import chevron
import chevron.tokenizer

_Tokens = tuple[tuple[str, str], ...]

# Parsing takes about 50 µs for each tag. These limits keep it below about 100 ms.
MOST_TAGS = 2_000
MOST_NESTED = 20
# A tag or a text takes one step, and one more for each section around it, because names are looked up in all of them.
# Each repetition of a section counts. A step takes about 3 µs.
MOST_STEPS = 50_000


class TemplateError(ValueError):
    """A template that cannot be filled in."""


class TooManyStepsError(Exception):
    """Sections that are repeated so often that filling in the template would take too long."""


@lru_cache(maxsize=1024)
def parse(template: str) -> _Tokens:
    """Parse a Mustache template so that values are not escaped and no file is ever read.

    Raises:
        TemplateError: If the template is malformed or exceeds a limit.
    """
    _limit_tags(template, "{{")
    depth = 0
    try:
        tokens = []
        for kind, value in chevron.tokenizer.tokenize(template):
            if kind == "set delimiter":  # from here on, tags begin with another text
                _limit_tags(template, value.partition(" ")[0])
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


def _limit_tags(template: str, delimiter: str) -> None:
    if template.count(delimiter) > MOST_TAGS:
        raise TemplateError(f"has more than {MOST_TAGS:,} tags")


def render(template: str, variables: Mapping[str, Any]) -> str:
    """Fill in a template. A variable that is not given becomes the empty string.

    Raises:
        TemplateError: If the template is malformed or exceeds a limit.
        TooManyStepsError: If its sections are repeated too often with these variables.
        Exception: Whatever converting a variable to text raises.
    """
    if "{{" not in template:
        return template
    return str(chevron.render(parse(template), scopes=_Scopes([variables]), partials_path=None))


class _Scopes(list[Any]):
    """A list of the values in which chevron looks up names, innermost first. It counts the steps.

    Args:
        values: The values.
        around: Those of the section around this one.
    """

    def __init__(self, values: Iterable[Any], around: _Scopes | None = None) -> None:
        super().__init__(values)
        self._outermost: _Scopes = self if around is None else around._outermost
        self._steps = 0

    def __getitem__(self, index: Any) -> Any:
        """Return a value. chevron asks for the innermost one before each tag and each text."""
        self._outermost._steps += len(self)
        if self._outermost._steps > MOST_STEPS:
            raise TooManyStepsError
        return super().__getitem__(index)

    def __radd__(self, values: list[Any]) -> _Scopes:
        """Return the scopes of one repetition of a section."""
        return _Scopes([*values, *self], self)


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
