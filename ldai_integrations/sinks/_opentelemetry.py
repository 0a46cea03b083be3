"""A sink that exports each run as a span and as metrics, with the names of OpenTelemetry's GenAI conventions.

Decisions:

- A run in completion mode is a ``chat`` span of kind CLIENT. A run of an agent is an ``invoke_agent`` span of kind
  INTERNAL. The span starts when the run opens, and gets its name and its attributes when the run is reported.
- The span of a run that is not reported is exported without attributes, because other spans may be its children.
- Exception messages are not exported. Prompts, answers and the keys of the LD context are exported on request.
- Estimated token counts are on the span, with ``ldai.usage.source``, but not in the metrics, which the conventions
  reserve for known counts.
- A score arrives when the span has ended, so that it is a span of its own below it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from opentelemetry import context, metrics, trace

from .._version import __version__
from ..exceptions import ConfigurationError
from ._attributes import common_attributes
from ._span import Exporting, RunSpan

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.metrics import MeterProvider
    from opentelemetry.trace import TracerProvider

    from ..records import Mode, RunRecord

#: The name of the instrumentation scope.
SCOPE = "ldai_integrations"

# The histogram boundaries that the conventions specify: seconds, tokens, seconds.
_DURATIONS = [0.01 * 2**power for power in range(14)]
_TOKENS = [4**power for power in range(14)]
_FIRST_CHUNKS = [0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0]


class OpenTelemetrySink:
    """A sink that exports each reported run as a GenAI span, and its duration, tokens and first token as metrics.

    ::

        tracking = Tracking.from_env(sinks=[OpenTelemetrySink()])

    The span starts when the run opens, and is the current span while code of the run works, so that the spans of its
    provider calls are its children. Its parent is the span that was current when the run opened.

    Args:
        tracer_provider: The provider of the tracer; the default is the global one.
        meter_provider: The provider of the meter; the default is the global one. An instrumentation of the LLM client
            records metrics of the same names. Pass a ``NoOpMeterProvider()`` if you have one.
        include_texts: Whether to export prompts and answers.
        include_context_keys: Whether to export the keys of the LD context, which identify a user.
        mask: Called with each text and each key; returns what is exported in its place. If it raises, no text and no
            key of the run is exported.

    Raises:
        ConfigurationError: If ``mask`` is not callable.
    """

    def __init__(
        self,
        *,
        tracer_provider: TracerProvider | None = None,
        meter_provider: MeterProvider | None = None,
        include_texts: bool = False,
        include_context_keys: bool = False,
        mask: Callable[[str], str] = str,
    ) -> None:
        if not callable(mask):
            raise ConfigurationError(f"mask is {mask!r}; give a function that takes a text and returns one")
        self._exporting = Exporting(
            tracer=trace.get_tracer(SCOPE, __version__, tracer_provider),
            measure=self._measure,
            texts=include_texts,
            context_keys=include_context_keys,
            mask=mask,
        )
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

    def accompany(self, config_key: str, mode: Mode) -> RunSpan:
        """Start the span of a run that opens here, as a child of the span that is current."""
        return RunSpan(self._exporting, config_key, mode, context.get_current(), time.time_ns())

    def emit(self, record: RunRecord) -> None:
        """Export a run as a trace of its own, because it is not known where it opened."""
        started_at = round(record.started_at * 1e9)
        RunSpan(self._exporting, record.config_key, record.mode, context.Context(), started_at).emit(record, None)

    def _measure(self, record: RunRecord, of_span: Context) -> None:
        common = common_attributes(record)
        self._duration.record(record.duration_ms / 1000, {**common, "ldai.outcome": record.outcome}, of_span)
        without_error = {name: value for name, value in common.items() if name != "error.type"}
        if record.time_to_first_token_ms is not None:
            self._first_chunk.record(record.time_to_first_token_ms / 1000, without_error, of_span)
        usage = record.usage
        for kind in ("input", "output"):
            field = f"{kind}_tokens"
            count = getattr(usage, field, None)
            if usage is not None and count is not None and field not in usage.estimated:
                self._tokens.record(count, {**without_error, "gen_ai.token.type": kind}, of_span)
