"""The cost of a run, where its price is known."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timezone
from typing import Any

from .._diagnostics import Diagnostics
from ..records import Cost, Usage
from ._custom import custom_price
from ._list import PriceList
from ._price import cost_of

CUSTOM_SOURCE = "ai-config"


class Costs:
    """Price the usage of runs; thread-safe, never raises, some microseconds a run.

    Made at start, as it imports ``genai-prices`` where that is installed.
    """

    def __init__(self, diagnostics: Diagnostics) -> None:
        self._diagnostics = diagnostics
        self._list: PriceList | None = None
        try:
            self._list = PriceList()
        except ImportError:
            pass  # the extra [costs] is not wanted; AI Configs may still give prices
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
        """Return what usage cost; ``None`` where that is unknown.

        Args:
            usage: Tokens, if any are known.
            config_key: Key of the AI Config, for a word about prices that cannot be read.
            model_name: Name of the configured model.
            provider_name: Name of the configured provider; may be empty.
            get_custom: Returns a custom parameter of the model, or ``None``.
            started_at: Seconds since the epoch.
        """
        if usage is None or not model_name:
            return None
        with self._diagnostics.guard("cost", config_key):
            try:
                price = custom_price(get_custom, CUSTOM_SOURCE)
            except ValueError as problem:
                self._diagnostics.note(
                    "price", config_key, "The cost of %r is unknown: its model's %s.", config_key, problem
                )
                return None
            if price is None and self._list is not None:
                at = datetime.fromtimestamp(started_at, timezone.utc)
                price = self._list.price(model_name, provider_name, input_tokens=usage.input_tokens or 0, at=at)
            return None if price is None else cost_of(usage, price)
        return None
