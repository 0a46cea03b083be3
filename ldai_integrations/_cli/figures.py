"""The figures of ``ldai metrics``: what each is called, how it is read and how it is written."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

from ..metrics import Metrics

Unit = Literal["count", "share", "ms", "USD"]
Number = int | float | Decimal
UNKNOWN = "–"  # noqa: RUF001  # a dash is meant


@dataclass(frozen=True)
class Figure:
    """Name one figure.

    Attributes:
        name: As ``--fail-if`` takes it.
        label: As the table shows it.
        unit: What it is counted in; a share is between 0 and 1.
        read: Takes it from metrics; ``None`` is unknown.
        field: The field of :class:`Metrics` it comes from, where it is one.
    """

    name: str
    label: str
    unit: Unit
    read: Callable[[Metrics], Number | None]
    field: str = ""


def _field(name: str, label: str, unit: Unit, field: str) -> Figure:
    return Figure(name, label, unit, lambda metrics: getattr(metrics, field), field)


def _errors(metrics: Metrics) -> int | None:
    """Return the number of errors; beside a known number of successes, an absent one is none, as for the rate."""
    return 0 if metrics.error_rate == 0 else metrics.generation_error_count


FIGURES = (
    Figure("generations", "Generations", "count", lambda metrics: metrics.generations),
    _field("successes", "  succeeded", "count", "generation_success_count"),
    Figure("errors", "  failed", "count", _errors),
    Figure("error_rate", "Error rate", "share", lambda metrics: metrics.error_rate),
    Figure("duration", "Duration, mean", "ms", lambda metrics: metrics.mean_duration_ms),
    _field("first_token", "First token, mean", "ms", "time_to_first_token_ms"),
    _field("input_tokens", "Input tokens", "count", "input_tokens"),
    _field("output_tokens", "Output tokens", "count", "output_tokens"),
    _field("total_tokens", "Total tokens", "count", "total_tokens"),
    _field("input_cost", "Input cost", "USD", "input_cost"),
    _field("output_cost", "Output cost", "USD", "output_cost"),
    Figure("cost", "Cost", "USD", lambda metrics: metrics.total_cost),
    _field("satisfaction", "Satisfaction", "share", "satisfaction_rating"),
    _field("thumbs_up", "  thumbs up", "count", "thumbs_up"),
    _field("thumbs_down", "  thumbs down", "count", "thumbs_down"),
    _field("accuracy", "Judge: accuracy", "share", "judge_accuracy"),
    _field("relevance", "Judge: relevance", "share", "judge_relevance"),
    _field("toxicity", "Judge: toxicity", "share", "judge_toxicity"),
)
BY_NAME = {figure.name: figure for figure in FIGURES}


def written(figure: Figure, metrics: Metrics) -> str:
    """Write a figure for people; a mean that was put together approximately is marked."""
    number = figure.read(metrics)
    if number is None:
        return UNKNOWN
    mark = "≈ " if figure.field in metrics.approximate else ""
    return mark + write_number(number, figure.unit)


def write_number(number: Number, unit: Unit) -> str:
    """Write a number with its unit."""
    if unit == "share":
        return f"{number:.1%}"
    if unit == "ms":
        return f"{number:,.0f} ms" if number < 10_000 else f"{number / 1000:,.1f} s"
    if unit == "USD":
        return f"${number:,.2f}" if number >= 1 or not number else f"${number:.6f}".rstrip("0")
    return f"{number:,}"
