"""The cost of a run: what its provider calls cost.

A cost that a gateway or a provider reports for a call comes first. Otherwise, the tokens of the call are multiplied by
their prices. The AI Config's own prices come before others: ``costPerInputToken``, ``costPerOutputToken`` and
``costPerCachedInputToken`` among the custom parameters of its model, in USD per token. LaunchDarkly uses these names
for the prices of a model config. They are the prices of the configured model, and not those of another model that the
application calls. Otherwise the price is that of the model that answered, in the package ``genai-prices`` if it is
installed (extra ``[costs]``). Nothing is downloaded.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from decimal import Decimal
from typing import Any

from ._diagnostics import Diagnostics
from ._prices import CustomPriceError, Price, PriceList, is_same_model, read_custom_price
from .records import Cost, Usage

__all__ = ["Costs", "PricedCall"]

#: The source of costs that a gateway or a provider reports.
REPORTED_SOURCE = "provider"


class Costs:
    """The prices of runs. Thread-safe; never raises; takes some microseconds per run.

    Create it at start, because it imports ``genai-prices`` if that is installed.

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
        calls: Sequence[PricedCall],
        *,
        config_key: str,
        model_name: str,
        provider_name: str,
        get_custom: Callable[[str], Any],
        started_at: float,
    ) -> Cost | None:
        """Return the cost of some calls, or ``None`` if nothing is known about it.

        Args:
            calls: The calls of a run.
            config_key: The key of the AI Config, for the log.
            model_name: The name of the configured model. It counts for a call whose own model is unknown.
            provider_name: The name of the configured provider. It may be empty.
            get_custom: Returns a custom parameter of the model, or ``None``.
            started_at: The start of the run, in seconds since the epoch.
        """
        try:
            custom = read_custom_price(get_custom)
            at = datetime.fromtimestamp(started_at, timezone.utc)
            prices = _RunPrices(self._list, custom, model_name, provider_name, at)
            return add_costs([prices.cost_of(call) for call in calls])
        except CustomPriceError as problem:
            self._diagnostics.note(
                "price", config_key, "The cost of %r is unknown: its model's %s.", config_key, problem
            )
        except Exception as exc:
            self._diagnostics.failed("cost", config_key, exc)
        return None


@dataclass(frozen=True, slots=True)
class PricedCall:
    """What decides about the cost of a provider call.

    Attributes:
        usage: Its tokens; ``None`` if they are unknown.
        model: The model that answered; empty if it is unknown.
        service_tier: The tier that served it, in the provider's words; empty if it is unknown.
        cost: What a gateway or the provider says that it costs, in USD.
        requested_model: The model that was called; empty if it is unknown.
        provider: The provider that answered, if it is certainly not the configured one.
        billed: The parts that the provider bills separately, if it does not bill the usage as that of one request. Each
            has its tokens and its model, which is ``None`` for the model of the call, and empty if it is unknown.
        has_fees: Whether something costs more than the tokens, such as the provider's own tools.
    """

    usage: Usage | None
    model: str = ""
    service_tier: str = ""
    cost: Decimal | None = None
    requested_model: str = ""
    provider: str = ""
    billed: tuple[tuple[Usage, str | None], ...] = ()
    has_fees: bool = False


@dataclass(frozen=True, slots=True)
class _RunPrices:
    """The prices of the calls of one run.

    Attributes:
        listed: The price list, if there is one.
        custom: The prices that the AI Config gives, if it gives some.
        model_name: The name of the configured model.
        provider_name: The name of the configured provider.
        at: The start of the run.
    """

    listed: PriceList | None
    custom: Price | None
    model_name: str
    provider_name: str
    at: datetime

    def cost_of(self, call: PricedCall) -> Cost | None:
        """Return the cost of a call, or ``None`` if nothing is known about it."""
        if call.cost is not None:
            return Cost(reported_cost=call.cost, price_source=REPORTED_SOURCE)
        if call.usage is None:
            return None
        costs = []
        for usage, model in call.billed or ((call.usage, None),):
            part = call
            if model is not None and not is_same_model(model, call.model):
                part = replace(call, model=model, requested_model="")
            costs.append(None if model == "" else self._cost_of_part(usage, part))
        cost, is_partial = add_costs(costs), call.has_fees or call.usage.lower_bound
        return replace(cost, lower_bound=True) if cost is not None and is_partial else cost

    def _cost_of_part(self, usage: Usage, call: PricedCall) -> Cost | None:
        """Return the cost of the tokens of a call, or of one of its parts."""
        if usage.other_tokens and usage.input_tokens is not None:  # billed as input, such as the pages that Gemini read
            usage = replace(usage, input_tokens=usage.input_tokens + usage.other_tokens)
        price = self._price_of(call, usage.input_tokens or 0)
        return compute_cost(usage, price) if price is not None else None

    def _price_of(self, call: PricedCall, input_tokens: int) -> Price | None:
        """Return the price of a call: that of the AI Config if its model was called, else that of the list."""
        requested = call.requested_model or call.model
        is_configured = not requested or is_same_model(requested, self.model_name)
        if is_configured and self.custom is not None:
            return self.custom
        if self.listed is None:
            return None
        asked = call.requested_model or (self.model_name if is_configured else call.model)
        names = [call.model, asked, self.model_name if is_configured else ""]
        if call.model in asked and is_same_model(call.model, asked):  # it also says in which region of Bedrock
            names = [asked, *names]
        provider, tier = call.provider or self.provider_name, call.service_tier
        found = (
            self.listed.price(name, provider, input_tokens=input_tokens, at=self.at, service_tier=tier)
            for name in names
            if name
        )
        return next((price for price in found if price is not None), None)


