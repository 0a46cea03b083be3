"""Write each run as a span, and as points of metrics, in the words of OpenTelemetry's GenAI conventions.

Source of the names: open-telemetry/semantic-conventions-genai, ``gen-ai-spans.md``, ``gen-ai-agent-spans.md`` and
``gen-ai-metrics.md``, development status, as of 1.42; and LaunchDarkly's own AI SDK for ``launchdarkly.*`` and the
``feature_flag`` event, by which LaunchDarkly finds the traces of an AI Config.

Decisions:

- A run in completion mode is a ``chat`` span of kind CLIENT, one of an agent an ``invoke_agent`` span of kind INTERNAL.
  The span is made when the run has ended, with the run's own times, below the span that was current where it opened.
- Neither prompts nor answers, nor the message of an exception, nor anything of the LaunchDarkly context is written: the
  conventions' ``feature_flag.context.id`` is a user's key, and left out.
- The present names alone are written (``gen_ai.provider.name``, not ``gen_ai.system`` as well).
- Token counts that were estimated are on the span, with ``ldai.usage.source``, and not among the metrics, which the
  conventions keep for counts that are known.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from opentelemetry import context, metrics, trace
from opentelemetry.trace import SpanKind, Status, StatusCode

from .._version import __version__

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.metrics import MeterProvider
    from opentelemetry.trace import TracerProvider

    from ..records import RunRecord, Usage

    Attributes = dict[str, str | int | float | list[str]]

#: Name of the instrumentation scope.
SCOPE = "ldai_integrations"

# The well-known values of gen_ai.provider.name, by how LaunchDarkly and people call the provider; letters and digits.
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
_COUNTS = {
    "gen_ai.usage.input_tokens": "input_tokens",
    "gen_ai.usage.output_tokens": "output_tokens",
    "gen_ai.usage.cache_read.input_tokens": "cached_input_tokens",
    "gen_ai.usage.cache_creation.input_tokens": "cache_write_input_tokens",
    "gen_ai.usage.reasoning.output_tokens": "reasoning_tokens",
}
# Bounds of histograms as the conventions ask for them: seconds, tokens, seconds.
_DURATIONS = [0.01 * 2**power for power in range(14)]
_TOKENS = [4**power for power in range(14)]
_FIRST_CHUNKS = [0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0]


class OpenTelemetrySink:
    """Write each reported run as a GenAI span, and its duration, tokens and time to first token as metrics.

    ::

        tracking = Tracking.from_env(sinks=[OpenTelemetrySink()])

    The span lies below the span that was current where the run opened, also where the run ends in another thread. No
    prompt, answer or part of the LaunchDarkly context is written. Where nothing is exported it costs microseconds.

    Args:
        tracer_provider: Where spans go; the global one unless told.
        meter_provider: Where metrics go; the global one unless told. An instrumentation of the provider's client
            writes metrics of the same names: give a ``NoOpMeterProvider()`` where two would be one too many.
    """

    def __init__(
        self, *, tracer_provider: TracerProvider | None = None, meter_provider: MeterProvider | None = None
    ) -> None:
        self._tracer = trace.get_tracer(SCOPE, __version__, tracer_provider)
        create = metrics.get_meter(SCOPE, __version__, meter_provider).create_histogram
        self._duration = create(
            "gen_ai.client.operation.duration",
            "s",
            "GenAI operation duration.",
            explicit_bucket_boundaries_advisory=_DURATIONS,
        )
        self._tokens = create(
            "gen_ai.client.token.usage",
            "{token}",
            "Number of input and output tokens used.",
            explicit_bucket_boundaries_advisory=_TOKENS,
        )
        self._first_chunk = create(
            "gen_ai.client.operation.time_to_first_chunk",
            "s",
            "Time to receive the first chunk.",
            explicit_bucket_boundaries_advisory=_FIRST_CHUNKS,
        )

    def opened(self) -> Callable[[RunRecord], None]:
        """Return what writes the run that opens here, below the span that is current now."""
        return partial(self._write, parent=context.get_current())

    def emit(self, record: RunRecord) -> None:
        """Write a run of which nobody knows where it opened, as a trace of its own."""
        self._write(record, parent=context.Context())

    def _write(self, record: RunRecord, parent: Context) -> None:
        common = _common(record)
        is_agent = record.mode == "agent"
        start = round(record.started_at * 1e9)
        span = self._tracer.start_span(
            f"{common['gen_ai.operation.name']} {record.config_key if is_agent else record.model_name}".rstrip(),
            context=parent,
            kind=SpanKind.INTERNAL if is_agent else SpanKind.CLIENT,
            attributes={**common, **_details(record), **_usage(record.usage)},
            start_time=start,
        )
        span.add_event("feature_flag", _evaluation(record), timestamp=start)
        if record.outcome == "error":
            span.set_status(Status(StatusCode.ERROR))
        span.end(start + record.duration_ms * 1_000_000)
        self._measure(record, common, trace.set_span_in_context(span, parent))

    def _measure(self, record: RunRecord, common: Attributes, of_span: Context) -> None:
        self._duration.record(record.duration_ms / 1000, common, of_span)
        without_error = {name: value for name, value in common.items() if name != "error.type"}
        if record.time_to_first_token_ms is not None:
            self._first_chunk.record(record.time_to_first_token_ms / 1000, without_error, of_span)
        usage = record.usage
        for kind in ("input", "output"):
            field = f"{kind}_tokens"
            count = getattr(usage, field, None)
            if usage is not None and count is not None and field not in usage.estimated:
                self._tokens.record(count, {**without_error, "gen_ai.token.type": kind}, of_span)


def _common(record: RunRecord) -> Attributes:
    """Return what spans and metrics share: few values each."""
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


def _details(record: RunRecord) -> Attributes:
    found: Attributes = {
        "launchdarkly.operation.type": "gen_ai",
        "launchdarkly.run.id": record.run_id,
        "ldai.outcome": record.outcome,
    }
    if record.mode == "agent":
        found["gen_ai.agent.name"] = record.config_key
    if record.finish_reasons:
        found["gen_ai.response.finish_reasons"] = list(record.finish_reasons)
    if record.time_to_first_token_ms is not None:
        found["gen_ai.response.time_to_first_chunk"] = record.time_to_first_token_ms / 1000
    return found


def _usage(usage: Usage | None) -> Attributes:
    if usage is None:
        return {}
    counts = {name: getattr(usage, field) for name, field in _COUNTS.items()}
    return {**{name: count for name, count in counts.items() if count is not None}, "ldai.usage.source": usage.source}


def _evaluation(record: RunRecord) -> Attributes:
    """Return what LaunchDarkly's own tracing writes of an evaluation, but for whose it was."""
    found: Attributes = {
        "feature_flag.key": record.config_key,
        "feature_flag.provider.name": "LaunchDarkly",
        "feature_flag.set.id": record.environment_id,
        "feature_flag.result.variant": record.variation_key,
        "feature_flag.result.reason": "default" if record.default_served else "",
        "feature_flag.version": "" if record.default_served else str(record.version),
    }
    return {name: value for name, value in found.items() if value}


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
