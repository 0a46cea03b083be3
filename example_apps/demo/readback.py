"""Read the reported figures: the metrics from LaunchDarkly's REST API, and the events from the database."""

from __future__ import annotations

import json
import sqlite3
import time
from collections import Counter
from contextlib import closing
from decimal import Decimal
from http.client import HTTPConnection
from typing import TYPE_CHECKING, Any

from .plan import Variation

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from .expected import Figures

DAY_MS = 24 * 3600 * 1000

# For each event key: the names of its count and its sum; https://launchdarkly.com/docs/sdk/ai/python
EVENTS = {
    "$ld:ai:duration:total": ("runs", "duration_ms"),
    "$ld:ai:tokens:ttf": ("first_tokens", "first_token_ms"),
    "$ld:ai:tokens:input": (None, "input_tokens"),
    "$ld:ai:tokens:output": (None, "output_tokens"),
    "$ld:ai:tokens:total": (None, "total_tokens"),
    "$ld:ai:generation:success": ("success", None),
    "$ld:ai:generation:error": ("errors", None),
    "$ld:ai:feedback:user:positive": ("thumbs_up", None),
    "$ld:ai:feedback:user:negative": ("thumbs_down", None),
    "$ld:ai:tool_call": ("tool_calls", None),
}
FIELDS = {
    "generationCount": "generations",
    "generationSuccessCount": "success",
    "generationErrorCount": "errors",
    "inputTokens": "input_tokens",
    "outputTokens": "output_tokens",
    "totalTokens": "total_tokens",
    "durationMs": "duration_ms",
    "timeToFirstTokenMs": "first_token_ms",
    "thumbsUp": "thumbs_up",
    "thumbsDown": "thumbs_down",
}

RunKey = tuple[Variation, str]  # variation and run id


def read_runs(database: Path) -> dict[RunKey, Figures]:
    """Return the figures of every run in the database, by variation and run id."""
    runs: dict[RunKey, Figures] = {}
    statement = "SELECT config_key, variation_key, run_id, key, metric_value FROM events WHERE run_id IS NOT NULL"
    with closing(sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True)) as connection:
        for config_key, variation_key, run_id, key, value in connection.execute(statement):
            figures = runs.setdefault((Variation(config_key, variation_key), run_id), Counter())
            count, total = EVENTS.get(key, (key, None))
            figures.update({count: 1} if count else {})
            figures.update({total: value} if total else {})
    return runs


def read_table(address: str, config_keys: Iterable[str]) -> dict[Variation, Figures]:
    """Return the metrics by variation from LaunchDarkly's REST API."""
    table: dict[Variation, Figures] = {}
    for config_key in sorted(config_keys):
        for part in _get(address, f"/api/v2/projects/default/ai-configs/{config_key}/metrics-by-variation"):
            row = Counter({FIELDS[name]: n for name, n in part["metrics"].items() if name in FIELDS})
            table[Variation(config_key, part["variationKey"])] = +row
    return table


def read_costs(address: str, config_keys: Iterable[str]) -> dict[Variation, Decimal]:
    """Return the cost of each variation in USD, from LaunchDarkly's REST API."""
    costs: dict[Variation, Decimal] = {}
    for config_key in sorted(config_keys):
        for part in _get(address, f"/api/v2/projects/default/ai-configs/{config_key}/metrics-by-variation"):
            sides = (Decimal(repr(part["metrics"].get(name, 0))) for name in ("inputCost", "outputCost"))
            costs[Variation(config_key, part["variationKey"])] = sum(sides, Decimal())
    return costs


def read_prices(configs: Path) -> dict[Variation, tuple[Decimal, Decimal]]:
    """Return the prices of an input token and an output token in USD, from the flag file."""
    prices = {}
    for key, flag in json.loads(configs.read_text(encoding="utf-8"), parse_float=Decimal)["flags"].items():
        for value in flag["variations"]:
            custom = value.get("model", {}).get("custom", {})
            sides = custom.get("costPerInputToken", Decimal()), custom.get("costPerOutputToken", Decimal())
            prices[Variation(key, value["_ldMeta"]["variationKey"])] = sides
    return prices


def read_bill(address: str) -> list[dict[str, Any]]:
    """Return the model server's bill."""
    bill: list[dict[str, Any]] = _get(address, "/bill")
    return bill


def _get(address: str, path: str) -> Any:
    now = int(time.time() * 1000)
    connection = HTTPConnection(address, timeout=30)
    try:
        query = f"?env=dev&from={now - DAY_MS}&to={now + DAY_MS}"
        connection.request("GET", path + query, headers={"Authorization": "api-dev"})
        response = connection.getresponse()
        body = response.read()
        if response.status != 200:
            raise ConnectionError(f"http://{address}{path} answers {response.status}: {body[:200]!r}")
        return json.loads(body)
    finally:
        connection.close()
