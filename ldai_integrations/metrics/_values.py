"""What LaunchDarkly says about an AI Config in a time range, typed."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Metrics:
    """Hold the metrics of an AI Config, or of one variation, in a time range.

    ``None`` means that LaunchDarkly said nothing about a field: unknown, never zero. The first sixteen fields are
    those of LaunchDarkly's REST API; the properties are computed from them.

    Attributes:
        input_tokens: Tokens of all prompts.
        output_tokens: Tokens of all answers.
        total_tokens: Tokens of both.
        generation_count: Attempted generations; deprecated by LaunchDarkly, see :attr:`generations`.
        generation_success_count: Generations that succeeded.
        generation_error_count: Generations that failed.
        thumbs_up: Positive votes.
        thumbs_down: Negative votes.
        duration_ms: Duration of all generations together, milliseconds.
        time_to_first_token_ms: Mean time to the first token, milliseconds.
        satisfaction_rating: Share of positive votes, 0 to 1.
        input_cost: Cost of the input tokens, USD.
        output_cost: Cost of the output tokens, USD.
        judge_accuracy: Mean score of the accuracy judge, 0 to 1.
        judge_relevance: Mean score of the relevance judge, 0 to 1.
        judge_toxicity: Mean score of the toxicity judge, 0 to 1.
        approximate: Names of the means that were put together from several time ranges by number of generations,
            because LaunchDarkly does not say how many values are behind each.
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
        """Attempted generations, which are successes and errors, where LaunchDarkly gives either."""
        counts = [n for n in (self.generation_success_count, self.generation_error_count) if n is not None]
        return sum(counts) if counts else self.generation_count

    @property
    def error_rate(self) -> float | None:
        """Errors by generations, 0 to 1; beside a known number of successes, an absent number of errors is none."""
        successes, errors = self.generation_success_count, self.generation_error_count
        if errors is None and successes is None:
            return None
        attempts = (successes or 0) + (errors or 0)
        return (errors or 0) / attempts if attempts else None

    @property
    def mean_duration_ms(self) -> float | None:
        """Duration by generations, milliseconds, as LaunchDarkly's Monitoring tab computes it."""
        if self.duration_ms is None or not self.generations:
            return None
        return self.duration_ms / self.generations

    @property
    def total_cost(self) -> Decimal | None:
        """Cost of input and output, USD; ``None`` unless both are known."""
        if self.input_cost is None or self.output_cost is None:
            return None
        return self.input_cost + self.output_cost


@dataclass(frozen=True, slots=True)
class VariationMetrics:
    """Hold the metrics of one variation.

    Attributes:
        variation_key: Its key; empty for runs that were served a default instead of a variation.
        metrics: Its metrics.
    """

    variation_key: str
    metrics: Metrics


def metrics_from_json(value: Any) -> Metrics:
    """Read an object of LaunchDarkly's; fields it does not know, and we do not, are left out.

    Raises:
        ValueError: If it is no object, or a field of it is no number. The text names the field.
    """
    if not isinstance(value, Mapping):
        raise ValueError(f"the metrics are of type {type(value).__name__}")
    return Metrics(**{name: read(value, key) for name, (key, read) in _FIELDS.items()})


def variations_from_json(value: Any) -> list[VariationMetrics]:
    """Read the array of ``{"variationKey", "metrics"}``; LaunchDarkly may send null where it is empty.

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


def _number(value: Mapping[str, Any], key: str) -> int | float | None:
    number = value.get(key)
    if number is None:
        return None
    if isinstance(number, bool) or not isinstance(number, (int, float)) or not math.isfinite(number):
        raise ValueError(f"{key} is no number")
    return number


def _whole(value: Mapping[str, Any], key: str) -> int | None:
    """Read a count or milliseconds; LaunchDarkly may send a fraction, which is rounded."""
    number = _number(value, key)
    return None if number is None else round(number)


def _fraction(value: Mapping[str, Any], key: str) -> float | None:
    number = _number(value, key)
    return None if number is None else float(number)


def _money(value: Mapping[str, Any], key: str) -> Decimal | None:
    """Read USD as they were written, so that sums of many do not drift."""
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
