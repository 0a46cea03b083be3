"""The prices of tokens, from which costs are computed: no event contains a cost.

LaunchDarkly multiplies the tokens by the prices of the model config that a variation uses. A flag file has no model
configs. Instead, ``model.custom`` may contain the same names: ``costPerInputToken`` and ``costPerOutputToken``, in USD.
A variation without them has the list price of its model, if the server was given a price list.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import TypeAlias

from .._prices import CUSTOM_PARAMETERS
from ._json import Json

#: Takes the names of a model and of its provider, and returns its prices in USD per token: ``input`` and ``output``.
ListPrices: TypeAlias = Callable[[str, str], Mapping[str, Decimal]]


@dataclass(frozen=True)
class TokenPrices:
    """The prices of a variation.

    Attributes:
        by_side: USD per token, for ``input`` and ``output``, as far as they are known.
        are_listed: Whether they come from the price list.
    """

    by_side: Mapping[str, Decimal]
    are_listed: bool = False


#: By variation key.
Prices: TypeAlias = Mapping[str, TokenPrices]


def read_prices(flag: Json | None, list_prices: ListPrices | None) -> Prices:
    """Return the prices of a flag's variations.

    Args:
        flag: The flag; ``None`` if there is none.
        list_prices: The price list; ``None`` if there is none.
    """
    found = {}
    for value in flag["variations"] if flag is not None else ():
        match value:
            case {"_ldMeta": {"variationKey": str(key)}, "model": dict(model)}:
                found[key] = _prices_of(model, value.get("provider"), list_prices)
    return {key: prices for key, prices in found.items() if prices.by_side}


def _prices_of(model: Json, provider: object, list_prices: ListPrices | None) -> TokenPrices:
    custom = model.get("custom")
    given = {side: _price_in(custom, CUSTOM_PARAMETERS[side]) for side in ("input", "output")}
    known = {side: price for side, price in given.items() if price is not None}
    name, provider_name = model.get("name"), provider.get("name") if isinstance(provider, dict) else ""
    if known or list_prices is None or not isinstance(name, str) or not isinstance(provider_name, str):
        return TokenPrices(known)
    return TokenPrices(list_prices(name, provider_name), are_listed=True)


def _price_in(custom: object, name: str) -> Decimal | None:
    value = custom.get(name) if isinstance(custom, dict) else None
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not math.isfinite(value) or value < 0:
        return None
    return Decimal(repr(value))
