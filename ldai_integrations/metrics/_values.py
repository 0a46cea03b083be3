"""The metrics of an AI Config in a time range, read from LaunchDarkly and combined from several ranges.

==============================================  ==============================================================
field                                           value for consecutive time ranges
==============================================  ==============================================================
tokens, counts, votes, ``duration_ms``          the sum; a range without the field adds nothing
``input_cost``, ``output_cost``                 the sum; unknown if tokens of any range have no price
``satisfaction_rating``                         ``thumbs_up / (thumbs_up + thumbs_down)`` of the sums
``time_to_first_token_ms``, ``judge_…``         ``Σ value · generations / Σ generations`` over the ranges that have
                                                the field; named in ``approximate``
==============================================  ==============================================================

LaunchDarkly does not say how many values a mean has, so the number of generations takes its place. If only one range
has a field, its value is used. If a range that has it has no number of generations, the mean is unknown.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Metrics:
    """The metrics of an AI Config, or of one variation, in a time range.

    ``None`` means that LaunchDarkly did not send a field: it is unknown, never zero. The first sixteen fields are those
    of LaunchDarkly's REST API. The properties are computed from them.

    Attributes:
        input_tokens: The tokens of all prompts.
        output_tokens: The tokens of all answers.
        total_tokens: The tokens of both.
        generation_count: Attempted generations. LaunchDarkly has deprecated it; see :attr:`generations`.
        generation_success_count: Generations that succeeded.
        generation_error_count: Generations that failed.
        thumbs_up: Positive votes.
        thumbs_down: Negative votes.
        duration_ms: The duration of all generations together, in milliseconds.
        time_to_first_token_ms: The mean time to the first token, in milliseconds.
        satisfaction_rating: The share of positive votes, 0 to 1.
        input_cost: The cost of the input tokens in USD.
        output_cost: The cost of the output tokens in USD.
        judge_accuracy: The mean score of the accuracy judge, 0 to 1.
        judge_relevance: The mean score of the relevance judge, 0 to 1.
        judge_toxicity: The mean score of the toxicity judge, 0 to 1.
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
    approximate: frozenset[str] = frozenset()

    @property
    def generations(self) -> int | None:
        """The attempted generations: successes and errors, if LaunchDarkly sends either."""
        counts = [n for n in (self.generation_success_count, self.generation_error_count) if n is not None]
        return sum(counts) if counts else self.generation_count

    @property
    def error_rate(self) -> float | None:
        """The share of errors, 0 to 1. If the number of successes is known, an absent number of errors means none."""
        successes, errors = self.generation_success_count, self.generation_error_count
        if errors is None and successes is None:
            return None
        attempts = (successes or 0) + (errors or 0)
        return (errors or 0) / attempts if attempts else None

    @property
    def mean_duration_ms(self) -> float | None:
        """The duration per generation in milliseconds, as LaunchDarkly's Monitoring tab computes it."""
        if self.duration_ms is None or not self.generations:
            return None
        return self.duration_ms / self.generations

    @property
    def total_cost(self) -> Decimal | None:
        """The cost of input and output in USD; ``None`` unless both are known."""
        if self.input_cost is None or self.output_cost is None:
            return None
        return self.input_cost + self.output_cost


@dataclass(frozen=True, slots=True)
class VariationMetrics:
    """The metrics of one variation.

    Attributes:
        variation_key: Its key; empty for runs that got a default instead of a variation.
        metrics: Its metrics.
    """

    variation_key: str
    metrics: Metrics


def metrics_from_json(value: Any) -> Metrics:
    """Read a JSON object of LaunchDarkly. Fields that it does not have are ``None``; unknown ones are ignored.

    Raises:
        ValueError: If it is not an object, or a field is not a number. The text names the field.
    """
    if not isinstance(value, Mapping):
        raise ValueError(f"the metrics are of type {type(value).__name__}")
    return Metrics(**{name: read(value, key) for name, (key, read) in _FIELDS.items()})


def variations_from_json(value: Any) -> list[VariationMetrics]:
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
    fields: dict[str, Any] = {name: _sum(parts, name) for name in _SUMS}
    fields |= {cost: _cost(parts, cost, tokens) for cost, tokens in _COSTS.items()}
    fields |= {name: _mean(parts, name) for name in _MEANS}
    if fields["time_to_first_token_ms"] is not None:
        fields["time_to_first_token_ms"] = round(fields["time_to_first_token_ms"])
    fields["satisfaction_rating"] = _satisfaction(parts, fields["thumbs_up"], fields["thumbs_down"])
    several = frozenset(name for name in _MEANS if len(_known(parts, name)) > 1 and fields[name] is not None)
    return Metrics(**fields, approximate=several.union(*(part.approximate for part in parts)))


