"""The attributes of the span of a run: OpenTelemetry's GenAI conventions, and what LaunchDarkly's pages read.

The names come from open-telemetry/semantic-conventions-genai, ``gen-ai-spans.md``, ``gen-ai-agent-spans.md`` and
``gen-ai-metrics.md``, development status, as of 1.42. ``launchdarkly.*``, the ``feature_flag`` event and the older
names beside the current ones (``gen_ai.system``, ``gen_ai.usage.prompt_tokens``, ``gen_ai.prompt.N``) are those of
LaunchDarkly's AI SDK. LaunchDarkly's queries leave out spans without a count, so that the counts of a cache are zero if
the provider sends none. Other counts that are not known are left out.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ldclient import Context

    from ..records import RunRecord, RunTexts, Usage

    Attributes = dict[str, str | bool | int | float | list[str]]

# The well-known values of gen_ai.provider.name, by the letters and digits of the provider's usual names.
_PROVIDERS = {
    "awsbedrock": "aws.bedrock",
    "azure": "azure.ai.openai",
    "azureopenai": "azure.ai.openai",
    "bedrock": "aws.bedrock",
    "gemini": "gcp.gemini",
    "google": "gcp.gen_ai",
    "googlegemini": "gcp.gemini",
    "ibmwatsonx": "ibm.watsonx.ai",
    "mistral": "mistral_ai",
    "mistralai": "mistral_ai",
    "moonshot": "moonshot_ai",
    "vertex": "gcp.vertex_ai",
    "vertexai": "gcp.vertex_ai",
    "watsonx": "ibm.watsonx.ai",
    "xai": "x_ai",
}


def common_attributes(record: RunRecord) -> Attributes:
    """Return the attributes of both spans and metrics, each of which has few different values."""
    found: Attributes = {
        "gen_ai.operation.name": "invoke_agent" if record.mode == "agent" else "chat",
        "gen_ai.provider.name": _provider(record.provider_name),
        "gen_ai.request.model": record.model_name,
        "gen_ai.response.model": record.response_model,
        "launchdarkly.config.key": record.config_key,
        "launchdarkly.variation.key": record.variation_key,
        "error.type": _error_type(record),
    }
    return {name: value for name, value in found.items() if value}


def span_attributes(record: RunRecord) -> Attributes:
    """Return all attributes of the span, without texts and keys of the LD context."""
    common, cost, first_token_ms = common_attributes(record), record.cost, record.time_to_first_token_ms
    is_cancelled = record.outcome == "cancelled"
    found = {
        **common,
        **_usage(record.usage),
        "launchdarkly.operation.type": "gen_ai",
        "launchdarkly.run.id": record.run_id,
        "ldai.outcome": record.outcome,
        "gen_ai.system": common.get("gen_ai.provider.name"),
        "gen_ai.conversation.id": record.conversation_id or None,
        "launchdarkly.graph.key": record.graph_key or None,
        "gen_ai.agent.name": record.config_key if record.mode == "agent" else None,
        "gen_ai.response.finish_reasons": list(record.finish_reasons) or None,
        "gen_ai.response.time_to_first_chunk": None if first_token_ms is None else first_token_ms / 1000,
        "ldai.cost.usd": None if cost is None else float(cost.total_cost),
        "ldai.cost.lower_bound": None if cost is None else cost.lower_bound,
        "launchdarkly.stream.abandoned": True if is_cancelled and record.abandoned else None,
        "launchdarkly.run.cancelled": True if is_cancelled and not record.abandoned else None,
    }
    return {name: value for name, value in found.items() if value is not None}


def evaluation_attributes(record: RunRecord) -> Attributes:
    """Return the attributes of an evaluation in LaunchDarkly's own tracing, without the LD context."""
    found: Attributes = {
        "feature_flag.key": record.config_key,
        "feature_flag.provider.name": "LaunchDarkly",
        "feature_flag.set.id": record.environment_id,
        "feature_flag.result.variant": record.variation_key,
        "feature_flag.result.reason": "default" if record.default_served else "",
        "feature_flag.version": "" if record.default_served else str(record.version),
    }
    return {name: value for name, value in found.items() if value}


def text_attributes(texts: RunTexts, mask: Callable[[str], str]) -> Attributes:
    """Return the masked prompt and answers."""
    found: Attributes = {}
    for index, (role, text) in enumerate(texts.prompt):
        found |= {f"gen_ai.prompt.{index}.role": role, f"gen_ai.prompt.{index}.content": mask(text)}
    for index, text in enumerate(texts.completions):
        found |= {f"gen_ai.completion.{index}.role": "assistant", f"gen_ai.completion.{index}.content": mask(text)}
    return found


def context_keys(ld_context: Context, mask: Callable[[str], str]) -> Attributes:
    """Return the masked key of each kind of an LD context."""
    count = ld_context.individual_context_count
    parts = [part for part in map(ld_context.get_individual_context, range(count)) if part is not None]
    return {f"context.contextKeys.{part.kind}": mask(part.key) for part in parts}


def _usage(usage: Usage | None) -> Attributes:
    if usage is None:
        return {}
    counts = {
        "gen_ai.usage.input_tokens": usage.input_tokens,
        "gen_ai.usage.output_tokens": usage.output_tokens,
        "gen_ai.usage.total_tokens": usage.total_tokens,
        "gen_ai.usage.prompt_tokens": usage.input_tokens,
        "gen_ai.usage.completion_tokens": usage.output_tokens,
        "gen_ai.usage.cache_read.input_tokens": usage.cached_input_tokens or 0,
        "gen_ai.usage.cache_creation.input_tokens": usage.cache_write_input_tokens or 0,
        "gen_ai.usage.reasoning.output_tokens": usage.reasoning_tokens,
    }
    known = {name: count for name, count in counts.items() if count is not None}
    return {**known, "ldai.usage.source": usage.source, "ldai.usage.lower_bound": usage.lower_bound}


def _provider(name: str) -> str:
    plain = "".join(filter(str.isalnum, name.lower()))
    return _PROVIDERS.get(plain, name.strip().lower())


def _error_type(record: RunRecord) -> str:
    if record.outcome != "error":
        return ""
    if record.error is None:
        return "_OTHER"
    kind = type(record.error)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
