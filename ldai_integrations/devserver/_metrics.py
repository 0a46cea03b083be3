"""Compute LaunchDarkly's AI Config metrics from the raw events.

The names are those of LaunchDarkly's REST API. A field is absent where no event says anything about it. No event
carries money: costs are tokens times the prices of the variation's model, and absent where tokens of any variation have
none. LaunchDarkly's documentation does not say whether ``timeToFirstTokenMs`` is a sum or a mean: here it is the mean,
which is what the Monitoring tab shows, while ``durationMs`` is the sum the API documents.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ._prices import NO_PRICES, Prices, costs, total_costs

if TYPE_CHECKING:
    from ._events import EventStore

Metrics = dict[str, Any]

SUMS = {
    "inputTokens": "$ld:ai:tokens:input",
    "outputTokens": "$ld:ai:tokens:output",
    "totalTokens": "$ld:ai:tokens:total",
    "generationSuccessCount": "$ld:ai:generation:success",
    "generationErrorCount": "$ld:ai:generation:error",
    "thumbsUp": "$ld:ai:feedback:user:positive",
    "thumbsDown": "$ld:ai:feedback:user:negative",
    "durationMs": "$ld:ai:duration:total",
}
MEANS = {
    "timeToFirstTokenMs": "$ld:ai:tokens:ttf",
    "judgeAccuracy": "$ld:ai:judge:accuracy",
    "judgeRelevance": "$ld:ai:judge:relevance",
    "judgeToxicity": "$ld:ai:judge:toxicity",
}
# LaunchDarkly's own client refuses a fractional number of milliseconds.
WHOLE = (*SUMS, "timeToFirstTokenMs")

SELECT = """
SELECT variation_key, key, sum(metric_value), avg(metric_value) FROM events
WHERE config_key = :config_key AND kind = 'custom' AND metric_value IS NOT NULL
  AND (:since_ms IS NULL OR created_ms >= :since_ms) AND (:until_ms IS NULL OR created_ms < :until_ms)
"""


def metrics(
    events: EventStore,
    config_key: str,
    *,
    prices: Prices = NO_PRICES,
    since_ms: int | None = None,
    until_ms: int | None = None,
) -> Metrics:
    """Return the metrics of an AI Config over all its variations.

    Args:
        events: Where to look.
        config_key: Key of the AI Config.
        prices: What tokens cost, by variation.
        since_ms: The first millisecond since the epoch that counts, by the SDK's clock.
        until_ms: The first one that does not count any more.
    """
    rows = events.select(f"{SELECT} GROUP BY key", config_key=config_key, since_ms=since_ms, until_ms=until_ms)
    if not prices:
        return _named(rows)
    parts = metrics_by_variation(events, config_key, prices=prices, since_ms=since_ms, until_ms=until_ms)
    return _named(rows) | total_costs([part["metrics"] for part in parts])


def metrics_by_variation(
    events: EventStore,
    config_key: str,
    *,
    prices: Prices = NO_PRICES,
    since_ms: int | None = None,
    until_ms: int | None = None,
) -> list[dict[str, Any]]:
    """Return the metrics of each variation as ``{"variationKey", "metrics"}``; arguments as for :func:`metrics`.

    Runs that were served the caller's default stand under an empty variation key.
    """
    rows = events.select(
        f"{SELECT} GROUP BY variation_key, key ORDER BY variation_key",
        config_key=config_key,
        since_ms=since_ms,
        until_ms=until_ms,
    )
    keys = dict.fromkeys(row[0] for row in rows)
    found = {key: _named([row for row in rows if row[0] == key]) for key in keys}
    return [
        {"variationKey": key, "metrics": metrics | costs(metrics, prices.get(key, {}))}
        for key, metrics in found.items()
    ]


def _named(rows: list[tuple[Any, ...]]) -> Metrics:
    """Turn (variation, event key, sum, mean) rows of one group into LaunchDarkly's fields."""
    sums = {key: total for _, key, total, _ in rows}
    means = {key: mean for _, key, _, mean in rows}
    found = {name: sums[key] for name, key in SUMS.items() if key in sums}
    found |= {name: means[key] for name, key in MEANS.items() if key in means}
    found |= {name: round(found[name]) for name in WHOLE if name in found}
    successes, errors = found.get("generationSuccessCount"), found.get("generationErrorCount")
    if successes is not None or errors is not None:
        found["generationCount"] = (successes or 0) + (errors or 0)
    votes = found.get("thumbsUp", 0) + found.get("thumbsDown", 0)
    if votes:
        found["satisfactionRating"] = found.get("thumbsUp", 0) / votes
    return found
