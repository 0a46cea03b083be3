"""The token counts in spans of instrumented provider calls, in all conventions that are in use.

- ``gen_ai.*``: OpenTelemetry's GenAI conventions, development status, as of semantic-conventions-genai 1.42; the names
  with ``prompt_tokens`` and ``completion_tokens`` are those of conventions before 1.27.
- ``gen_ai.usage.*`` beside them and ``llm.usage.*``: OpenLLMetry (opentelemetry-instrumentation-openai and its family).
- ``llm.token_count.*``: OpenInference.

Attributes with prompts and answers, which some instrumentations write, are not read.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..records import Usage
from ._counts import balanced
from ._readings import Reading
from ._values import get, items, number, text

# The current name first.
_COUNTS: dict[str, tuple[str, ...]] = {
    "input_tokens": (
        "gen_ai.usage.input_tokens",
        "gen_ai.usage.prompt_tokens",
        "llm.usage.prompt_tokens",
        "llm.token_count.prompt",
    ),
    "output_tokens": (
        "gen_ai.usage.output_tokens",
        "gen_ai.usage.completion_tokens",
        "llm.usage.completion_tokens",
        "llm.token_count.completion",
    ),
    "total_tokens": ("gen_ai.usage.total_tokens", "llm.usage.total_tokens", "llm.token_count.total"),
    "cached_input_tokens": (
        "gen_ai.usage.cache_read.input_tokens",
        "gen_ai.usage.cache_read_input_tokens",
        "llm.token_count.prompt_details.cache_read",
    ),
    "cache_write_input_tokens": (
        "gen_ai.usage.cache_creation.input_tokens",
        "gen_ai.usage.cache_write.input_tokens",
        "gen_ai.usage.cache_creation_input_tokens",
        "llm.token_count.prompt_details.cache_write",
    ),
    "reasoning_tokens": (
        "gen_ai.usage.reasoning.output_tokens",
        "gen_ai.usage.reasoning_tokens",
        "llm.usage.reasoning_tokens",
        "llm.token_count.completion_details.reasoning",
    ),
}
_MODEL = ("gen_ai.response.model", "gen_ai.request.model", "llm.model_name")
_REASONS = ("gen_ai.response.finish_reasons", "gen_ai.response.finish_reason")


def read_span(attributes: Mapping[str, Any] | None) -> Reading | None:
    """Read the attributes of a finished span; return ``None`` if it has no token counts.

    The conventions include cached tokens in the input. If there are more cached tokens than input, the instrumentation
    counted them separately, as Anthropic does, and they are added.
    """
    counts: dict[str, Any] = {name: number(get(attributes, *names)) for name, names in _COUNTS.items()}
    if counts["input_tokens"] is None and counts["output_tokens"] is None:
        return None
    reasons = get(attributes, *_REASONS)
    reasons = [reasons] if isinstance(reasons, str) else items(reasons)
    name = text(get(attributes, "gen_ai.response.id"))
    return Reading(
        usage=balanced(Usage(**counts)),
        model=text(get(attributes, *_MODEL)) or None,
        finish_reasons=tuple(filter(None, map(text, reasons)))[:1],
        ids=(name,) if name else (),
    )
