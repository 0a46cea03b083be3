"""A sink that exports each run as a span and as metrics, with the names of OpenTelemetry's GenAI conventions.

The names come from open-telemetry/semantic-conventions-genai, ``gen-ai-spans.md``, ``gen-ai-agent-spans.md`` and
``gen-ai-metrics.md``, development status, as of 1.42. ``launchdarkly.*`` and the ``feature_flag`` event, by which
LaunchDarkly finds the traces of an AI Config, come from LaunchDarkly's AI SDK.

Decisions:

- A run in completion mode is a ``chat`` span of kind CLIENT. A run of an agent is an ``invoke_agent`` span of kind
  INTERNAL. The span is created when the run has ended, with the times of the run, as a child of the span that was
  current when it opened.
- Prompts, answers, exception messages and the LD context are not exported. The conventions' ``feature_flag.context.id``
  is the key of a user, and is omitted.
- Only the current names are used (``gen_ai.provider.name``, not ``gen_ai.system`` as well).
- Estimated token counts are on the span, with ``ldai.usage.source``, but not in the metrics, which the conventions
  reserve for known counts.
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

#: The name of the instrumentation scope.
SCOPE = "ldai_integrations"

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
_COUNTS = {
    "gen_ai.usage.input_tokens": "input_tokens",
    "gen_ai.usage.output_tokens": "output_tokens",
    "gen_ai.usage.cache_read.input_tokens": "cached_input_tokens",
    "gen_ai.usage.cache_creation.input_tokens": "cache_write_input_tokens",
    "gen_ai.usage.reasoning.output_tokens": "reasoning_tokens",
}
# The histogram boundaries that the conventions specify: seconds, tokens, seconds.
_DURATIONS = [0.01 * 2**power for power in range(14)]
_TOKENS = [4**power for power in range(14)]
_FIRST_CHUNKS = [0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0]


class OpenTelemetrySink:
    """A sink that exports each reported run as a GenAI span, and its duration, tokens and first token as metrics.

    ::

        tracking = Tracking.from_env(sinks=[OpenTelemetrySink()])

    The span is a child of the span that was current when the run opened, even if the run ends on another thread. No
    prompt, no answer and no part of the LD context is exported. Without an exporter it costs microseconds.

    Args:
        tracer_provider: The provider of the tracer; the default is the global one.
        meter_provider: The provider of the meter; the default is the global one. An instrumentation of the LLM client
            records metrics of the same names. Pass a ``NoOpMeterProvider()`` if you have one.
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
        """Return a function that exports the run that opens here, as a child of the span that is current now."""
        return partial(self._write, parent=context.get_current())

    def emit(self, record: RunRecord) -> None:
        """Export a run as a trace of its own, because it is not known where it opened."""
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
