"""The counts of one usage object, and what it says about costs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from functools import lru_cache
from typing import Any

from .._value import value_class
from ..records import Usage
from ._fields import dig, fields_of, get, is_list, is_number, is_record, items, number, parse_amount, text
from ._shapes import (
    ANTHROPIC,
    CONVERSE,
    GEMINI,
    GEMINI_INTERACTIONS,
    OLLAMA,
    OPENAI_CHAT,
    OPENAI_RESPONSES,
    SHAPES,
    TOTAL_ONLY,
    Shape,
    places_in,
    shape_with,
)
from ._sums import add_up

# Cache writes that Anthropic and LangChain list by lifetime, and what Mistral counts besides.
_WRITTEN_1H, _WRITTEN_5M = (
    tuple(f"{place}.ephemeral_{lifetime}_input_tokens" for place in ("cache_creation", "input_token_details"))
    for lifetime in ("1h", "5m")
)
_WRITTEN = (*_WRITTEN_1H, *_WRITTEN_5M)
_AUDIO = "prompt_audio_seconds"
# Where Google's APIs list the parts of a count.
_INPUT_PARTS = ("promptTokensDetails", "prompt_tokens_details", "input_tokens_by_modality")
_CACHED_PARTS = ("cacheTokensDetails", "cache_tokens_details", "cached_tokens_by_modality")
_OUTPUT_PARTS = (
    *("candidatesTokensDetails", "candidates_tokens_details", "output_tokens_by_modality"),
    *("responseTokensDetails", "response_tokens_details"),
)
# What has a price of its own besides the tokens: of Anthropic, Perplexity, xAI, Mistral, Gemini's interactions, Cohere.
_FEES = {
    "server_tool_use": "web_search_requests",
    "num_search_queries": "",
    "num_sources_used": "",
    "connectors": "",
    "grounding_tool_count": "",
    "billed_units": "search_units",
}
# Counts that Anthropic also has for each pass.
_COUNTS_OF_PASSES = (
    *("input_tokens", "output_tokens", "cached_input_tokens"),
    *("cache_write_input_tokens", "cache_write_1h_input_tokens"),
)
# Parts of a usage that may be zero. A zero of another part, such as audio, is left out.
_KEPT_ZEROS = ("cached_input_tokens", "cache_write_input_tokens", "reasoning_tokens")
# xAI's smallest part of a dollar.
_TICKS = 10_000_000_000
# Where the package LiteLLM keeps the cost that it was sent.
_SENT_COST = "upstream_usage_cost"


@lru_cache
def _fields_with_counts(shapes: tuple[Shape, ...], more: tuple[str, ...] = ()) -> Mapping[str, tuple[str, ...]]:
    """Return the fields of usage objects that may have a count, each with the fields in it that may."""
    places = {*more, *(place for shape in shapes for paths in shape.paths.values() for place in paths)}
    return {
        field: tuple(place.partition(".")[2] for place in places if place.startswith(f"{field}."))
        for field in (place.partition(".")[0] for place in places)
    }


_FIELDS = _fields_with_counts((*SHAPES, TOTAL_ONLY), (*_WRITTEN, _AUDIO))


@value_class
class Counts:
    """The counts of one usage object as they were sent.

    Attributes:
        shape: Defines how they add up.
        values: By the names of the counts of a :class:`~ldai_integrations.Usage`.
        has_wrong: Whether another number was sent that is not a count of tokens, such as -1.
        has_audio: Whether the input has audio that only the total contains, as Mistral's has.
        passes: The passes of the call, if the provider lists them, as Anthropic does.
    """

    shape: Shape
    values: Mapping[str, int]
    has_wrong: bool = False
    has_audio: bool = False
    passes: tuple[Pass, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.values)

    @property
    def has_tokens(self) -> bool:
        """Whether any count is more than zero."""
        return any(self.values.values())

    def updated(self, later: Counts) -> Counts:
        """Return these counts overwritten by later ones of the same call; a field that is not repeated stays.

        Providers send running totals, or a first and a last part. They never send counts that must be summed. A last
        object that contains only zeros is ignored, unless it has nothing but the output, as that of a refusal.
        """
        if not later.has_tokens and later.values.keys() != {"output_tokens"}:
            return self
        if later.shape is not self.shape and "input_tokens" in later.values and "output_tokens" in later.values:
            return later
        if later.values.get("output_tokens") and later._unexplained() == 0:
            return later  # complete by itself
        changed = {name: count for name, count in later.values.items() if count or name == "output_tokens"}
        values = {**later.values, **self.values, **changed}
        has_audio, passes = self.has_audio or later.has_audio, later.passes or self.passes
        return replace(self, values=values, has_audio=has_audio, passes=passes)

    def plus(self, part: Counts) -> Counts:
        """Return these counts with another part added."""
        names = self.values.keys() | part.values.keys()
        return replace(self, values={name: self.values.get(name, 0) + part.values.get(name, 0) for name in names})

    def without(self, *names: str) -> Counts:
        """Return these counts without some of them."""
        return replace(self, values={name: count for name, count in self.values.items() if name not in names})

    def _unexplained(self) -> int | None:
        """Return what the total contains besides all other counts; ``None`` if one of the three is unknown."""
        if not {"input_tokens", "output_tokens", "total_tokens"} <= self.values.keys():
            return None
        known = self.values.get
        explained = known("input_tokens", 0) + known("output_tokens", 0) + known("other_tokens", 0)
        explained += known("reasoning_tokens", 0) if self.shape.reasoning_apart else 0
        return known("total_tokens", 0) - explained

    def usage(self) -> Usage:
        """Return the counts as a :class:`Usage`, which includes cached tokens in the input, reasoning in the output."""
        known = self.values.get
        input_tokens, output_tokens, total = known("input_tokens"), known("output_tokens"), known("total_tokens")
        other, reasoning = known("other_tokens", 0), known("reasoning_tokens")
        # Frameworks that use Gemini's names for other providers include reasoning in the output, as the total shows.
        is_included = total == (input_tokens or 0) + (output_tokens or 0) + other
        if self.shape.reasoning_apart and reasoning is not None and not is_included:
            output_tokens = (output_tokens or 0) + reasoning
        if total is None and self.shape.missing_is_zero:
            total = (input_tokens or 0) + (output_tokens or 0)
        elif total is not None:
            # A count that was left out follows from the total. Embeddings have no output; Gemini omits a zero.
            rest = total - (input_tokens or 0) - (output_tokens or 0) - other
            if output_tokens is None and input_tokens is not None and (rest > 0 or self.shape is GEMINI):
                output_tokens = max(0, rest)
            elif input_tokens is None and output_tokens is not None and rest >= 0:
                input_tokens = rest
        counts: dict[str, Any] = {name: count for name, count in self.values.items() if count or name in _KEPT_ZEROS}
        counts |= {"input_tokens": input_tokens, "output_tokens": output_tokens, "total_tokens": total}
        return add_up(Usage(**counts), cache_apart=self.shape.cache_apart, has_audio=self.has_audio)


@value_class
class Pass:
    """One of the requests to models that a call consists of.

    Attributes:
        counts: Its tokens.
        model: The model that made it; empty if it is not named.
        kind: The provider's word for what it is, such as ``"compaction"``.
    """

    counts: Counts
    model: str
    kind: str


def read_counts(raw: object, shape: Shape | None = None) -> Counts | None:
    """Return the counts of a usage object; ``None`` for another object.

    Args:
        raw: The object.
        shape: Its shape; ``None`` for the one of ``SHAPES`` that names most of its counts.
    """
    found, has_wrong = _counts_by_place(raw, _FIELDS if shape is None else _fields_with_counts((shape,)))
    shape = shape_with(frozenset(found)) if shape is None else shape
    values = _values(found, shape)
    if not values:
        return Counts(shape, values, has_wrong) if has_wrong else None
    if values.get("total_tokens") == 0 < values.get("input_tokens", 0) + values.get("output_tokens", 0):
        del values["total_tokens"]  # a default
    if shape is OLLAMA and values.get("input_tokens") == 0 < values.get("output_tokens", 0):
        del values["input_tokens"]  # Ollama does not count a prompt that is in its cache
    passes = tuple(map(_read_pass, items(get(raw, "iterations")))) if shape is ANTHROPIC else ()
    _add_details(values, raw, shape, passes)
    has_audio = shape is OPENAI_CHAT and found.get(_AUDIO, 0) > 0
    return Counts(shape, values, has_wrong, has_audio, passes)


def _read_pass(raw: object) -> Pass:
    """Return a pass that Anthropic lists, such as that of a compaction or an advisor."""
    counts = Counts(ANTHROPIC, _values(_counts_by_place(raw, _FIELDS)[0], ANTHROPIC))
    return Pass(counts, text(get(raw, "model")), text(get(raw, "type")))


def _add_details(values: dict[str, int], raw: object, shape: Shape, passes: tuple[Pass, ...]) -> None:
    """Add counts that a usage object of this shape has in lists, or deeper inside."""
    if shape is ANTHROPIC:
        # The top level does not include the passes of a compaction.
        for name in _COUNTS_OF_PASSES:
            together = sum(one.counts.values.get(name, 0) for one in passes)
            if together > values.get(name, 0):
                values[name] = together
    elif shape is OPENAI_CHAT and values.get("cache_write_input_tokens"):  # LiteLLM
        kept = dig(raw, "prompt_tokens_details.cache_creation_token_details.ephemeral_1h_input_tokens")
        values["cache_write_1h_input_tokens"] = max(values.get("cache_write_1h_input_tokens", 0), number(kept) or 0)
    elif shape is CONVERSE:
        written = [one for one in items(get(raw, "cacheDetails")) if text(get(one, "ttl")) == "1h"]
        if written:
            values["cache_write_1h_input_tokens"] = sum(number(get(one, "inputTokens")) or 0 for one in written)
    elif shape is OPENAI_RESPONSES:
        cached = get(get(raw, "input_token_details", "input_tokens_details"), "cached_tokens_details")
        for kind in ("audio", "image") if cached is not None else ():
            values[f"cached_input_{kind}_tokens"] = number(get(cached, f"{kind}_tokens")) or 0
    elif shape in (GEMINI, GEMINI_INTERACTIONS):
        _add_modalities(values, "input", get(raw, *_INPUT_PARTS))
        _add_modalities(values, "cached_input", get(raw, *_CACHED_PARTS))
        _add_modalities(values, "output", get(raw, *_OUTPUT_PARTS))


def _counts_by_place(usage: object, places: Mapping[str, tuple[str, ...]]) -> tuple[dict[str, int], bool]:
    """Return the counts that are in a usage object, and whether it has a number in such a place that is not a count."""
    fields, found, has_wrong = fields_of(usage), {}, False
    for name in fields if type(fields) is dict and len(fields) < len(places) else places:
        value = fields.get(name) if name in places else None
        if value is None:
            continue
        count = number(value)
        if count is not None:
            found[name] = count
        elif is_number(value):
            has_wrong |= name != _AUDIO
        else:
            inner = fields_of(value)
            for within in places[name]:
                value = inner.get(within)
                count = number(value)
                if count is not None:
                    found[f"{name}.{within}"] = count
                elif value is not None:
                    has_wrong |= is_number(value)
    return found, has_wrong


def _values(found: Mapping[str, int], shape: Shape) -> dict[str, int]:
    """Return the counts of a shape."""
    values = {name: found[place] for name, place in places_in(frozenset(found), shape).items()}
    if values and not found.keys().isdisjoint(_WRITTEN):
        written = sum(found.get(place, 0) for place in _WRITTEN)
        values["cache_write_input_tokens"] = max(written, values.get("cache_write_input_tokens", 0))
        values["cache_write_1h_input_tokens"] = sum(found.get(place, 0) for place in _WRITTEN_1H)
    return values


def _add_modalities(values: dict[str, int], side: str, details: object) -> None:
    """Add Gemini's tokens of audio and images, which it lists by modality."""
    for one in items(details):
        modality, count = get(one, "modality"), number(get(one, "tokenCount", "token_count", "tokens"))
        kind = (text(modality) or text(get(modality, "value"))).lower()
        if kind in ("audio", "image") and count:
            name = f"{side}_{kind}_tokens"
            values[name] = values.get(name, 0) + count


