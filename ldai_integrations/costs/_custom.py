"""The prices that an AI Config itself gives, among the custom parameters of its model."""

from __future__ import annotations

import math
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from ._price import Price

#: As in LaunchDarkly's REST API (object "ModelConfig"), where they are USD per token too.
KEYS = {
    "input": "costPerInputToken",
    "output": "costPerOutputToken",
    "cached_input": "costPerCachedInputToken",
}


def custom_price(get: Callable[[str], Any], source: str) -> Price | None:
    """Return the price that custom parameters give; ``None`` if they give none.

    Args:
        get: Takes the name of a parameter and returns its value, or ``None``.
        source: Who says so.

    Raises:
        ValueError: If a price is no number of 0 or more; the text names the parameter.
    """
    found: dict[str, Any] = {side: _usd(key, get(key)) for side, key in KEYS.items()}
    if not any(value is not None for value in found.values()):
        return None
    return Price(**found, source=source)


def _usd(key: str, value: Any) -> Decimal | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value) or value < 0:
        raise ValueError(f"{key} must be USD per token, a number of 0 or more such as 0.00000015")
    return Decimal(repr(value))
