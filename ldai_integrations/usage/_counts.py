"""The counts of one usage object, and what they add up to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ..records import Usage
from ._shapes import ANTHROPIC, GEMINI, OPENAI_CHAT, SHAPES, TOTAL_ONLY, Shape
from ._values import dig, items, number

# The names that an object of a shape has one of.
_NAMES = {shape: frozenset(path.partition(".")[0] for path in shape.input + shape.output) for shape in SHAPES}
_REST = ("total", "cached", "cache_write", "reasoning", "tool_prompt")


@dataclass(frozen=True, slots=True)
class Counts:
    """Hold the counts of one usage object as they were sent, and the shape that says how to add them up."""

    shape: Shape
    values: Mapping[str, int]

    def updated(self, later: Counts) -> Counts:
        """Return these counts overwritten by later ones of the same call; a field that is not repeated stays.

        Providers send running totals, or a first and a last part: never anything to be summed, and never less of the
        prompt than before. A last object of nothing but zeros says nothing.
        """
        if not any(later.values.values()):
            return self
        if later.shape is not self.shape and "input" in later.values and "output" in later.values:
            return later
        news = {name: count for name, count in later.values.items() if count or name == "output"}
        return Counts(self.shape, {**later.values, **self.values, **news})

    def plus(self, part: Counts) -> Counts:
        """Return these counts with another part added."""
        names = self.values.keys() | part.values.keys()
        return Counts(self.shape, {name: self.values.get(name, 0) + part.values.get(name, 0) for name in names})

    def without(self, *names: str) -> Counts:
        """Return these counts with some of them taken for not sent."""
        return Counts(self.shape, {name: count for name, count in self.values.items() if name not in names})

    def usage(self) -> Usage:
        """Return the counts as a :class:`Usage`: cached tokens in the input, reasoning in the output."""
        known = self.values.get
        input_tokens, output_tokens, total = known("input"), known("output"), known("total")
        if self.shape.reasoning_apart and known("reasoning") is not None:
            output_tokens = (output_tokens or 0) + known("reasoning", 0)
        if total is not None:
            input_tokens, output_tokens = self._completed(input_tokens, output_tokens, total)
        if input_tokens is not None and output_tokens is not None:
            input_tokens, output_tokens = self._with_hidden(input_tokens, output_tokens, total)
        elif input_tokens is not None and self.shape.cache_apart:
            input_tokens += self._cache
        if total is None and self.shape.other_is_nothing:
            total = (input_tokens or 0) + (output_tokens or 0)
        return Usage(
            input_tokens=input_tokens,
            output_tokens=output_tokens,
            total_tokens=total,
            cached_input_tokens=known("cached"),
            cache_write_input_tokens=known("cache_write"),
            reasoning_tokens=known("reasoning"),
        ).with_total()

    @property
    def _cache(self) -> int:
        return self.values.get("cached", 0) + self.values.get("cache_write", 0)

    def _completed(
        self, input_tokens: int | None, output_tokens: int | None, total: int
    ) -> tuple[int | None, int | None]:
        """Take a count that was left out from the total; an embedding has no output, and Gemini's may be empty."""
        rest = total - (input_tokens or 0) - (output_tokens or 0) - self.values.get("tool_prompt", 0)
        if output_tokens is None and input_tokens is not None and (rest > 0 or self.shape is GEMINI):
            output_tokens = max(0, rest)
        elif input_tokens is None and output_tokens is not None and rest >= 0:
            input_tokens = rest
        return input_tokens, output_tokens

    def _with_hidden(self, input_tokens: int, output_tokens: int, total: int | None) -> tuple[int, int]:
        """Put what a provider counts apart where it belongs; a total tells whether it does.

        Cached tokens belong to the input, as does Mistral's audio; the rest of what only a total shows is reasoning.
        """
        cache, reasoning = self._cache, self.values.get("reasoning", 0)
        hidden = None if total is None else total - input_tokens - output_tokens - self.values.get("tool_prompt", 0)
        if hidden in (0, reasoning, cache, cache + reasoning):
            apart = hidden not in (0, reasoning)
        else:
            apart = self.shape.cache_apart
        if apart or cache > input_tokens:  # a part is never more than the whole
            input_tokens, hidden = input_tokens + cache, None if hidden is None else hidden - cache
        if hidden is None:
            return input_tokens, output_tokens + (reasoning if reasoning > output_tokens else 0)
        if "audio" in self.values:
            return input_tokens + max(0, hidden), output_tokens
        return input_tokens, output_tokens + max(0, hidden)


def counts_in(raw: Any) -> Counts | None:
    """Return the counts of a usage object by the shape that names most of them, or ``None`` if it is none."""
    if raw is None:
        return None
    best: tuple[Shape, dict[str, int]] | None = None
    for shape in _candidates(raw):
        values = _values(raw, shape, ("input", "output"))
        if values:
            values |= _values(raw, shape, _REST)
            if best is None or len(values) > len(best[1]):
                best = shape, values
    if best is None:
        values = _values(raw, TOTAL_ONLY, _REST)
        return Counts(TOTAL_ONLY, values) if values else None
    shape, values = best
    if values.get("total") == 0 < sum(values.get(name, 0) for name in ("input", "output")):
        del values["total"]  # left at its default
    if shape is ANTHROPIC:
        _add_cache_lifetimes(raw, values)
        _add_passes(raw, values)
    elif shape is OPENAI_CHAT and number(dig(raw, "prompt_audio_seconds")):
        values["audio"] = 1
    return Counts(shape, values)


def _candidates(raw: Any) -> Iterable[Shape]:
    """Leave out the shapes of whose names a dict has none; streams bring a usage object with every event."""
    if type(raw) is not dict:
        return SHAPES
    return [shape for shape in SHAPES if not _NAMES[shape].isdisjoint(raw)]


def _values(raw: Any, shape: Shape, fields: tuple[str, ...]) -> dict[str, int]:
    found = {}
    for field in fields:
        for path in getattr(shape, field):
            value = number(dig(raw, path))
            if value is not None:
                found[field] = value
                break
    return found


def _add_cache_lifetimes(raw: Any, values: dict[str, int]) -> None:
    """Take what was written to caches of each lifetime, where nobody told the sum."""
    written = [number(dig(raw, f"cache_creation.ephemeral_{lifetime}_input_tokens")) for lifetime in ("5m", "1h")]
    if any(written):
        values.setdefault("cache_write", sum(count or 0 for count in written))


def _add_passes(raw: Any, values: dict[str, int]) -> None:
    """Add what Anthropic's top level leaves out of several passes over one prompt (server-side compaction)."""
    fields = ("input", "output", "cached", "cache_write")
    passes = [_values(one, ANTHROPIC, fields) for one in items(dig(raw, "iterations"))]
    for field in fields:
        together = sum(one.get(field, 0) for one in passes)
        if together > values.get(field, 0):
            values[field] = together