def read_cost(raw: object, response: object = None) -> Decimal | None:
    """Return the cost in USD that a gateway or a provider adds to a usage object, or ``None`` if it adds none.

    The package LiteLLM writes its own list price there for streams, and keeps what was sent beside it.
    """
    kept = get(response, "hidden_params")
    if is_record(kept) and _SENT_COST in kept:
        return parse_amount(kept[_SENT_COST])
    usage = fields_of(raw)
    cost = usage.get("cost")
    if is_record(cost) or get(cost, "total_cost") is not None:  # Perplexity
        return parse_amount(get(cost, "total_cost"))
    found = parse_amount(cost if cost is not None else usage.get("estimated_cost"))  # OpenRouter, LiteLLM; DeepInfra
    if found is None:
        return parse_amount(usage.get("cost_in_usd_ticks"), parts=_TICKS)  # xAI
    if usage.get("is_byok") is not True:
        return found
    # OpenRouter, with the application's own provider key: what the provider charges comes on top.
    upstream = parse_amount(get(usage.get("cost_details"), "upstream_inference_cost"))
    return found + upstream if upstream is not None else None


def has_fees(raw: object) -> bool:
    """Return whether a usage object names what costs more than its tokens: a search, or inference in the US."""
    usage = fields_of(raw)
    if usage.get("inference_geo") == "us":  # Anthropic charges 1.1 times the prices
        return True
    for name, inner in _FEES.items():
        found = usage.get(name)
        if found is None:
            continue
        found = get(found, inner) if inner else found
        if is_record(found) or is_list(found):
            found = len(found)
        if number(found):
            return True
    return False


def read_billed(raw: object) -> Usage | None:
    """Return the tokens that Cohere bills. They do not include a preamble that it adds to the prompt."""
    billed = fields_of(get(raw, "billed_units"))
    input_tokens, output_tokens = number(billed.get("input_tokens")), number(billed.get("output_tokens"))
    return None if input_tokens is None and output_tokens is None else Usage(input_tokens, output_tokens)


def read_gateway_cost(response: object) -> Decimal | None:
    """Return the cost in USD that Vercel's AI Gateway adds to a response, or ``None`` if there is none.

    It is zero if the application has a provider key of its own. The provider charges for the call, and the cost is
    unknown.
    """
    gateway = get(get(response, "provider_metadata", "providerMetadata"), "gateway")
    cost = parse_amount(get(gateway, "cost"))
    return None if cost == 0 and parse_amount(get(gateway, "marketCost")) else cost
