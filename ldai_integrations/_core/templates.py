"""Prompt templates: ``{{variable}}`` filled in as it is, for a model and not for a browser."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import chevron
import chevron.tokenizer

TemplateError: type[Exception] = chevron.ChevronError

_Tokens = tuple[tuple[str, str], ...]


@lru_cache(maxsize=1024)
def parse(template: str) -> _Tokens:
    """Parse a Mustache template so that values come out unescaped and no file is ever read.

    Raises:
        TemplateError: If the template is malformed.
    """
    tokens = chevron.tokenizer.tokenize(template)
    return tuple(("no escape" if kind == "variable" else kind, value) for kind, value in tokens if kind != "partial")


def render(template: str, variables: Mapping[str, Any]) -> str:
    """Fill in a template; a variable that is not given becomes the empty string.

    Raises:
        TemplateError: If the template is malformed.
        Exception: Whatever turning a variable into text raises.
    """
    if "{{" not in template:
        return template
    return str(chevron.render(parse(template), variables, partials_path=None))
