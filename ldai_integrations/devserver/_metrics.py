"""Compute LaunchDarkly's AI Config metrics from the raw events.

The names are those of LaunchDarkly's REST API. A field is absent if no event contains it. LaunchDarkly's documentation
does not say whether ``timeToFirstTokenMs`` is a sum or a mean. Here it is the mean, which the Monitoring tab shows.
``durationMs`` is a sum, as the API documents. ``durationCount``, the number of durations, is a field that LaunchDarkly
does not have: cancelled runs have a duration too, so that the mean cannot be computed from the generations.

A total cost is absent if tokens of any variation have no price.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import groupby
from operator import itemgetter
from typing import Any

from ._events import EventStore
from ._json import Json
from ._prices import Prices
from ._runs import count_without_outcome

Metrics = dict[str, float]

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

# An event whose key is missing or no text is stored without one.
_VALUES = """
FROM events WHERE config_key = :config_key AND kind = 'custom' AND key IS NOT NULL AND metric_value IS NOT NULL
  AND (:since_ms IS NULL OR created_ms >= :since_ms) AND (:until_ms IS NULL OR created_ms < :until_ms)
"""
# total(), unlike sum(), cannot overflow.
SELECT = f"SELECT variation_key, key, total(metric_value), avg(metric_value), count(metric_value) {_VALUES}"

_TIME_FIELDS = {"$ld:ai:duration:total": "durationMs", "$ld:ai:tokens:ttf": "timeToFirstTokenMs"}
PERCENTILES = (50, 95, 99)
_TIMES = f"""
SELECT variation_key, key, metric_value {_VALUES}
  AND key IN ('$ld:ai:duration:total', '$ld:ai:tokens:ttf') ORDER BY metric_value
"""


@dataclass(frozen=True)
class Selection:
    """The events of an AI Config whose figures are computed.

    Attributes:
        events: The events.
        config_key: Key of the AI Config.
        prices: The prices of tokens, by variation.
        since_ms: Milliseconds since the epoch, by the SDK's clock; earlier events do not count.
        until_ms: Events from this time on do not count.
    """

    events: EventStore
    config_key: str
    prices: Prices
    since_ms: int | None = None
    until_ms: int | None = None

    def select(self, statement: str) -> list[tuple[Any, ...]]:
        """Return all rows of a SELECT statement on these events."""
        return self.events.select(statement, config_key=self.config_key, since_ms=self.since_ms, until_ms=self.until_ms)


def compute_metrics(selection: Selection) -> Metrics:
    """Return the metrics of an AI Config over all its variations."""
    metrics = _name_figures(selection.select(f"{SELECT} GROUP BY key"))
    if selection.prices:
        metrics |= _add_costs([part["metrics"] for part in compute_metrics_by_variation(selection)])
    return metrics


def compute_metrics_by_variation(selection: Selection) -> list[Json]:
    """Return the metrics of each variation as ``{"variationKey", "metrics"}``.

    The variation key is empty for runs that got the caller's default.
    """
    rows = selection.select(f"{SELECT} GROUP BY variation_key, key ORDER BY variation_key")
    found = []
    for variation_key, of_variation in groupby(rows, key=itemgetter(0)):
        metrics = _name_figures(list(of_variation))
        known = selection.prices.get(variation_key)
        for side, price in known.by_side.items() if known is not None else ():
            tokens = metrics.get(f"{side}Tokens")
            if tokens is not None:
                metrics[f"{side}Cost"] = float(Decimal(tokens) * price)
        found.append({"variationKey": variation_key, "metrics": metrics})
    return found


def compute_further_figures(selection: Selection) -> list[Json]:
    """Return the figures of an AI Config that LaunchDarkly's REST API does not have.

    A percentile is the smallest value that this share of all values does not exceed, as on the page.

    Returns:
        For all variations together, whose ``variationKey`` is ``None``, and for each: ``percentiles`` of the times,
        and ``scores``, the means of metrics with other keys than those of :data:`MEANS`. ``withoutOutcome`` is the
        number of runs that were cancelled, or have no outcome a minute after their start.
    """
    found: defaultdict[str | None, Json] = defaultdict(lambda: {"percentiles": {}, "scores": {}, "withoutOutcome": 0})
    times: defaultdict[tuple[str | None, str], list[float]] = defaultdict(list)
    for variation_key, key, value in selection.select(_TIMES):
        times[None, _TIME_FIELDS[key]].append(value)
        times[variation_key, _TIME_FIELDS[key]].append(value)
    for (variation_key, name), values in times.items():
        found[variation_key]["percentiles"][name] = {
            f"p{share}": round(values[math.ceil(len(values) * share / 100) - 1]) for share in PERCENTILES
        }
    scores = [(None, *row[1:]) for row in selection.select(f"{SELECT} GROUP BY key")]
    scores += selection.select(f"{SELECT} GROUP BY variation_key, key")
    for variation_key, key, _, mean, _ in scores:
        # The score of a judge, or of a metric that the application tracks under its own key.
        is_score = key.startswith("$ld:ai:judge:") or not key.startswith("$ld:")
        if is_score and key not in MEANS.values():
            found[variation_key]["scores"][key] = mean
    for variation_key, count in count_without_outcome(
        selection.events, selection.config_key, selection.since_ms, selection.until_ms
    ):
        found[variation_key]["withoutOutcome"] += count
        found[None]["withoutOutcome"] += count
    return [{"variationKey": variation_key, **figures} for variation_key, figures in found.items()]


def _add_costs(variations: Sequence[Metrics]) -> Metrics:
    found = {}
    for side in ("input", "output"):
        with_tokens = [metrics for metrics in variations if metrics.get(f"{side}Tokens")]
        costs = [Decimal(repr(metrics[f"{side}Cost"])) for metrics in with_tokens if f"{side}Cost" in metrics]
        if costs and len(costs) == len(with_tokens):
            found[f"{side}Cost"] = float(sum(costs))
    return found


def _name_figures(rows: Sequence[tuple[Any, ...]]) -> Metrics:
    """Turn rows of variation, event key, sum, mean and count into LaunchDarkly's fields."""
    figures = {key: (total, mean, count) for _, key, total, mean, count in rows}
    found = {name: figures[key][0] for name, key in SUMS.items() if key in figures}
    found |= {name: figures[key][1] for name, key in MEANS.items() if key in figures}
    found |= {name: round(found[name]) for name in WHOLE if name in found}
    if "durationMs" in found:
        found["durationCount"] = figures[SUMS["durationMs"]][2]
    successes, errors = found.get("generationSuccessCount"), found.get("generationErrorCount")
    if successes is not None or errors is not None:
        found["generationCount"] = (successes or 0) + (errors or 0)
    votes = found.get("thumbsUp", 0) + found.get("thumbsDown", 0)
    if votes:
        found["satisfactionRating"] = found.get("thumbsUp", 0) / votes
    return found
