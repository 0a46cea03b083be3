"""The figures of ``ldai metrics``, and the conditions of ``--fail-if`` on them.

A condition is a figure, a comparison and a number. It is parsed, never evaluated as code::

    condition  = figure comparison number [unit]
    figure     = errors | duration | cost | …       (BY_NAME)
    comparison = > | >= | < | <=
    unit       = % | ms | s | USD

``errors > 5%`` compares the error rate, ``errors > 5`` the number of errors. A time needs a unit, and a share without
one is between 0 and 1.
"""

from __future__ import annotations

import operator
import re
from argparse import ArgumentTypeError
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

from ..metrics import Metrics

Unit = Literal["count", "share", "ms", "USD"]
Number = int | float | Decimal
UNKNOWN = "\N{EN DASH}"


@dataclass(frozen=True)
class Figure:
    """A figure.

    Attributes:
        name: Its name in ``--fail-if``.
        label: Its label in the table.
        unit: Its unit; a share is between 0 and 1.
        field: The attribute of :class:`Metrics` with its value.
    """

    name: str
    label: str
    unit: Unit
    field: str

    def read(self, metrics: Metrics) -> Number | None:
        """Return the value in some metrics; ``None`` is unknown."""
        number: Number | None = getattr(metrics, self.field)
        return number

    def format(self, metrics: Metrics) -> str:
        """Format the value for people; an approximate mean and an upper bound are marked."""
        number = self.read(metrics)
        if number is None:
            return UNKNOWN
        mark = "≈ " if self.field in metrics.approximate else "at most " if self.is_bound(metrics) else ""
        return mark + format_number(number, self.unit)

    def is_bound(self, metrics: Metrics) -> bool:
        """Return whether the value is an upper bound: a mean duration without the number of durations."""
        return self.field == "mean_duration_ms" and metrics.duration_count is None and self.read(metrics) is not None


def format_number(number: Number, unit: Unit) -> str:
    """Format a number with its unit."""
    if unit == "share":
        return f"{number:.1%}"
    if unit == "ms":
        return f"{number:,.0f} ms"
    if unit == "USD":
        whole, _, decimals = f"{number:,.6f}".partition(".")  # of every amount, so that the rows add up
        return f"${whole}.{decimals[:2]}{decimals[2:].rstrip('0')}"
    return f"{number:,}"


FIGURES = (
    Figure("generations", "Generations", "count", "generations"),
    Figure("successes", "  succeeded", "count", "successes"),
    Figure("errors", "  failed", "count", "errors"),
    Figure("error_rate", "Error rate", "share", "error_rate"),
    Figure("duration", "Duration, mean", "ms", "mean_duration_ms"),
    Figure("first_token", "First token, mean", "ms", "time_to_first_token_ms"),
    Figure("input_tokens", "Input tokens", "count", "input_tokens"),
    Figure("output_tokens", "Output tokens", "count", "output_tokens"),
    Figure("total_tokens", "Total tokens", "count", "total_tokens"),
    Figure("input_cost", "Input cost", "USD", "input_cost"),
    Figure("output_cost", "Output cost", "USD", "output_cost"),
    Figure("cost", "Cost", "USD", "total_cost"),
    Figure("satisfaction", "Satisfaction", "share", "satisfaction_rating"),
    Figure("thumbs_up", "  thumbs up", "count", "thumbs_up"),
    Figure("thumbs_down", "  thumbs down", "count", "thumbs_down"),
    Figure("accuracy", "Judge: accuracy", "share", "judge_accuracy"),
    Figure("relevance", "Judge: relevance", "share", "judge_relevance"),
    Figure("toxicity", "Judge: toxicity", "share", "judge_toxicity"),
)
BY_NAME = {figure.name: figure for figure in FIGURES}

_COMPARISONS: dict[str, Callable[[float, float], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
}
_FORM = re.compile(
    r"\s*(?P<name>\w+)\s*(?P<comparison>>=|<=|>|<)\s*\$?(?P<number>\d+(?:\.\d+)?)\s*(?P<unit>%|ms|s|USD)?\s*", re.I
)
# For each unit in a condition: the unit of the figure, and the factor between the two.
_UNITS: dict[str, tuple[Unit, float]] = {
    "%": ("share", 0.01),
    "ms": ("ms", 1.0),
    "s": ("ms", 1000.0),
    "usd": ("USD", 1.0),
}


@dataclass(frozen=True)
class Condition:
    """A condition on a figure.

    Attributes:
        text: The condition as the user wrote it.
        figure: The figure to compare.
        comparison: The operator.
        limit: The number to compare with, in the unit of the figure.
    """

    text: str
    figure: Figure
    comparison: str
    limit: float

    def is_met(self, metrics: Metrics) -> bool | None:
        """Return whether the condition is met; ``None`` if the figure is unknown."""
        number = self.figure.read(metrics)
        return None if number is None else _COMPARISONS[self.comparison](float(number), self.limit)


def parse_condition(text: str) -> Condition:
    """Parse a condition, for ``argparse``.

    Raises:
        ArgumentTypeError: The text is not a condition. The message says what is wrong.
    """
    match = _FORM.fullmatch(text)
    if match is None:
        raise ArgumentTypeError(f"{text!r} is not a condition; write it like 'errors > 5%' or 'duration > 2s'")
    name, unit = match["name"].lower(), (match["unit"] or "").lower()
    if name == "errors" and unit == "%":
        name = "error_rate"
    if name not in BY_NAME:
        raise ArgumentTypeError(f"{text!r}: there is no figure {name!r}; use one of {', '.join(BY_NAME)}")
    figure = BY_NAME[name]
    figure_unit, factor = _UNITS.get(unit, (figure.unit, 1.0))
    if figure_unit != figure.unit:
        raise ArgumentTypeError(f"{text!r}: the unit of {name} is {figure.unit}, not {match['unit']}")
    if not unit and figure.unit == "ms":
        raise ArgumentTypeError(f"{text!r} has no unit; write '{text.strip()}s' or '{text.strip()}ms'")
    if not unit and figure.unit == "share" and float(match["number"]) > 1:
        raise ArgumentTypeError(f"{text!r} is more than 100 %; write '{text.strip()}%'")
    return Condition(text.strip(), figure, match["comparison"], float(match["number"]) * factor)
