"""The door to ``genai-prices``, a list of what providers charge."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from importlib.metadata import version
from typing import Any

from ._price import Price

_MILLION = 1_000_000
# Of a Price, and of the package's ModelPrice.
_NAMES = {
    "input": "input_mtok",
    "output": "output_mtok",
    "cached_input": "cache_read_mtok",
    "cache_write": "cache_write_mtok",
}
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
        #: The list, and from it by model and provider: the price where there is but one, else the package's model.
        self._known: tuple[Any, dict[tuple[str, str], Any]] = (data_snapshot.get_snapshot(), {})

    def price(self, model_name: str, provider_name: str, *, input_tokens: int, at: datetime) -> Price | None:
        """Return the price of a model, or ``None`` if the list has none.

        Args:
            model_name: Name of the model, as the provider knows it.
            provider_name: Name of the provider in any usual form; where it is empty, the model's name decides.
                A provider that is not in the list has prices that are not known.
            input_tokens: Size of the prompt; some models cost more above a threshold.
            at: When the model was called; some prices change with the date or the time of day.
        """
        snapshot, known = self._current()
        key = (model_name, provider_name)
        if key not in known:
            model = _find(snapshot, model_name, provider_name)
            known[key] = self._price(snapshot, model, 0, at) if _has_one_price(model) else model
        found = known[key]
        return found if found is None or isinstance(found, Price) else self._price(snapshot, found, input_tokens, at)

    def _current(self) -> tuple[Any, dict[tuple[str, str], Any]]:
        """Return the package's list and what is known from it: anew when it has been updated, or too much is known."""
        snapshot = self._snapshots.get_snapshot()
        of, known = self._known
        if snapshot is not of or len(known) >= _MAX_REMEMBERED:
            known = {}
            self._known = (snapshot, known)
        return snapshot, known

    def _price(self, snapshot: Any, model: Any, input_tokens: int, at: datetime) -> Price:
        prices = model.get_prices(at)

        def per_token(name: str) -> Decimal | None:
            return _per_token(getattr(prices, name), input_tokens)

        return Price(
            **{side: per_token(name) for side, name in _NAMES.items()},
            source=self._source,
            day=snapshot.timestamp.date() if snapshot.from_auto_update else _valid_from(model.prices, prices),
        )


def _find(snapshot: Any, model_name: str, provider_name: str) -> Any:
    try:
        return snapshot.find_provider_model(model_name, None, provider_name or None, None)[1]
    except LookupError:
        return None


def _has_one_price(model: Any) -> bool:
    """Tell whether neither the time nor the size of the prompt changes the price, as with nearly all models."""
    prices = None if model is None else model.prices
    return not (prices is None or isinstance(prices, list)) and all(
        isinstance(getattr(prices, name), (Decimal, type(None))) for name in _NAMES.values()
    )


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
