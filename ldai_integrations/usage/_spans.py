"""The spans of instrumented provider calls."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..records import Usage
from ._draft import LONGEST_NAME
from ._fields import get, is_number, items, number, text
from ._readings import Reading
from ._sums import add_up

# The names of counts, the current one first: those of OpenTelemetry's GenAI conventions (development status, as of
# semantic-conventions-genai 1.42, and before 1.27), of OpenLLMetry (``llm.usage``) and of OpenInference
# (``llm.token_count``).
_SPAN_COUNTS: dict[str, tuple[str, ...]] = {
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
_SPAN_MODEL = ("gen_ai.response.model", "gen_ai.request.model", "llm.model_name")
_SPAN_REASONS = ("gen_ai.response.finish_reasons", "gen_ai.response.finish_reason")
# How each of the three says that a span is a call of a model, and not that of an agent, a chain or a tool.
_SPAN_KINDS = {
    "gen_ai.operation.name": ("chat", "text_completion", "generate_content", "embeddings"),
    "llm.request.type": ("chat", "completion", "embedding"),
    "openinference.span.kind": ("LLM", "EMBEDDING"),
}


def read_span(attributes: Mapping[str, object] | None) -> Reading | None:
    """Read the attributes of a finished span; return ``None`` if it is not a call of a model.

    It is one if it has token counts, or if it says so: some instrumentations write no counts for streams. Attributes
    with prompts and answers, which some instrumentations write, are not read.

    The conventions include cached tokens in the input. If there are more cached tokens than input, the instrumentation
    counted them separately, as Anthropic does, and they are added.
    """
    sent = {name: get(attributes, *names) for name, names in _SPAN_COUNTS.items()}
    counts: dict[str, Any] = {name: number(value) for name, value in sent.items()}
    has_counts = counts["input_tokens"] is not None or counts["output_tokens"] is not None
    if not has_counts and not any(get(attributes, name) in kinds for name, kinds in _SPAN_KINDS.items()):
        return None
    reasons = get(attributes, *_SPAN_REASONS)
    reasons = [reasons] if isinstance(reasons, str) else items(reasons)
    name = text(get(attributes, "gen_ai.response.id"))
    return Reading(
        usage=add_up(Usage(**counts)) if any(counts.values()) else None,  # zeros: the provider sent none
        model=text(get(attributes, *_SPAN_MODEL))[:LONGEST_NAME] or None,
        finish_reasons=tuple(reason[:LONGEST_NAME] for reason in map(text, reasons) if reason)[:1],
        ids=(name,) if name else (),
        has_wrong_counts=any(counts[name] is None and is_number(value) for name, value in sent.items()),
    )
