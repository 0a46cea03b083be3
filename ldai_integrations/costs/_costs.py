"""The cost of a run whose price is known, from the AI Config or from ``genai-prices``."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime, timezone
from decimal import Decimal
from importlib.metadata import version
from typing import Any

from .._diagnostics import Diagnostics
from ..records import Cost, Usage
from ._price import Price, compute_cost, read_custom_price

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
        with self._diagnostics.guard("cost", config_key):
            try:
                price = read_custom_price(get_custom)
            except ValueError as problem:
                self._diagnostics.note(
                    "price", config_key, "The cost of %r is unknown: its model's %s.", config_key, problem
                )
                return None
            if price is None and self._list is not None:
                at = datetime.fromtimestamp(started_at, timezone.utc)
                price = self._list.price(model_name, provider_name, input_tokens=usage.input_tokens or 0, at=at)
            return None if price is None else compute_cost(usage, price)
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
