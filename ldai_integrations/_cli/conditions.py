"""Conditions of ``--fail-if``: a figure, a comparison, a number; nothing is evaluated as code.

::

    condition  = figure comparison number [unit]
    figure     = errors | duration | cost | …       (BY_NAME)
    comparison = > | >= | < | <=
    unit       = % | ms | s | USD

``errors > 5%`` is about the error rate, ``errors > 5`` about the number of errors.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ..metrics import Metrics
from .figures import BY_NAME, Figure, write_number

_COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
}
_FORM = re.compile(
    r"\s*(?P<name>\w+)\s*(?P<how>>=|<=|>|<)\s*\$?(?P<number>\d+(?:\.\d+)?)\s*(?P<unit>%|ms|s|USD)?\s*", re.I
)
# Unit as written → the unit of figures it suits, and the factor to it.
_UNITS = {"%": ("share", 0.01), "ms": ("ms", 1.0), "s": ("ms", 1000.0), "usd": ("USD", 1.0)}


@dataclass(frozen=True)
class Condition:
    """Hold one condition.

    Attributes:
        text: As it was written.
        figure: What is compared.
        how: The comparison.
        limit: What it is compared with, in the figure's unit.
    """

    text: str
    figure: Figure
    how: str
    limit: float

    def holds(self, metrics: Metrics) -> bool | None:
        """Tell whether it holds; ``None`` where the figure is unknown."""
        number = self.figure.read(metrics)
        return None if number is None else _COMPARISONS[self.how](float(number), self.limit)

    def found(self, metrics: Metrics) -> str:
        """Write the figure as it is."""
        number = self.figure.read(metrics)
        return "unknown" if number is None else write_number(number, self.figure.unit)


def parse_condition(text: str) -> Condition:
    """Read a condition.

    Raises:
        ValueError: If it is none; the text says what is wrong with it.
    """
    match = _FORM.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is no condition; write it like 'errors > 5%' or 'duration > 2s'")
    name, unit = match["name"].lower(), (match["unit"] or "").lower()
    if name == "errors" and unit == "%":
        name = "error_rate"
    if name not in BY_NAME:
        raise ValueError(f"{text!r}: there is no figure {name!r}; use one of {', '.join(BY_NAME)}")
    figure = BY_NAME[name]
    suits, factor = _UNITS.get(unit, (figure.unit, 1.0))
    if suits != figure.unit:
        raise ValueError(f"{text!r}: {name} is a {figure.unit}; {match['unit']} does not suit it")
    return Condition(text.strip(), figure, match["how"], float(match["number"]) * factor)
