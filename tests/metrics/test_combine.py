"""The metrics of several time ranges are combined into those of one."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest

from ldai_integrations.metrics import Metrics, MetricsClient, VariationMetrics

from .answers import API, FULL

END = datetime(2026, 11, 20, tzinfo=timezone.utc)
WEEK = {
    "inputTokens": 10,
    "generationSuccessCount": 3,
    "generationErrorCount": 1,
    "thumbsUp": 1,
    "thumbsDown": 1,
    "satisfactionRating": 0.5,
    "timeToFirstTokenMs": 100,
    "judgeRelevance": 0.5,
    "inputCost": 0.1,
}
NEXT = {
    "inputTokens": 30,
    "generationSuccessCount": 12,
    "thumbsUp": 6,
    "satisfactionRating": 1.0,
    "timeToFirstTokenMs": 201,
    "judgeAccuracy": 0.9,
    "inputCost": 0.2,
}


class Combine:
    """A client whose answers to the requests of one long time range a test chooses."""

    def __init__(self, api: API, client: MetricsClient) -> None:
        self._api, self._client = api, client

    def __call__(self, *parts: dict[str, Any]) -> Metrics:
        """Return the metrics of a time range that is divided into these parts."""
        self._api.will_answer(*parts)
        return self._client.metrics("bot", env="test", start=END - timedelta(days=100 * len(parts)), end=END)


@pytest.fixture
def combine(api: API, client: MetricsClient) -> Combine:
    """Give a function that combines the metrics of time ranges."""
    return Combine(api, client)


def test_sums_add_and_means_are_weighted(combine: Combine) -> None:
    """Counts and costs are added, ratings computed from the votes, means weighted by generations and named."""
    assert combine(WEEK, NEXT) == Metrics(
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


def test_empty_ranges(combine: Combine) -> None:
    """A field that no range has stays unknown, and an empty range changes nothing."""
    assert combine({}, {}) == Metrics()
    assert combine({}, FULL, {}) == combine(FULL)


def test_tokens_without_a_price_make_the_cost_unknown(combine: Combine) -> None:
    """A cost is never too small because the price of one range is unknown."""
    assert combine(WEEK, {"inputTokens": 5}).input_cost is None
    assert combine(WEEK, {"inputTokens": 0}).input_cost == Decimal("0.1")


def test_means_without_counts_are_unknown(combine: Combine) -> None:
    """A mean with unknown weights is unknown."""
    assert combine({"judgeAccuracy": 0.5}, NEXT).judge_accuracy is None
    nothing = {"judgeAccuracy": 0.5, "generationSuccessCount": 0}
    assert combine(nothing, nothing).judge_accuracy is None


def test_ratings_without_votes(combine: Combine) -> None:
    """A rating without its votes is kept if it is the only one, and unknown otherwise."""
    rated = {"satisfactionRating": 0.25}
    assert combine(rated, {}).satisfaction_rating == 0.25
    assert combine(rated, rated).satisfaction_rating is None


def test_variations_are_combined_by_key(api: API, client: MetricsClient, combine: Combine) -> None:
    """A range without a variation adds nothing to it. The order is that of the first appearance."""
    a, b = {"variationKey": "a", "metrics": WEEK}, {"variationKey": "b", "metrics": NEXT}
    api.will_answer([a], [], [b, {"variationKey": "a", "metrics": NEXT}])
    found = client.metrics_by_variation("bot", env="test", start=END - timedelta(days=300), end=END)
    assert found == [VariationMetrics("a", combine(WEEK, NEXT)), VariationMetrics("b", combine(NEXT))]
