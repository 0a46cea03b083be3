"""The price of a model, the prices that an AI Config gives, and the cost of usage."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from ..records import Cost, Usage

#: The custom parameters with prices. LaunchDarkly's REST API uses the same names and unit (object "ModelConfig").
CUSTOM_PARAMETERS = {
    "input": "costPerInputToken",
    "output": "costPerOutputToken",
    "cached_input": "costPerCachedInputToken",
}
CUSTOM_SOURCE = "ai-config"


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """The prices of a model in USD per token; ``None`` is unknown.

    Tokens of a cache whose price is unknown cost as much as other input tokens.

    Attributes:
        input: One input token.
        output: One output token.
        cached_input: One input token that was read from a cache.
        cache_write: One input token that was written to a cache.
        source: Where the prices come from.
        day: The first day on which they are valid, if it is known.
    """

    input: Decimal | None = None
    output: Decimal | None = None
    cached_input: Decimal | None = None
    cache_write: Decimal | None = None
    source: str
    day: date | None = None


def read_custom_price(get: Callable[[str], object]) -> Price | None:
    """Return the price that an AI Config gives, or ``None`` if it gives none.

    Args:
        get: Takes the name of a custom parameter and returns its value or ``None``.

    Raises:
        ValueError: If a price is not a number of 0 or more. The text names the parameter.
    """
    found: dict[str, Decimal] = {}
    for side, name in CUSTOM_PARAMETERS.items():
        value = get(name)
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value) or value < 0:
            raise ValueError(f"{name} must be USD per token, a number of 0 or more such as 0.00000015")
        found[side] = Decimal(repr(value))
    return Price(**found, source=CUSTOM_SOURCE) if found else None  # type: ignore[arg-type]  # no key is source or day


def compute_cost(usage: Usage, price: Price) -> Cost | None:
    """Return the cost of usage, or ``None`` if neither input nor output has one."""
    input_cost = _compute_input_cost(usage, price)
    output_cost = None
    if usage.output_tokens is not None and price.output is not None:
        output_cost = usage.output_tokens * price.output
    if input_cost is None and output_cost is None:
        return None
    return Cost(
        input_cost=input_cost,
        output_cost=output_cost,
        price_source=price.source,
        price_date=price.day,
        estimated=bool(usage.estimated & {"input_tokens", "output_tokens"}),
    )


def _compute_input_cost(usage: Usage, price: Price) -> Decimal | None:
    """Return the cost of the input tokens, each of which is read from a cache, written to one, or neither."""
    if usage.input_tokens is None or price.input is None:
        return None
    cached = min(usage.cached_input_tokens or 0, usage.input_tokens)
    written = min(usage.cache_write_input_tokens or 0, usage.input_tokens - cached)
    others = usage.input_tokens - cached - written
    cached_price = price.input if price.cached_input is None else price.cached_input
    written_price = price.input if price.cache_write is None else price.cache_write
    return others * price.input + cached * cached_price + written * written_price
