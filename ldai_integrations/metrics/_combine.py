"""Put the metrics of consecutive time ranges together.

==============================================  ==============================================================
tokens, counts, votes, ``duration_ms``          the sum; a range without the field adds nothing
``input_cost``, ``output_cost``                 the sum; unknown if tokens of any range have no price
``satisfaction_rating``                         ``thumbs_up / (thumbs_up + thumbs_down)`` of the sums
``time_to_first_token_ms``, ``judge_…``         ``Σ value · generations / Σ generations`` over the ranges that have
                                                the field; named in ``approximate``
==============================================  ==============================================================

LaunchDarkly does not tell how many values are behind a mean, so generations stand for them; where only one range
has a field, its value is the answer. Where a range that has it has no number of generations, the mean is unknown.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ._values import Metrics, VariationMetrics

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


def combine(parts: Sequence[Metrics]) -> Metrics:
    """Return the metrics of several time ranges that do not overlap, as those of one."""
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
    """Do the same for each variation; one that a time range does not name adds nothing there."""
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
