"""The cost of a run: its usage times the price of its model.

The AI Config's own prices come first: ``costPerInputToken``, ``costPerOutputToken`` and ``costPerCachedInputToken``
among the custom parameters of its model, in USD per token. LaunchDarkly uses these names for the prices of a model
config. Otherwise the price comes from the package ``genai-prices`` if it is installed (extra ``[costs]``). Nothing is
downloaded.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, timezone
from decimal import Decimal
from importlib.metadata import version
from typing import Any

from ._diagnostics import Diagnostics
from .records import Cost, Usage

__all__ = ["Costs"]

#: The custom parameters with prices. LaunchDarkly's REST API uses the same names and unit (object "ModelConfig").
CUSTOM_PARAMETERS = {
    "input": "costPerInputToken",
    "output": "costPerOutputToken",
    "cached_input": "costPerCachedInputToken",
}
CUSTOM_SOURCE = "ai-config"

_MILLION = 1_000_000
# The names of a Price, and those of the package's ModelPrice.
_SIDES = {
    "input": "input_mtok",
    "output": "output_mtok",
    "cached_input": "cache_read_mtok",
    "cache_write": "cache_write_mtok",
}
# Names come from AI Configs. The limit protects memory if there are unexpectedly many.
_MAX_REMEMBERED = 1_000


class Costs:
    """The prices of runs. Thread-safe; never raises; takes some microseconds per run.

    Make it at start, because it imports ``genai-prices`` if that is installed.

    Args:
        diagnostics: Where unusable prices are noted.
    """

    def __init__(self, diagnostics: Diagnostics) -> None:
        self._diagnostics = diagnostics
        self._list: PriceList | None = None
        try:
            self._list = PriceList()
        except ImportError:
            pass  # the extra [costs] is not installed, and AI Configs may still give prices
        except Exception as exc:
            self._diagnostics.failed("price list", "genai-prices", exc)

    def of(
        self,
        usage: Usage | None,
        *,
        config_key: str,
        model_name: str,
        provider_name: str,
        get_custom: Callable[[str], Any],
        started_at: float,
    ) -> Cost | None:
        """Return the cost of usage, or ``None`` if it is unknown.

        Args:
            usage: The tokens, if any are known.
            config_key: The key of the AI Config, for the log.
            model_name: The name of the configured model.
            provider_name: The name of the configured provider. It may be empty.
            get_custom: Returns a custom parameter of the model, or ``None``.
            started_at: The start of the run, in seconds since the epoch.
        """
        if usage is None or not model_name:
            return None
        try:
            price = read_custom_price(get_custom)
            if price is None and self._list is not None:
                at = datetime.fromtimestamp(started_at, timezone.utc)
                price = self._list.price(model_name, provider_name, input_tokens=usage.input_tokens or 0, at=at)
            return None if price is None else compute_cost(usage, price)
        except CustomPriceError as problem:
            self._diagnostics.note(
                "price", config_key, "The cost of %r is unknown: its model's %s.", config_key, problem
            )
        except Exception as exc:
            self._diagnostics.failed("cost", config_key, exc)
        return None


class PriceList:
    """The list of prices in the package ``genai-prices``. Thread-safe; uses no network.

    If the application runs the package's own ``UpdatePrices``, this is the updated list. The import of the package
    takes some tenths of a second.

    Raises:
        ImportError: If the package is not installed.
    """

    def __init__(self) -> None:
        from genai_prices import data_snapshot

        self._snapshots = data_snapshot
        self._source = f"genai-prices {version('genai-prices')}"
        # The list, and for each model and provider its price, or the package's model if the price varies.
        self._known: tuple[Any, dict[tuple[str, str], Any]] = (data_snapshot.get_snapshot(), {})

    def price(self, model_name: str, provider_name: str, *, input_tokens: int, at: datetime) -> Price | None:
        """Return the price of a model, or ``None`` if the list has none.

        Args:
            model_name: The provider's name of the model.
            provider_name: The name of the provider in any usual form. If it is empty, the name of the model decides.
                A provider that is not in the list has no known prices.
            input_tokens: The size of the prompt. Some models cost more above a threshold.
            at: The time of the call. Some prices depend on the date or the time of day.
        """
        snapshot = self._snapshots.get_snapshot()
        known_snapshot, known = self._known
        if snapshot is not known_snapshot or len(known) >= _MAX_REMEMBERED:
            known = {}
            self._known = (snapshot, known)
        key = (model_name, provider_name)
        if key not in known:
            try:
                model = snapshot.find_provider_model(model_name, None, provider_name or None, None)[1]
            except LookupError:
                model = None
            known[key] = self._price_of(snapshot, model, 0, at) if _has_fixed_price(model) else model
        found = known[key]
        return found if found is None or isinstance(found, Price) else self._price_of(snapshot, found, input_tokens, at)

    def _price_of(self, snapshot: Any, model: Any, input_tokens: int, at: datetime) -> Price:
        prices = model.get_prices(at)
        per_token = {side: _convert_to_token(getattr(prices, name), input_tokens) for side, name in _SIDES.items()}
        day = snapshot.timestamp.date() if snapshot.from_auto_update else _find_first_day(model.prices, prices)
        return Price(**per_token, source=self._source, day=day)


def _has_fixed_price(model: Any) -> bool:
    """Return whether neither the time nor the size of the prompt changes the price, as for nearly all models."""
    prices = None if model is None else model.prices
    return not (prices is None or isinstance(prices, list)) and all(
        isinstance(getattr(prices, name), (Decimal, type(None))) for name in _SIDES.values()
    )


def _convert_to_token(price: Any, input_tokens: int) -> Decimal | None:
    """Turn a price per million tokens, which may have tiers, into one per token."""
    if price is not None and not isinstance(price, Decimal):
        reached = [tier.price for tier in price.tiers if input_tokens > tier.start]
        price = reached[-1] if reached else price.base
    return None if price is None else price / _MILLION


def _find_first_day(all_prices: Any, prices: Any) -> date | None:
    """Return the first day of a price; most prices in the list have no date."""
    if not isinstance(all_prices, list):
        return None
    constraint = next(conditional.constraint for conditional in all_prices if conditional.prices is prices)
    found: date | None = getattr(constraint, "start_date", None)
    return found


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


class CustomPriceError(ValueError):
    """A price in an AI Config that cannot be used."""


def read_custom_price(get: Callable[[str], object]) -> Price | None:
    """Return the price that an AI Config gives, or ``None`` if it gives none.

    Args:
        get: Takes the name of a custom parameter and returns its value or ``None``.

    Raises:
        CustomPriceError: If a price is not a number of 0 or more. The text names the parameter.
    """
    found: dict[str, Decimal] = {}
    for side, name in CUSTOM_PARAMETERS.items():
        value = get(name)
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value) or value < 0:
            raise CustomPriceError(f"{name} must be USD per token, a number of 0 or more such as 0.00000015")
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
