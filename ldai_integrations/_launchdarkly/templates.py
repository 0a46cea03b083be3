"""Prompt templates: ``{{variable}}`` is filled in for a model and not for a browser."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

import chevron
import chevron.tokenizer

_Tokens = tuple[tuple[str, str], ...]
# By how much a token changes the depth of sections.
_NESTING = {"section": 1, "inverted section": 1, "end": -1}

# Limits of the prompt of one AI Config, so that the first run, which parses and renders it, takes a few milliseconds. A
# tag takes 6 µs. chevron copies the rest of the template several times at each tag, which takes up to 0.5 ms for 1 MB.
MOST_TAGS = 200
MOST_COPIED = 10_000_000  # characters times tags
MOST_NESTED = 20
# A tag or a text takes one step, and one more for each section around it, because names are looked up in all of them.
# Each repetition of a section counts. A step takes about 1 µs. The application decides how long its lists are.
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
    tags = depth = 0
    try:
        tokens = []
        for kind, value in chevron.tokenizer.tokenize(template):
            tags += kind != "literal"
            if tags > MOST_TAGS:
                raise TemplateError(f"has more than {MOST_TAGS} tags")
            depth += _NESTING.get(kind, 0)
            is_name = kind not in ("literal", "set delimiter")
            if is_name and any(name.startswith("__") for name in value.split(".")):
                raise TemplateError(f"looks up {value!r}; names that begin with two underscores are Python's own")
            if depth > MOST_NESTED:
                raise TemplateError(f"has more than {MOST_NESTED} nested sections")
            if kind != "partial":
                tokens.append(("no escape" if kind == "variable" else kind, value))
    except TemplateError:
        raise
    except Exception as exc:  # chevron raises its own error, or IndexError for an empty tag
        raise TemplateError("is not a well-formed template; check its {{tags}}") from exc
    return tuple(tokens)


def check_size(templates: Sequence[str]) -> None:
    """Refuse templates of one prompt that would take too long to parse.

    Raises:
        TemplateError: If they exceed a limit together.
    """
    tags = [template.count("{{") for template in templates]
    if sum(tags) > MOST_TAGS:
        raise TemplateError(f"has more than {MOST_TAGS} tags")
    if sum(count * len(template) for count, template in zip(tags, templates, strict=True)) > MOST_COPIED:
        raise TemplateError(f"is too long for its {sum(tags)} tags; write it without them, or in several messages")


def render(template: str, variables: Mapping[str, Any]) -> str:
    """Fill in a template. A variable that is not given becomes the empty string.

    Raises:
        TemplateError: If the template is malformed or exceeds a limit.
        TooManyStepsError: If its sections are repeated too often with these variables.
        Exception: Whatever converting a variable to text raises.
    """
    tokens = parse(template)
    if len(tokens) == 1 and tokens[0][0] == "literal":
        return tokens[0][1]
    return str(chevron.render(tokens, scopes=_Scopes([variables]), partials_path=None))


class _Scopes(list[Any]):
    """A list of the values in which chevron looks up names, innermost first. It counts the steps.

    Args:
        values: The values.
        around: Those of the section around this one.
    """

    def __init__(self, values: Iterable[Any], around: _Scopes | None = None) -> None:
        super().__init__(values)
        # The number of steps, shared with the scopes of all sections.
        self._steps: list[int] = [0] if around is None else around._steps

    def __getitem__(self, index: Any) -> Any:
        """Return a value. chevron asks for the innermost one before each tag and each text."""
        self._steps[0] += len(self)
        if self._steps[0] > MOST_STEPS:
            raise TooManyStepsError
        return super().__getitem__(index)

    def __radd__(self, values: list[Any]) -> _Scopes:
        """Return the scopes of one repetition of a section."""
        return _Scopes([*values, *self], self)


def missing_variables(template: str, variables: Mapping[str, Any]) -> list[str]:
    """Return the names of variables outside of sections that are not given."""
    return [name for name in _names_in(template) if name not in variables]


@lru_cache(maxsize=1024)
def _names_in(template: str) -> tuple[str, ...]:
    """Return the names of the variables outside of sections."""
    names, depth = [], 0
    for kind, value in parse(template):
        depth += _NESTING.get(kind, 0)
        name = value.partition(".")[0]
        if kind == "no escape" and not depth and name:
            names.append(name)
    return tuple(names)
