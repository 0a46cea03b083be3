"""Several time ranges are put together into the figures of one."""

from __future__ import annotations

from dataclasses import fields
from decimal import Decimal
from typing import Any

import pytest

from ldai_integrations.metrics import Metrics, VariationMetrics
from ldai_integrations.metrics._combine import combine, combine_variations

WEEK = Metrics(
    input_tokens=10,
    generation_success_count=3,
    generation_error_count=1,
    thumbs_up=1,
    thumbs_down=1,
    satisfaction_rating=0.5,
    time_to_first_token_ms=100,
    judge_relevance=0.5,
    input_cost=Decimal("0.1"),
)
NEXT = Metrics(
    input_tokens=30,
    generation_success_count=12,
    thumbs_up=6,
    satisfaction_rating=1.0,
    time_to_first_token_ms=201,
    judge_accuracy=0.9,
    input_cost=Decimal("0.2"),
)


def test_sums_add_and_means_are_weighted() -> None:
    """Counts and costs add up, ratings are recomputed from the votes, means weighted by generations and named."""
    assert combine([WEEK, NEXT]) == Metrics(
        input_tokens=40,
        generation_success_count=15,
        generation_error_count=1,
        thumbs_up=7,
        thumbs_down=1,
        satisfaction_rating=7 / 8,
        time_to_first_token_ms=round((100 * 4 + 201 * 12) / 16),
        judge_relevance=0.5,
        judge_accuracy=0.9,
        input_cost=Decimal("0.3"),
        approximate=frozenset({"time_to_first_token_ms"}),
    )


def test_nothing_is_made_of_nothing() -> None:
    """What no range knows stays unknown; ranges without anything change nothing."""
    assert combine([Metrics(), Metrics()]) == Metrics()
    assert combine([Metrics(), WEEK, Metrics()]) == WEEK
    assert combine([WEEK]) is WEEK


def test_tokens_without_a_price_make_the_cost_unknown() -> None:
    """A cost is never smaller than it was because the price of one range is not known."""
    free = Metrics(input_tokens=5)
    assert combine([WEEK, free]).input_cost is None
    assert combine([WEEK, Metrics(input_tokens=0)]).input_cost == Decimal("0.1")


def test_means_without_counts_are_unknown() -> None:
    """A mean whose weights are not known is unknown."""
    assert combine([Metrics(judge_accuracy=0.5), NEXT]).judge_accuracy is None
    nobody = Metrics(judge_accuracy=0.5, generation_success_count=0)
    assert combine([nobody, nobody]).judge_accuracy is None


def test_ratings_without_votes() -> None:
    """A rating whose votes are not told is kept where it is the only one, and unknown beside others."""
    rated = Metrics(satisfaction_rating=0.25)
    assert combine([rated, Metrics()]).satisfaction_rating == 0.25
    assert combine([rated, rated]).satisfaction_rating is None


def test_variations_come_together_by_key() -> None:
    """A variation that a range does not name adds nothing there; the order is that of the first appearance."""
    one, two = [VariationMetrics("a", WEEK)], [VariationMetrics("b", NEXT), VariationMetrics("a", NEXT)]
    assert combine_variations([one, [], two]) == [
        VariationMetrics("a", combine([WEEK, NEXT])),
        VariationMetrics("b", NEXT),
    ]


@pytest.mark.parametrize("name", [field.name for field in fields(Metrics) if field.name != "approximate"])
def test_no_field_is_forgotten(name: str) -> None:
    """Every field comes through."""
    value: Any = Decimal(1) if name.endswith("cost") else 1
    assert getattr(combine([Metrics(**{name: value}), Metrics()]), name) == 1
