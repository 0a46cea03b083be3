"""Usage objects as data: where each provider writes its counts, and what it leaves out of them.

A usage object is recognised by the names in it, whoever sent it: an OpenAI-shaped gateway needs no entry of its own.
Sources: the providers' API references and recorded responses of about fifty hosts, November 2026.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..records import Usage
from ._values import dig, items, number


@dataclass(frozen=True, slots=True)
class Shape:
    """Say where one kind of usage object keeps its counts, as dotted paths, the likeliest first.

    Attributes:
        name: For the reader of a debugger only.
        input, output, total, cached, cache_write, reasoning, tool_prompt: The paths.
        cache_apart: Cached tokens are not part of ``input`` and have to be added.
        reasoning_apart: Reasoning is not part of ``output`` and has to be added.
        other_is_nothing: A count that is not sent is zero, so the other one is the total.
    """

    name: str
    input: tuple[str, ...]
    output: tuple[str, ...] = ()
    total: tuple[str, ...] = ()
    cached: tuple[str, ...] = ()
    cache_write: tuple[str, ...] = ()
    reasoning: tuple[str, ...] = ()
    tool_prompt: tuple[str, ...] = ()
    cache_apart: bool = False
    reasoning_apart: bool = False
    other_is_nothing: bool = False


_FIELDS = ("input", "output", "total", "cached", "cache_write", "reasoning", "tool_prompt")

OPENAI_CHAT = Shape(
    "openai chat and everything shaped like it",
    input=("prompt_tokens",),
    output=("completion_tokens",),
    total=("total_tokens",),
    cached=(
        "prompt_tokens_details.cached_tokens",
        "prompt_token_details.cached_tokens",
        "prompt_cache_hit_tokens",
        "cache_read_input_tokens",
        "cached_tokens",
    ),
    cache_write=("prompt_tokens_details.cache_write_tokens", "cache_creation_input_tokens"),
    reasoning=(
        "completion_tokens_details.reasoning_tokens",
        "completion_token_details.reasoning_tokens",
        "reasoning_tokens",
    ),
)
OPENAI_RESPONSES = Shape(
    "openai responses, openai-agents, langchain",
    input=("input_tokens",),
    output=("output_tokens",),
    total=("total_tokens",),
    cached=("input_tokens_details.cached_tokens", "input_token_details.cache_read"),
    cache_write=("input_tokens_details.cache_write_tokens", "input_token_details.cache_creation"),
    reasoning=("output_tokens_details.reasoning_tokens", "output_token_details.reasoning"),
)
ANTHROPIC = Shape(
    "anthropic messages",
    input=("input_tokens",),
    output=("output_tokens",),
    cached=("cache_read_input_tokens",),
    cache_write=("cache_creation_input_tokens",),
    reasoning=("output_tokens_details.thinking_tokens",),
    cache_apart=True,
)
CONVERSE = Shape(
    "bedrock converse, amazon nova",
    input=("inputTokens",),
    output=("outputTokens",),
    total=("totalTokens",),
    cached=("cacheReadInputTokens", "cacheReadInputTokenCount"),
    cache_write=("cacheWriteInputTokens", "cacheWriteInputTokenCount"),
    cache_apart=True,
)
GEMINI = Shape(
    "gemini and vertex generateContent",
    input=("promptTokenCount", "prompt_token_count"),
    output=("candidatesTokenCount", "candidates_token_count", "responseTokenCount", "response_token_count"),
    total=("totalTokenCount", "total_token_count"),
    cached=("cachedContentTokenCount", "cached_content_token_count"),
    reasoning=("thoughtsTokenCount", "thoughts_token_count"),
    tool_prompt=("toolUsePromptTokenCount", "tool_use_prompt_token_count"),
    reasoning_apart=True,
)
GEMINI_INTERACTIONS = Shape(
    "gemini interactions",
    input=("total_input_tokens",),
    output=("total_output_tokens",),
    total=("total_tokens",),
    cached=("total_cached_tokens",),
    reasoning=("total_thought_tokens",),
    tool_prompt=("total_tool_use_tokens",),
    reasoning_apart=True,
)
COHERE = Shape(
    "cohere chat", input=("tokens.input_tokens",), output=("tokens.output_tokens",), cached=("cached_tokens",)
)
COHERE_BILLED = Shape(
    "cohere generate and embed",
    input=("billed_units.input_tokens",),
    output=("billed_units.output_tokens",),
    other_is_nothing=True,
)
OLLAMA = Shape("ollama", input=("prompt_eval_count",), output=("eval_count",), other_is_nothing=True)
LLAMA = Shape("bedrock llama", input=("prompt_token_count",), output=("generation_token_count",))
TITAN = Shape("bedrock titan", input=("inputTextTokenCount",), output=("totalOutputTextTokenCount",))
BEDROCK_METRICS = Shape(
    "amazon-bedrock-invocationMetrics",
    input=("inputTokenCount",),
    output=("outputTokenCount",),
    cached=("cacheReadInputTokenCount",),
    cache_write=("cacheWriteInputTokenCount",),
    cache_apart=True,
)
REPLICATE = Shape("replicate metrics", input=("input_token_count",), output=("output_token_count",))
HUGGING_FACE = Shape("hugging face text generation", input=(), output=("generated_tokens",))
TOTAL_ONLY = Shape("voyage", input=(), total=("total_tokens",))

# The first whose input and output are there is meant, else the one that names most of the fields; where two providers
# share names, the richer one stands first.
_SHAPES = (
    OPENAI_CHAT,
    ANTHROPIC,
    OPENAI_RESPONSES,
    CONVERSE,
    LLAMA,
    GEMINI,
    COHERE,
    COHERE_BILLED,
    OLLAMA,
    GEMINI_INTERACTIONS,
    TITAN,
    BEDROCK_METRICS,
    REPLICATE,
    HUGGING_FACE,
)


@dataclass(frozen=True, slots=True)
class Counts:
    """Hold the counts of one usage object as they were sent, and the shape that says how to add them up."""

    shape: Shape
    values: Mapping[str, int]

    def updated(self, later: Counts) -> Counts:
        """Return these counts overwritten by later ones of the same stream; a field that is not repeated stays.

        Providers send running totals, or a first and a last part: never anything to be summed.
        """
        if later.shape is not self.shape:
            return later
        return Counts(self.shape, {**self.values, **later.values})

    def plus(self, part: Counts) -> Counts:
        """Return these counts with another part added."""
        names = self.values.keys() | part.values.keys()
        return Counts(self.shape, {name: self.values.get(name, 0) + part.values.get(name, 0) for name in names})

    def usage(self) -> Usage:
        """Return the counts as a :class:`Usage`: cached tokens in the input, reasoning in the output."""
        known = self.values.get
        cached, cache_write, reasoning = known("cached"), known("cache_write"), known("reasoning")
        total, tool_prompt = known("total"), known("tool_prompt") or 0
        input_tokens, output_tokens = known("input"), known("output")
        if self.shape.cache_apart and input_tokens is not None:
            extra = (cached or 0) + (cache_write or 0)
            # A gateway that sends Anthropic's names with a total tells by it whether the cache is in the input.
            if total is None or output_tokens is None or total != input_tokens + output_tokens:
                input_tokens += extra
        if self.shape.reasoning_apart and (output_tokens is not None or reasoning is not None):
            output_tokens = (output_tokens or 0) + (reasoning or 0)
        if total is not None and input_tokens is not None:
            if output_tokens is not None:
                hidden = total - input_tokens - output_tokens - tool_prompt
                if hidden > 0:
                    input_tokens, output_tokens = self._with_hidden(input_tokens, output_tokens, hidden)
            elif self.shape is GEMINI:
                output_tokens = max(0, total - input_tokens - tool_prompt)
        if total is None and self.shape.other_is_nothing:
            total = (input_tokens or 0) + (output_tokens or 0)
        return Usage(
            input_tokens=input_tokens,
            output_tokens=output_tokens,
            total_tokens=total,
            cached_input_tokens=cached,
            cache_write_input_tokens=cache_write,
            reasoning_tokens=reasoning,
        ).with_total()

    def _with_hidden(self, input_tokens: int, output_tokens: int, hidden: int) -> tuple[int, int]:
        """Put tokens that only the total shows where they belong: audio to the input, reasoning to the output."""
        if "audio" in self.values:
            return input_tokens + hidden, output_tokens
        return input_tokens, output_tokens + hidden


def counts_in(raw: Any) -> Counts | None:
    """Return the counts of a usage object, or ``None`` if it is none."""
    if raw is None:
        return None
    best: tuple[Shape, dict[str, int]] | None = None
    for shape in _SHAPES:
        values = _values(raw, shape)
        if "input" in values and "output" in values:
            return _completed(raw, shape, values)
        if ("input" in values or "output" in values) and (best is None or len(values) > len(best[1])):
            best = shape, values
    if best is not None:
        return _completed(raw, *best)
    values = _values(raw, TOTAL_ONLY)
    return Counts(TOTAL_ONLY, values) if values else None


def _values(raw: Any, shape: Shape) -> dict[str, int]:
    found = {}
    for field in _FIELDS:
        for path in getattr(shape, field):
            value = number(dig(raw, path))
            if value is not None:
                found[field] = value
                break
    return found


def _completed(raw: Any, shape: Shape, values: dict[str, int]) -> Counts:
    if shape is ANTHROPIC:
        return _anthropic(raw, values)
    if shape is OPENAI_CHAT and number(dig(raw, "prompt_audio_seconds")):
        values["audio"] = 1
    return Counts(shape, values)


def _anthropic(raw: Any, values: dict[str, int]) -> Counts:
    """Tell Anthropic's object from the Responses API's, and add the passes that its top level leaves out."""
    total = number(dig(raw, "total_tokens"))
    if total is not None and "cached" not in values and "cache_write" not in values:
        return Counts(OPENAI_RESPONSES, _values(raw, OPENAI_RESPONSES))
    if total is not None:
        values["total"] = total
    passes = [_values(one, ANTHROPIC) for one in items(dig(raw, "iterations"))]
    for field in ("input", "output", "cached", "cache_write"):
        together = sum(one.get(field, 0) for one in passes)
        if together > values.get(field, 0):
            values[field] = together
    return Counts(ANTHROPIC, values)
