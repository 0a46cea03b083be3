"""The counts of one usage object, and how they add up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from functools import lru_cache

from .._value import value_class
from ..records import Usage
from ._shapes import ANTHROPIC, GEMINI, OPENAI_CHAT, SHAPES, TOTAL_ONLY, Shape
from ._values import amount, fields_of, get, is_record, items, number, text

# Cache writes that Anthropic lists by lifetime, and what Mistral counts besides.
_WRITTEN = ("cache_creation.ephemeral_5m_input_tokens", "cache_creation.ephemeral_1h_input_tokens")
_AUDIO = "prompt_audio_seconds"
_MODALITIES = {
    "input": ("promptTokensDetails", "prompt_tokens_details"),
    "output": ("candidatesTokensDetails", "candidates_tokens_details"),
}
# xAI's smallest part of a dollar.
_TICKS = 10_000_000_000


def _by_field() -> dict[str, list[str]]:
    """Return the fields that may have a count, each with the fields in it that may."""
    inner: dict[str, list[str]] = {}
    known = [path for shape in (*SHAPES, TOTAL_ONLY) for paths in shape.paths.values() for path in paths]
    for path in dict.fromkeys((*known, *_WRITTEN, _AUDIO)):
        name, _, within = path.partition(".")
        inner.setdefault(name, []).extend([within] if within else [])
    return inner


_FIELDS = _by_field()


@value_class
class Counts:
    """The counts of one usage object as they were sent, and the shape that defines how they add up."""

    shape: Shape
    values: Mapping[str, int]

    def updated(self, later: Counts) -> Counts:
        """Return these counts overwritten by later ones of the same call; a field that is not repeated stays.

        Providers send running totals, or a first and a last part. They never send counts that must be summed. A last
        object that contains only zeros is ignored.
        """
        if not any(later.values.values()):
            return self
        if later.shape is not self.shape and "input" in later.values and "output" in later.values:
            return later
        if later.values.get("output") and later._hidden() == 0:
            return later  # complete by itself
        changed = {name: count for name, count in later.values.items() if count or name == "output"}
        return Counts(self.shape, {**later.values, **self.values, **changed})

    def plus(self, part: Counts) -> Counts:
        """Return these counts with another part added."""
        names = self.values.keys() | part.values.keys()
        return Counts(self.shape, {name: self.values.get(name, 0) + part.values.get(name, 0) for name in names})

    def without(self, *names: str) -> Counts:
        """Return these counts without some of them."""
        return Counts(self.shape, {name: count for name, count in self.values.items() if name not in names})

    def _hidden(self) -> int | None:
        """Return what the total contains besides all other counts; ``None`` if one of the three is unknown."""
        if not {"input", "output", "total"} <= self.values.keys():
            return None
        known = self.values.get
        reasoning = known("reasoning", 0) if self.shape.reasoning_apart else 0
        return known("total", 0) - known("input", 0) - known("output", 0) - reasoning - known("tool_prompt", 0)

    def usage(self) -> Usage:
        """Return the counts as a :class:`Usage`, which includes cached tokens in the input, reasoning in the output."""
        known = self.values.get
        input_tokens, output_tokens, total = known("input"), known("output"), known("total")
        other = known("tool_prompt", 0)
        reasoning = known("reasoning")
        # Frameworks that use Gemini's names for other providers include reasoning in the output, as the total shows.
        is_included = total == (input_tokens or 0) + (output_tokens or 0) + other
        if self.shape.reasoning_apart and reasoning is not None and not is_included:
            output_tokens = (output_tokens or 0) + reasoning
        if total is None and self.shape.other_is_nothing:
            total = (input_tokens or 0) + (output_tokens or 0)
        elif total is not None:
            # A count that was left out follows from the total. Embeddings have no output; Gemini omits a zero.
            rest = total - (input_tokens or 0) - (output_tokens or 0) - other
            if output_tokens is None and input_tokens is not None and (rest > 0 or self.shape is GEMINI):
                output_tokens = max(0, rest)
            elif input_tokens is None and output_tokens is not None and rest >= 0:
                input_tokens = rest
        return balanced(
            Usage(
                input_tokens,
                output_tokens,
                total,
                cached_input_tokens=known("cached"),
                cache_write_input_tokens=known("cache_write"),
                reasoning_tokens=reasoning,
                other_tokens=other or None,
                input_audio_tokens=known("input_audio") or None,
                input_image_tokens=known("input_image") or None,
                output_audio_tokens=known("output_audio") or None,
                output_image_tokens=known("output_image") or None,
            ),
            cache_apart=self.shape.cache_apart,
            has_audio="audio" in self.values,
        )


def balanced(usage: Usage, *, cache_apart: bool = False, has_audio: bool = False) -> Usage:
    """Return a usage whose counts add up to the total and are not smaller than their parts.

    Counts that are consistent are not changed. Otherwise the total shows what the provider counts separately: cached
    tokens, which belong to the input, or reasoning, which belongs to the output.

    Args:
        usage: The provider's own counts.
        cache_apart: The provider does not include cached tokens in the input, unless the total shows that it does.
        has_audio: What only the total contains is audio input.
    """
    input_tokens, output_tokens, total = usage.input_tokens, usage.output_tokens, usage.total_tokens
    cached, written = usage.cached_input_tokens or 0, usage.cache_write_input_tokens or 0
    cache, reasoning, other = cached + written, usage.reasoning_tokens or 0, usage.other_tokens or 0
    if input_tokens is None or output_tokens is None:
        if input_tokens is not None and (cache_apart or max(cached, written) > input_tokens):
            input_tokens += cache
        if output_tokens is not None and reasoning > output_tokens:
            output_tokens += reasoning
        total = None if total is None else max(total, (input_tokens or 0) + (output_tokens or 0))
        return replace(usage, input_tokens=input_tokens, output_tokens=output_tokens, total_tokens=total)
    is_consistent = total == input_tokens + output_tokens and max(cached, written) <= input_tokens
    if is_consistent and reasoning <= output_tokens and not other:
        return usage
    # What the total contains besides; unknown without a total.
    hidden = None if total is None else total - input_tokens - output_tokens
    if other and hidden == 0:
        other = 0  # the input already contains it
    hidden = None if hidden is None else hidden - other
    if hidden in (0, reasoning, cache, cache + reasoning):
        cache_apart = hidden not in (0, reasoning)
    if cache_apart or max(cached, written) > input_tokens:
        input_tokens += cache
        hidden = None if hidden is None else hidden - cache
    if hidden is None:
        output_tokens += reasoning if reasoning > output_tokens else 0
    elif has_audio:
        input_tokens += max(0, hidden)
    else:
        output_tokens += max(0, hidden)
    return replace(
        usage,
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        total_tokens=input_tokens + output_tokens + other,
        reasoning_tokens=None if usage.reasoning_tokens is None else min(reasoning, output_tokens),
        other_tokens=other or None,
    )


def counts_in(raw: object) -> Counts | None:
    """Return the counts of a usage object by the shape that names most of them, or ``None`` if it has none."""
    found = _counts_by_path(raw)
    if not found:
        return None
    shape = _shape_with(frozenset(found))
    values = _values(found, shape)
    if not values:
        return None
    if values.get("total") == 0 < values.get("input", 0) + values.get("output", 0):
        del values["total"]  # a default
    if shape is ANTHROPIC:
        _add_parts_of_anthropic(raw, found, values)
    elif shape is GEMINI:
        _add_modalities(raw, values)
    elif shape is OPENAI_CHAT and found.get(_AUDIO):
        values["audio"] = 1
    return Counts(shape, values)


@lru_cache(512)
def _shape_with(paths: frozenset[str]) -> Shape:
    """Return the shape that names most of the places in which a usage object has counts."""
    candidates = [shape for shape in SHAPES if not shape.signs.isdisjoint(paths)]
    return max(
        candidates,
        key=lambda shape: sum(not paths.isdisjoint(places) for places in shape.paths.values()),
        default=TOTAL_ONLY,
    )


def _counts_by_path(usage: object) -> dict[str, int]:
    """Return the counts that are in a usage object, in any known place."""
    fields, found = fields_of(usage), {}
    for name in fields if type(fields) is dict and len(fields) < len(_FIELDS) else _FIELDS:
        value = fields.get(name) if name in _FIELDS else None
        if value is None:
            continue
        count = number(value)
        if count is not None:
            found[name] = count
            continue
        inner = fields_of(value)
        for within in _FIELDS[name]:
            count = number(inner.get(within))
            if count is not None:
                found[f"{name}.{within}"] = count
    return found


def _values(found: Mapping[str, int], shape: Shape) -> dict[str, int]:
    values = {}
    for name, paths in shape.paths.items():
        for path in paths:
            if path in found:
                values[name] = found[path]
                break
    return values


def _add_modalities(raw: object, values: dict[str, int]) -> None:
    """Add Gemini's tokens of audio and images, which it lists by modality."""
    for side, names in _MODALITIES.items():
        for one in items(get(raw, *names)):
            modality, count = get(one, "modality"), number(get(one, "tokenCount", "token_count"))
            kind = (text(modality) or text(get(modality, "value"))).lower()
            if kind in ("audio", "image") and count:
                values[f"{side}_{kind}"] = values.get(f"{side}_{kind}", 0) + count


