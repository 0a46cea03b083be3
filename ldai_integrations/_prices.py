"""The prices of models: those that an AI Config gives, and those in the package ``genai-prices``."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from importlib.metadata import version
from typing import Any

#: The custom parameters with prices. LaunchDarkly's REST API uses the same names and unit (object "ModelConfig").
CUSTOM_PARAMETERS = {
    "input": "costPerInputToken",
    "output": "costPerOutputToken",
    "cached_input": "costPerCachedInputToken",
}
CUSTOM_SOURCE = "ai-config"
# No model costs more, in USD per token: this is 1000 USD per million.
_HIGHEST_PRICE = 0.001
_MILLION = 1_000_000
# The names of a Price, and those of the package's ModelPrice.
_SIDES = {
    "input": "input_mtok",
    "output": "output_mtok",
    "cached_input": "cache_read_mtok",
    "cached_audio": "cache_audio_read_mtok",
    "cached_image": "cache_image_read_mtok",
    "cache_write": "cache_write_mtok",
    "cache_write_1h": "cache_write_1h_mtok",
    "input_audio": "input_audio_mtok",
    "input_image": "input_image_mtok",
    "output_audio": "output_audio_mtok",
    "output_image": "output_image_mtok",
}
# Prices of the package for what is not counted here. They may be part of each call, or of some of its tokens.
_NOT_COUNTED = ("requests_kcount", "input_video_mtok", "output_video_mtok")
# The service tiers for which the prices of a list are made. Providers have different words for them.
_STANDARD_TIERS = frozenset(("", "auto", "default", "standard", "on_demand"))
# The path, the region and the vendor that gateways and Bedrock write before the name of a model.
_PREFIX = re.compile(r"^(?:.*/)?(?:[a-z-]+\.)*")
# A date or a version after the name of a model: -2024-08-06, -08-2024, -20240620, @20240620, -0613, -v1:0.
_VERSION = re.compile(r"(?:-\d{4}-\d\d-\d\d|-\d\d-\d{4}|[-@]\d{3,8}|-v\d+(?::\d+)?)+")
# Names come from AI Configs. The limit protects memory if there are unexpectedly many.
_MAX_REMEMBERED = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """The prices of a model in USD per token; ``None`` is unknown.

    A token whose own price is unknown counts as one of the other tokens of the input or the output, and makes the cost
    a lower bound. One that was read from a cache does not, because it never costs more than they do.

    Attributes:
        input: One input token.
        output: One output token.
        cached_input: One input token that was read from a cache.
        cached_audio, cached_image: One input token of audio or of an image that was read from a cache.
        cache_write, cache_write_1h: One input token that was written to a cache, for a short time or for an hour.
        input_audio, input_image: One input token of audio or of an image.
        output_audio, output_image: One output token of audio or of an image.
        source: Where the prices come from.
        day: The first day on which they are valid, if it is known.
        is_partial: Whether the model has further prices, such as one for each request.
    """

    input: Decimal | None = None
    output: Decimal | None = None
    cached_input: Decimal | None = None
    cached_audio: Decimal | None = None
    cached_image: Decimal | None = None
    cache_write: Decimal | None = None
    cache_write_1h: Decimal | None = None
    input_audio: Decimal | None = None
    input_image: Decimal | None = None
    output_audio: Decimal | None = None
    output_image: Decimal | None = None
    source: str
    day: date | None = None
    is_partial: bool = False


class CustomPriceError(ValueError):
    """A price in an AI Config that cannot be used."""


def read_custom_price(get: Callable[[str], object]) -> Price | None:
    """Return the price that an AI Config gives, or ``None`` if it gives none.

    Args:
        get: Takes the name of a custom parameter and returns its value or ``None``.

    Raises:
        CustomPriceError: If a price is not a number of 0 or more. The text names the parameter.
    """
    found: dict[str, Any] = {}
    for side, name in CUSTOM_PARAMETERS.items():
        value = get(name)
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value) or value < 0:
            raise CustomPriceError(f"{name} must be USD per token, a number of 0 or more such as 0.00000015")
        found[side] = Decimal(repr(value))
    return Price(**found, source=CUSTOM_SOURCE) if found else None


def prices_per_million(custom: object) -> Iterator[tuple[str, float]]:
    """Yield name and value of each price in custom parameters that is probably that of a million tokens."""
    for name in CUSTOM_PARAMETERS.values():
        price = custom.get(name) if isinstance(custom, dict) else None
        if isinstance(price, (int, float)) and not isinstance(price, bool) and price > _HIGHEST_PRICE:
            yield name, price


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

    def price(
        self, model_name: str, provider_name: str, *, input_tokens: int, at: datetime, service_tier: str = ""
    ) -> Price | None:
        """Return the price of a model, or ``None`` if the list has none.

        Args:
            model_name: The provider's name of the model.
            provider_name: The name of the provider in any usual form. If it is empty, the name of the model decides.
                A provider that is not in the list has no known prices.
            input_tokens: The size of the prompt. Some models cost more above a threshold.
            at: The time of the call. Some prices depend on the date or the time of day.
            service_tier: The tier that served the call. A tier that is not in the list has no known prices.
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
            known[key] = self._price_of(snapshot, model, 0, at, {}) if _has_fixed_price(model) else model
        found = known[key]
        if found is None or isinstance(found, Price):
            return found if service_tier in _STANDARD_TIERS else None
        # The list has a tier under one of these names.
        contexts = [{name: service_tier} for name in ("service_tier", "speed", "processing") if service_tier]
        variants = [dict(variant.when) for variant in found.price_variants or ()]
        context = next((one for one in contexts if one in variants), None)
        if context is None and service_tier not in _STANDARD_TIERS:
            return None
        return self._price_of(snapshot, found, input_tokens, at, context or {})

    def _price_of(self, snapshot: Any, model: Any, input_tokens: int, at: datetime, context: dict[str, str]) -> Price:
        prices = model.get_prices(at, context)
        per_token = {side: _convert_to_token(getattr(prices, name), input_tokens) for side, name in _SIDES.items()}
        day = snapshot.timestamp.date() if snapshot.from_auto_update else _find_first_day(model.prices, prices)
        is_partial = any(getattr(prices, name, None) is not None for name in _NOT_COUNTED)
        return Price(**per_token, source=self._source, day=day, is_partial=is_partial)


def _has_fixed_price(model: Any) -> bool:
    """Return whether neither the time, the tier nor the size of the prompt changes the price, as for most models."""
    prices = None if model is None or model.price_variants else model.prices
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
    found_in = (conditional.constraint for conditional in all_prices if conditional.prices is prices)
    constraint = next(found_in, None)  # none for the prices of a tier
    found: date | None = getattr(constraint, "start_date", None)
    return found


def is_same_model(name: str, configured: str) -> bool:
    """Return whether a request or a response names the configured model.

    Providers add a date or a version to the name, and gateways write a path before it: the model ``gpt-4o`` answers as
    ``gpt-4o-2024-08-06``, and may be called as ``openai/gpt-4o``. ``gpt-4o-mini`` is another model.
    """
    shorter, longer = sorted((_without_prefix(name), _without_prefix(configured)), key=len)
    rest = longer.removeprefix(shorter)
    return longer.startswith(shorter) and (not rest or _VERSION.fullmatch(rest) is not None)


def _without_prefix(name: str) -> str:
    return _PREFIX.sub("", name.lower()).removesuffix(":latest").removesuffix("-latest")
