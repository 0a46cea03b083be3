"""The metrics of an AI Config in a time range, read from LaunchDarkly and combined from several ranges.

==============================================  ==============================================================
field                                           value for consecutive time ranges
==============================================  ==============================================================
tokens, counts, votes, ``duration_…``           the sum; a range without the field adds nothing
``input_cost``, ``output_cost``                 the sum; unknown if tokens of any range have no price
``satisfaction_rating``                         ``thumbs_up / (thumbs_up + thumbs_down)`` of the sums
``time_to_first_token_ms``, ``judge_…``         ``Σ value · generations / Σ generations`` over the ranges that have
                                                the field; named in ``approximate``
==============================================  ==============================================================

LaunchDarkly does not say how many values a mean has, so the number of generations takes its place. If only one range
has a field, its value is used. If a range that has it has no number of generations, the mean is unknown.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from decimal import Decimal
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Metrics:
    """The metrics of an AI Config, or of one variation, in a time range.

    ``None`` means that LaunchDarkly did not send a field: it is unknown, never zero. The first sixteen fields are those
    of LaunchDarkly's REST API. Only the dev server sends ``duration_count``. The properties are computed from them.

    Attributes:
        input_tokens: The tokens of all prompts.
        output_tokens: The tokens of all answers.
        total_tokens: The tokens of both.
        generation_count: Attempted generations. LaunchDarkly has deprecated it; see :attr:`generations`.
        generation_success_count: Generations that succeeded.
        generation_error_count: Generations that failed.
        thumbs_up: Positive votes.
        thumbs_down: Negative votes.
        duration_ms: The duration of all runs together, in milliseconds.
        time_to_first_token_ms: The mean time to the first token, in milliseconds.
        satisfaction_rating: The share of positive votes, 0 to 1.
        input_cost: The cost of the input tokens in USD.
        output_cost: The cost of the output tokens in USD.
        judge_accuracy: The mean score of the accuracy judge, 0 to 1.
        judge_relevance: The mean score of the relevance judge, 0 to 1.
        judge_toxicity: The mean score of the toxicity judge, 0 to 1.
        duration_count: The number of runs with a duration, also cancelled ones.
        approximate: The names of the means that were combined from several time ranges by number of generations,
            because LaunchDarkly does not say how many values each has.
    """

    input_tokens: int | None = None
    output_tokens: int | None = None
    total_tokens: int | None = None
    generation_count: int | None = None
    generation_success_count: int | None = None
    generation_error_count: int | None = None
    thumbs_up: int | None = None
    thumbs_down: int | None = None
    duration_ms: int | None = None
    time_to_first_token_ms: int | None = None
    satisfaction_rating: float | None = None
    input_cost: Decimal | None = None
    output_cost: Decimal | None = None
    judge_accuracy: float | None = None
    judge_relevance: float | None = None
    judge_toxicity: float | None = None
    duration_count: int | None = None
    approximate: frozenset[str] = frozenset()

    @property
    def generations(self) -> int | None:
        """The number of attempted generations, as successes and errors if LaunchDarkly sends either."""
        counts = [n for n in (self.generation_success_count, self.generation_error_count) if n is not None]
        return sum(counts) if counts else self.generation_count

    @property
    def successes(self) -> int | None:
        """The number of generations that succeeded. LaunchDarkly sends none if all failed."""
        if self.generation_success_count is None and self.generation_error_count:
            return 0
        return self.generation_success_count

    @property
    def errors(self) -> int | None:
        """The number of generations that failed. LaunchDarkly sends none if all succeeded."""
        if self.generation_error_count is None and self.generation_success_count:
            return 0
        return self.generation_error_count

    @property
    def error_rate(self) -> float | None:
        """The share of errors, 0 to 1."""
        attempts = (self.generation_success_count or 0) + (self.errors or 0)
        return (self.errors or 0) / attempts if attempts else None

    @property
    def mean_duration_ms(self) -> float | None:
        """The mean duration of a run in milliseconds.

        LaunchDarkly sends no :attr:`duration_count`. The sum is then divided by :attr:`generations`, as on its
        Monitoring tab. Cancelled runs have a duration and are not generations, so that the mean is at most this.
        """
        runs = self.generations if self.duration_count is None else self.duration_count
        return self.duration_ms / runs if self.duration_ms is not None and runs else None

    @property
    def total_cost(self) -> Decimal | None:
        """The cost of input and output in USD; ``None`` unless both are known, or one has all of the tokens."""
        if self.input_cost is not None and self.output_cost is not None:
            return self.input_cost + self.output_cost
        tokens, cost = self.output_tokens, self.output_cost
        if cost is None:
            tokens, cost = self.input_tokens, self.input_cost
        return cost if tokens is not None and tokens == self.total_tokens else None


@dataclass(frozen=True, slots=True)
class VariationMetrics:
    """The metrics of one variation.

    Attributes:
        variation_key: Its key; empty for runs that got a default instead of a variation.
        metrics: Its metrics.
    """

    variation_key: str
    metrics: Metrics


def metrics_from_json(value: object) -> Metrics:
    """Read a JSON object of LaunchDarkly. Fields that it does not have are ``None``; unknown ones are ignored.

    Raises:
        ValueError: If it is not an object, or a field is not a number. The text names the field.
    """
    if not isinstance(value, Mapping):
        raise ValueError(f"the metrics are of type {type(value).__name__}")
    found: dict[str, Any] = {}
    for name, key in _FIELDS.items():
        number = value.get(key)
        if number is None:
            continue
        if isinstance(number, bool) or not isinstance(number, (int, float)) or not abs(number) <= _MOST:
            raise ValueError(f"{key} is not a number, or is too large")
        found[name] = _CONVERT.get(name, float)(number)
    return Metrics(**found)


def variations_from_json(value: object) -> list[VariationMetrics]:
    """Read the array of ``{"variationKey", "metrics"}``. LaunchDarkly may send null for an empty one.

    Raises:
        ValueError: If it is something else.
    """
    value = [] if value is None else value
    if not isinstance(value, list) or not all(isinstance(item, Mapping) for item in value):
        raise ValueError("the metrics by variation are not an array of objects")
    return [
        VariationMetrics(str(item.get("variationKey") or ""), metrics_from_json(item.get("metrics") or {}))
        for item in value
    ]


def combine(parts: Sequence[Metrics]) -> Metrics:
    """Combine the metrics of several time ranges that do not overlap, as the table above says."""
    if len(parts) == 1:
        return parts[0]
    known: dict[str, list[Any]] = {
        name: [value for part in parts if (value := getattr(part, name)) is not None] for name in _FIELDS
    }
    found: dict[str, Any] = {name: sum(known[name]) for name in (*_SUMS, *_COSTS) if known[name]}
    for cost, tokens in _COSTS.items():
        if any(getattr(part, cost) is None and getattr(part, tokens) for part in parts):
            found[cost] = None
    found |= {name: _compute_mean(parts, name) for name in _MEANS}
    if found["time_to_first_token_ms"] is not None:
        found["time_to_first_token_ms"] = round(found["time_to_first_token_ms"])
    votes = found.get("thumbs_up", 0) + found.get("thumbs_down", 0)
    if votes:
        found["satisfaction_rating"] = found.get("thumbs_up", 0) / votes
    elif len(known["satisfaction_rating"]) == 1:
        found["satisfaction_rating"] = known["satisfaction_rating"][0]
    weighted = frozenset(name for name in _MEANS if len(known[name]) > 1 and found[name] is not None)
    return Metrics(**found, approximate=weighted.union(*(part.approximate for part in parts)))


def combine_variations(parts: Sequence[Sequence[VariationMetrics]]) -> list[VariationMetrics]:
    """Combine the metrics of each variation. A time range without a variation adds nothing to it."""
    found: dict[str, list[Metrics]] = {}
    for part in parts:
        for variation in part:
            found.setdefault(variation.variation_key, []).append(variation.metrics)
    return [VariationMetrics(key, combine(metrics)) for key, metrics in found.items()]


def _compute_mean(parts: Sequence[Metrics], name: str) -> float | None:
    """Return the mean of a field, weighted by the number of generations."""
    values = [(getattr(part, name), part.generations) for part in parts if getattr(part, name) is not None]
    if len(values) < 2:
        return values[0][0] if values else None
    generations = sum(weight or 0 for _, weight in values)
    if not generations or any(weight is None for _, weight in values):
        return None
    return float(sum(value * weight for value, weight in values) / generations)


# No figure of users is larger, and a float holds the product of any two.
_MOST = 10**100
_SUMS = (
    "input_tokens",
    "output_tokens",
    "total_tokens",
    "generation_count",
    "generation_success_count",
    "generation_error_count",
    "thumbs_up",
    "thumbs_down",
    "duration_ms",
    "duration_count",
)
# Each cost, and the tokens that it is for.
_COSTS = {"input_cost": "input_tokens", "output_cost": "output_tokens"}
_MEANS = ("time_to_first_token_ms", "judge_accuracy", "judge_relevance", "judge_toxicity")
# LaunchDarkly may send a fraction for a count or for milliseconds. A cost has the digits of the JSON text, so that the
# sum of many stays exact. Every other value is a float.
_CONVERT: dict[str, Callable[[float], object]] = {
    **dict.fromkeys((*_SUMS, "time_to_first_token_ms"), round),
    **dict.fromkeys(_COSTS, lambda number: Decimal(repr(number))),
}
# The names of https://launchdarkly.com/docs/api/agentcontrol (object "Metrics"): ours in camel case.
_FIELDS = {
    field.name: re.sub("_(.)", lambda letter: letter[1].upper(), field.name)
    for field in fields(Metrics)
    if field.name != "approximate"
}
