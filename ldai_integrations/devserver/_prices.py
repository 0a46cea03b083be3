"""What tokens cost, by the prices among the custom parameters of a variation's model.

LaunchDarkly multiplies the token events by the prices of the model config that a variation uses. A flag file has no
model configs; ``model.custom`` may hold the same names: ``costPerInputToken`` and ``costPerOutputToken``, USD a token.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

#: By variation key, then by side.
Prices = Mapping[str, Mapping[str, Decimal]]

NO_PRICES: Prices = {}
_KEYS = {"input": "costPerInputToken", "output": "costPerOutputToken"}


def token_prices(flag: Mapping[str, Any] | None) -> Prices:
    """Return the prices in a flag's variations; what is no price is left out."""
    found = {}
    for value in flag["variations"] if flag is not None else ():
        match value:
            case {"_ldMeta": {"variationKey": str(key)}, "model": {"custom": dict(custom)}}:
                sides = {side: custom[name] for side, name in _KEYS.items() if _is_price(custom.get(name))}
                found[key] = {side: Decimal(repr(price)) for side, price in sides.items()}
    return {key: sides for key, sides in found.items() if sides}


def costs(metrics: Mapping[str, Any], prices: Mapping[str, Decimal]) -> dict[str, float]:
    """Return the costs of one variation, under LaunchDarkly's names."""
    counts = {side: metrics.get(f"{side}Tokens") for side in _KEYS}
    return {
        f"{side}Cost": float(count * prices[side])
        for side, count in counts.items()
        if count is not None and side in prices
    }


def total_costs(variations: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Add up the costs of all variations; a side is absent where tokens of any have no price."""
    found = {}
    for side in _KEYS:
        having = [metrics for metrics in variations if metrics.get(f"{side}Tokens")]
        known = [Decimal(repr(metrics[f"{side}Cost"])) for metrics in having if f"{side}Cost" in metrics]
        if known and len(known) == len(having):
            found[f"{side}Cost"] = float(sum(known))
    return found


def _is_price(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value) and value >= 0
