"""The rule by which the counts of a usage add up."""

from __future__ import annotations

from dataclasses import replace
from operator import attrgetter
from typing import Any

from ..records import COUNTS, Usage
from ._fields import is_a, number

# Counts of a usage, each before its parts, which do not overlap.
_PARTS = (
    ("input_tokens", "input_audio_tokens", "input_image_tokens"),
    ("output_tokens", "output_audio_tokens", "output_image_tokens"),
    ("cached_input_tokens", "cached_input_audio_tokens", "cached_input_image_tokens"),
    ("cache_write_input_tokens", "cache_write_1h_input_tokens"),
    ("input_audio_tokens", "cached_input_audio_tokens"),
    ("input_image_tokens", "cached_input_image_tokens"),
)
_all_parts = attrgetter(*(part for _, *parts in _PARTS for part in parts))


def reconcile(usage: Usage) -> Usage | None:
    """Return a usage whose counts add up to its total and are not smaller than their parts.

    Counts that are consistent are not changed. If they are not, tokens that the input, the output or the total leaves
    out are added.

    Args:
        usage: The counts of one provider call, from any source.

    Returns:
        The usage, or ``None`` if one of the counts cannot be true: a negative number, a fraction, a truth value, or
        more than 100 million. Never raises.
    """
    if not is_a(usage, Usage):
        return None
    other_types: dict[str, Any] = {}
    for name in COUNTS:
        value = getattr(usage, name)
        if value is None:
            continue
        count = number(value)
        if count is None:
            return None
        if count is not value:  # such as 12.0
            other_types[name] = count
    return add_up(replace(usage, **other_types) if other_types else usage).with_total()


def add_up(usage: Usage, *, cache_apart: bool = False, has_audio: bool = False) -> Usage:
    """Return a usage whose counts add up to the total and are not smaller than their parts.

    Counts that are consistent are not changed. Otherwise the total shows what the provider counts separately: cached
    tokens, which belong to the input, or reasoning, which belongs to the output.

    Args:
        usage: The provider's own counts, each a whole number of zero or more.
        cache_apart: The provider does not include cached tokens in the input, unless the total shows that it does.
        has_audio: Tokens that only the total contains are audio input.
    """
    input_tokens, output_tokens, total = usage.input_tokens, usage.output_tokens, usage.total_tokens
    cached, written = usage.cached_input_tokens or 0, usage.cache_write_input_tokens or 0
    cache, reasoning, other = cached + written, usage.reasoning_tokens or 0, usage.other_tokens or 0
    if input_tokens is None or output_tokens is None:
        return _fit_parts(_include_parts(usage, cache_apart=cache_apart))
    is_sum = total == input_tokens + output_tokens or (total is None and not cache_apart)
    if is_sum and max(cached, written) <= input_tokens and reasoning <= output_tokens and not other:
        return _fit_parts(usage.with_total())
    if total is None:
        return _fit_parts(_include_parts(usage, cache_apart=cache_apart).with_total())
    hidden = total - input_tokens - output_tokens  # what the total contains besides
    if hidden == 0:
        other = 0  # the input already contains it
    hidden -= other
    if hidden in (0, reasoning, cache, cache + reasoning):
        cache_apart = hidden not in (0, reasoning)
    if cache_apart or max(cached, written) > input_tokens:
        input_tokens += cache
        hidden -= cache
    if has_audio:
        input_tokens += max(0, hidden)
        usage = replace(usage, input_audio_tokens=max(0, hidden) or usage.input_audio_tokens)
    else:
        output_tokens += max(0, hidden)
    return _fit_parts(
        replace(
            usage,
            input_tokens=input_tokens,
            output_tokens=output_tokens,
            total_tokens=input_tokens + output_tokens + other,
            other_tokens=other or None,
        )
    )


def _include_parts(usage: Usage, *, cache_apart: bool) -> Usage:
    """Return a usage without input or without output whose parts are included in the other count.

    Only the parts show what that count leaves out. The total becomes unknown if it is smaller than the other counts.
    """
    input_tokens, output_tokens, total = usage.input_tokens, usage.output_tokens, usage.total_tokens
    cached, written = usage.cached_input_tokens or 0, usage.cache_write_input_tokens or 0
    if input_tokens is not None and (cache_apart or max(cached, written) > input_tokens):
        input_tokens += cached + written
    if output_tokens is not None and (usage.reasoning_tokens or 0) > output_tokens:
        output_tokens += usage.reasoning_tokens or 0
    if total is not None and total < (input_tokens or 0) + (output_tokens or 0) + (usage.other_tokens or 0):
        total = None
    return replace(usage, input_tokens=input_tokens, output_tokens=output_tokens, total_tokens=total)


def _fit_parts(usage: Usage) -> Usage:
    """Return a usage whose parts fit into their wholes: too much reasoning is cut, and other parts become unknown."""
    if usage.output_tokens is not None and (usage.reasoning_tokens or 0) > usage.output_tokens:
        usage = replace(usage, reasoning_tokens=usage.output_tokens)
    if not any(_all_parts(usage)):  # most calls have none
        return usage
    for whole, *parts in _PARTS:
        count = getattr(usage, whole)
        if count is not None and sum(getattr(usage, part) or 0 for part in parts) > count:
            unknown: dict[str, Any] = dict.fromkeys(parts)
            usage = replace(usage, **unknown)
    return usage