def compute_cost(usage: Usage, price: Price) -> Cost | None:
    """Return the cost of usage, or ``None`` if neither input nor output has one."""
    input_cost, is_input_partial = _cost_of_input(usage, price)
    is_embedding = usage.output_tokens is None and usage.total_tokens == usage.input_tokens
    output_cost, is_output_partial = _cost_of_tokens(
        0 if is_embedding else usage.output_tokens,
        price.output,
        (usage.output_audio_tokens or 0, price.output_audio),
        (usage.output_image_tokens or 0, price.output_image),
    )
    if input_cost is None and output_cost is None:
        return None
    return Cost(
        input_cost=input_cost,
        output_cost=output_cost,
        price_source=price.source,
        price_date=price.day,
        estimated=bool(usage.estimated & {"input_tokens", "output_tokens"}),
        lower_bound=usage.lower_bound or price.is_partial or is_input_partial or is_output_partial,
    )


def _cost_of_input(usage: Usage, price: Price) -> tuple[Decimal | None, bool]:
    """Return the cost of the input, and whether it is a lower bound.

    What was read from a cache has its own prices. Each other token is written to a cache, of audio, of an image, or
    none of these.
    """
    if usage.input_tokens is None:
        return None, True
    cached = min(usage.cached_input_tokens or 0, usage.input_tokens)
    cached_audio, cached_image = usage.cached_input_audio_tokens or 0, usage.cached_input_image_tokens or 0
    written, written_1h = usage.cache_write_input_tokens or 0, usage.cache_write_1h_input_tokens or 0
    cost_of_cached, is_cached_partial = _cost_of_tokens(
        cached,
        price.input if price.cached_input is None else price.cached_input,
        (cached_audio, price.cached_audio),
        (cached_image, price.cached_image),
    )
    cost_of_others, is_other_partial = _cost_of_tokens(
        usage.input_tokens - cached,
        price.input,
        (written_1h, price.cache_write_1h),
        (written - written_1h, price.cache_write),
        ((usage.input_audio_tokens or 0) - cached_audio, price.input_audio),
        ((usage.input_image_tokens or 0) - cached_image, price.input_image),
    )
    if cost_of_cached is None or cost_of_others is None:
        return None, usage.input_tokens != 0
    return cost_of_cached + cost_of_others, is_cached_partial or is_other_partial


def _cost_of_tokens(
    tokens: int | None, price: Decimal | None, *parts: tuple[int, Decimal | None]
) -> tuple[Decimal | None, bool]:
    """Return the cost of tokens, and whether it is a lower bound.

    Args:
        tokens: All tokens.
        price: The price of those that are in no part.
        parts: The numbers and the prices of tokens that may cost something else. A price that is not known is at least
            that of the others.
    """
    if tokens is None or price is None:
        return None, tokens != 0
    cost, rest, is_partial = Decimal(0), tokens, False
    for count, own_price in parts:
        count = max(0, min(count, rest))
        cost += count * (price if own_price is None else own_price)
        rest -= count
        is_partial = is_partial or (count > 0 and own_price is None)
    return cost + rest * price, is_partial


def add_costs(costs: Sequence[Cost | None]) -> Cost | None:
    """Return the sum of the costs of calls; an unknown one makes it a lower bound."""
    known = [cost for cost in costs if cost is not None]
    if not known:
        return None
    total = known[0]
    for cost in known[1:]:
        total = replace(
            cost,
            input_cost=_add(total.input_cost, cost.input_cost),
            output_cost=_add(total.output_cost, cost.output_cost),
            reported_cost=_add(total.reported_cost, cost.reported_cost),
            price_source=", ".join(dict.fromkeys([*total.price_source.split(", "), cost.price_source])),
            price_date=cost.price_date or total.price_date,
            estimated=total.estimated or cost.estimated,
            lower_bound=total.lower_bound or cost.lower_bound,
        )
    return replace(total, lower_bound=True) if len(known) < len(costs) else total


def _add(one: Decimal | None, other: Decimal | None) -> Decimal | None:
    return other if one is None else one if other is None else one + other
