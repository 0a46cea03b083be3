"""The price of a model, and what usage costs at it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from ..records import Cost, Usage


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """Hold USD per token; ``None`` is unknown, but for tokens of a cache, which then cost what all input does.

    Attributes:
        input: One input token.
        output: One output token.
        cached_input: One input token that was read from a cache.
        cache_write: One input token that was written to a cache.
        source: Who says so.
        day: From which day on it holds, where that is known.
    """

    input: Decimal | None = None
    output: Decimal | None = None
    cached_input: Decimal | None = None
    cache_write: Decimal | None = None
    source: str
    day: date | None = None


def cost_of(usage: Usage, price: Price) -> Cost | None:
    """Return what usage costs; ``None`` where neither side can be told."""
    input_cost = _input_cost(usage, price)
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


def _input_cost(usage: Usage, price: Price) -> Decimal | None:
    """Price each input token once: as read from a cache, written to one, or plain."""
    if usage.input_tokens is None or price.input is None:
        return None
    cached = min(usage.cached_input_tokens or 0, usage.input_tokens)
    written = min(usage.cache_write_input_tokens or 0, usage.input_tokens - cached)
    plain = usage.input_tokens - cached - written
    cached_price = price.input if price.cached_input is None else price.cached_input
    written_price = price.input if price.cache_write is None else price.cache_write
    return plain * price.input + cached * cached_price + written * written_price
