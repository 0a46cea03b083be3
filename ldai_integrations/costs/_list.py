"""The door to ``genai-prices``, a list of what providers charge."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from importlib.metadata import version
from typing import Any

from ._price import Price

_MILLION = 1_000_000
# Names come from AI Configs; a guard against surprises, not a working limit.
_MAX_REMEMBERED = 1_000


class PriceList:
    """Look prices up in the list that comes with the package; thread-safe, no network.

    An application that runs the package's own ``UpdatePrices`` gets the updated list.

    Raises:
        ImportError: If the package is not installed. Importing it takes some tenths of a second.
    """

    def __init__(self) -> None:
        from genai_prices import data_snapshot

        self._snapshots = data_snapshot
        self._source = f"genai-prices {version('genai-prices')}"
        self._snapshot: Any = data_snapshot.get_snapshot()
        self._models: dict[tuple[str, str], Any] = {}

    def price(self, model_name: str, provider_name: str, *, input_tokens: int, at: datetime) -> Price | None:
        """Return the price of a model, or ``None`` if the list has none.

        Args:
            model_name: Name of the model, as the provider knows it.
            provider_name: Name of the provider in any usual form; where it is empty, the model's name decides.
                A provider that is not in the list has prices that are not known.
            input_tokens: Size of the prompt; some models cost more above a threshold.
            at: When the model was called; some prices change with the date or the time of day.
        """
        snapshot = self._snapshots.get_snapshot()
        if snapshot is not self._snapshot or len(self._models) >= _MAX_REMEMBERED:
            self._snapshot, self._models = snapshot, {}
        key = (model_name, provider_name)
        if key not in self._models:
            self._models[key] = _find(snapshot, model_name, provider_name)
        model = self._models[key]
        if model is None:
            return None
        prices = model.get_prices(at)

        def per_token(name: str) -> Decimal | None:
            return _per_token(getattr(prices, name), input_tokens)

        return Price(
            input=per_token("input_mtok"),
            output=per_token("output_mtok"),
            cached_input=per_token("cache_read_mtok"),
            cache_write=per_token("cache_write_mtok"),
            source=self._source,
            day=snapshot.timestamp.date() if snapshot.from_auto_update else _valid_from(model.prices, prices),
        )


def _find(snapshot: Any, model_name: str, provider_name: str) -> Any:
    try:
        return snapshot.find_provider_model(model_name, None, provider_name or None, None)[1]
    except LookupError:
        return None


def _per_token(price: Any, input_tokens: int) -> Decimal | None:
    """Turn a price per million tokens, perhaps with tiers, into one per token."""
    if price is not None and not isinstance(price, Decimal):
        reached = [tier.price for tier in price.tiers if input_tokens > tier.start]
        price = reached[-1] if reached else price.base
    return None if price is None else price / _MILLION


def _valid_from(all_prices: Any, prices: Any) -> date | None:
    """Tell from which day a price holds; most have no date in the list, and the package's version stands for it."""
    if not isinstance(all_prices, list):
        return None
    constraint = next(conditional.constraint for conditional in all_prices if conditional.prices is prices)
    found: date | None = getattr(constraint, "start_date", None)
    return found