def combine_variations(parts: Sequence[Sequence[VariationMetrics]]) -> list[VariationMetrics]:
    """Combine the metrics of each variation. A time range without a variation adds nothing to it."""
    found: dict[str, list[Metrics]] = {}
    for part in parts:
        for variation in part:
            found.setdefault(variation.variation_key, []).append(variation.metrics)
    return [VariationMetrics(key, combine(metrics)) for key, metrics in found.items()]


def _known(parts: Sequence[Metrics], name: str) -> list[Any]:
    return [getattr(part, name) for part in parts if getattr(part, name) is not None]


def _sum(parts: Sequence[Metrics], name: str) -> Any:
    known = _known(parts, name)
    return sum(known) if known else None


def _cost(parts: Sequence[Metrics], cost: str, tokens: str) -> Any:
    unpriced = any(getattr(part, cost) is None and getattr(part, tokens) for part in parts)
    return None if unpriced else _sum(parts, cost)


def _mean(parts: Sequence[Metrics], name: str) -> Any:
    having = [part for part in parts if getattr(part, name) is not None]
    if len(having) < 2:
        return getattr(having[0], name) if having else None
    weights = [part.generations for part in having]
    known = [weight for weight in weights if weight is not None]
    if len(known) < len(weights) or not sum(known):
        return None
    return sum(getattr(part, name) * weight for part, weight in zip(having, known, strict=True)) / sum(known)


def _satisfaction(parts: Sequence[Metrics], thumbs_up: int | None, thumbs_down: int | None) -> float | None:
    votes = (thumbs_up or 0) + (thumbs_down or 0)
    if votes:
        return (thumbs_up or 0) / votes
    ratings = _known(parts, "satisfaction_rating")
    return ratings[0] if len(ratings) == 1 else None


def _number(value: Mapping[str, Any], key: str) -> int | float | None:
    number = value.get(key)
    if number is None:
        return None
    if isinstance(number, bool) or not isinstance(number, (int, float)) or not math.isfinite(number):
        raise ValueError(f"{key} is no number")
    return number


def _whole(value: Mapping[str, Any], key: str) -> int | None:
    """Read a count or milliseconds. LaunchDarkly may send a fraction, which is rounded."""
    number = _number(value, key)
    return None if number is None else round(number)


def _fraction(value: Mapping[str, Any], key: str) -> float | None:
    number = _number(value, key)
    return None if number is None else float(number)


def _money(value: Mapping[str, Any], key: str) -> Decimal | None:
    """Read USD with the digits of the JSON text, so that a sum of many stays exact."""
    number = _number(value, key)
    return None if number is None else Decimal(repr(number))


_Reader = Callable[[Mapping[str, Any], str], Any]
# Names of https://launchdarkly.com/docs/api/agentcontrol (object "Metrics")
_FIELDS: dict[str, tuple[str, _Reader]] = {
    "input_tokens": ("inputTokens", _whole),
    "output_tokens": ("outputTokens", _whole),
    "total_tokens": ("totalTokens", _whole),
    "generation_count": ("generationCount", _whole),
    "generation_success_count": ("generationSuccessCount", _whole),
    "generation_error_count": ("generationErrorCount", _whole),
    "thumbs_up": ("thumbsUp", _whole),
    "thumbs_down": ("thumbsDown", _whole),
    "duration_ms": ("durationMs", _whole),
    "time_to_first_token_ms": ("timeToFirstTokenMs", _whole),
    "satisfaction_rating": ("satisfactionRating", _fraction),
    "input_cost": ("inputCost", _money),
    "output_cost": ("outputCost", _money),
    "judge_accuracy": ("judgeAccuracy", _fraction),
    "judge_relevance": ("judgeRelevance", _fraction),
    "judge_toxicity": ("judgeToxicity", _fraction),
}

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
)
_COSTS = {"input_cost": "input_tokens", "output_cost": "output_tokens"}
_MEANS = ("time_to_first_token_ms", "judge_accuracy", "judge_relevance", "judge_toxicity")