def cost_in(raw: object) -> Decimal | None:
    """Return the cost in USD that a gateway or a provider adds to a usage object, or ``None`` if it adds none."""
    usage = fields_of(raw)
    cost, details = usage.get("cost"), usage.get("cost_details")
    if is_record(cost) or get(cost, "total_cost") is not None:  # Perplexity
        return amount(get(cost, "total_cost"))
    found = amount(cost if cost is not None else usage.get("estimated_cost"))  # OpenRouter, LiteLLM; DeepInfra
    if found is None:
        return amount(usage.get("cost_in_usd_ticks"), parts=_TICKS)  # xAI
    if usage.get("is_byok") is not True:
        return found
    upstream = amount(get(details, "upstream_inference_cost"))  # what the application's own provider charges
    return found + upstream if upstream is not None else None


def cost_beside(response: object) -> Decimal | None:
    """Return the cost in USD that Vercel's AI Gateway adds to a response, or ``None`` if there is none.

    It is zero if the application has a provider key of its own. The provider charges for the call, and the cost is
    unknown.
    """
    gateway = get(get(response, "provider_metadata", "providerMetadata"), "gateway")
    cost = amount(get(gateway, "cost"))
    return None if cost == 0 and amount(get(gateway, "marketCost")) else cost


def _add_parts_of_anthropic(raw: object, found: Mapping[str, int], values: dict[str, int]) -> None:
    """Add cache writes that are listed by lifetime, and passes of a compaction that the top level does not include."""
    written = sum(found.get(path, 0) for path in _WRITTEN)
    if written:
        values.setdefault("cache_write", written)
    passes = [_values(_counts_by_path(one), ANTHROPIC) for one in items(get(raw, "iterations"))]
    for field in ("input", "output", "cached", "cache_write"):
        together = sum(one.get(field, 0) for one in passes)
        if together > values.get(field, 0):
            values[field] = together
