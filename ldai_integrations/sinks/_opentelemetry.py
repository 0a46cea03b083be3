"""A sink that exports each run as a span and as metrics, with the names of OpenTelemetry's GenAI conventions.

Decisions:

- A run in completion mode is a ``chat`` span of kind CLIENT. A run of an agent is an ``invoke_agent`` span of kind
  INTERNAL. The span starts when the run opens, and gets its name and its attributes when the run is reported.
- The span of a run that is not reported is exported without attributes, because other spans may be its children.
- Exception messages are not exported. Prompts, answers and the keys of the LD context are exported on request.
- Estimated token counts are on the span, with ``ldai.usage.source``, but not in the metrics, which the conventions
  reserve for known counts.
- A score arrives when the span has ended, so that it is a span of its own below it.
- The AI Config is evaluated outside of the span: LaunchDarkly's own hook writes the variation, with its prompts, and
  the key of the LD context into the span that is current then.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextvars import Token
from dataclasses import dataclass
from typing import TYPE_CHECKING

from opentelemetry import context, metrics, trace
from opentelemetry.trace import SpanKind, Status, StatusCode

from .._diagnostics import describe, raise_if_from_signal
from .._version import __version__
from ..exceptions import ConfigurationError
from ._attributes import common_attributes, context_keys, evaluation_attributes, span_attributes, text_attributes

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.metrics import MeterProvider
    from opentelemetry.trace import TracerProvider

    from ..records import Mode, RunRecord, RunTexts
    from ._attributes import Attributes

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
        self._tracer = trace.get_tracer(SCOPE, __version__, tracer_provider)
        self._include_texts = include_texts
        self._include_context_keys = include_context_keys
        self._mask = mask
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
        return RunSpan(self, config_key, mode, context.get_current(), time.time_ns())

    def emit(self, record: RunRecord) -> None:
        """Export a run as a trace of its own, because it is not known where it opened."""
        started_at = round(record.started_at * 1e9)
        RunSpan(self, record.config_key, record.mode, context.Context(), started_at).emit(record, None)

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


class MaskError(Exception):
    """An error of the application's masking function. It does not contain the text of that error, nor refer to it."""


class RunSpan:
    """The span of one run. It starts with the config key as its name, before the AI Config is evaluated.

    Args:
        sink: The sink that exports it.
        config_key: The key of the AI Config.
        mode: The mode of the AI Config.
        parent: The context in which the run opens.
        started_at: The start in nanoseconds since the epoch.
    """

    __slots__ = ("_context", "_key", "_parent", "_run_id", "_sink", "_span", "_started_at", "wants_texts")

    def __init__(self, sink: OpenTelemetrySink, config_key: str, mode: Mode, parent: Context, started_at: int) -> None:
        self.wants_texts: bool = sink._include_texts
        self._sink = sink
        self._parent = parent
        self._started_at = started_at
        self._run_id = ""
        kind = SpanKind.INTERNAL if mode == "agent" else SpanKind.CLIENT
        self._span = sink._tracer.start_span(config_key, context=parent, kind=kind, start_time=started_at)
        # The key marks the contexts that are derived from this one.
        self._key = context.create_key("ldai_integrations")
        # Without a provider, older versions return a span that would hide the current one.
        is_real = self._span.get_span_context().is_valid
        around = trace.set_span_in_context(self._span, parent) if is_real else parent
        self._context = context.set_value(self._key, True, around)

    def binding(self) -> ContextBinding:
        """Return a binding that makes this span the current one."""
        return ContextBinding(self._context, self._key)

    def outside(self) -> ContextBinding:
        """Return a binding that makes the parent the current span, if this span is."""
        current = context.get_current()
        if trace.get_current_span(current) is self._span:
            current = trace.set_span_in_context(trace.get_current_span(self._parent), current)
        return ContextBinding(current, self._key)

    def emit(self, record: RunRecord, texts: RunTexts | None) -> None:
        """Complete and end the span, and measure the run.

        Raises:
            MaskError: If a text or a key could not be masked. None is exported then.
        """
        self._run_id = record.run_id
        failure = None
        try:
            if self._span.is_recording():
                failure = self._complete(record, texts)
        finally:
            self._span.end(self._started_at + record.duration_ms * 1_000_000)
        self._sink._measure(record, self._context)
        if failure is not None:
            raise failure

    def drop(self) -> None:
        """End the span of a run that is not reported. It is exported, because other spans may be its children."""
        self._span.end()

    def score(self, metric_key: str, score: float, judge_key: str | None) -> None:
        """Export a score as a span below this one, which has ended."""
        name = judge_key or metric_key
        evaluation: Attributes = {"gen_ai.evaluation.name": name, "gen_ai.evaluation.score.value": score}
        attributes: Attributes = {**evaluation, "launchdarkly.run.id": self._run_id, "ldai.metric.key": metric_key}
        span = self._sink._tracer.start_span(f"evaluate {name}", context=self._context, attributes=attributes)
        span.add_event("gen_ai.evaluation.result", evaluation)
        span.end()

    def _complete(self, record: RunRecord, texts: RunTexts | None) -> MaskError | None:
        attributes, evaluation = span_attributes(record), evaluation_attributes(record)
        failure = None
        try:
            private, context_id = self._private(record, texts)
            attributes |= private
            evaluation |= context_id
        except Exception as exc:
            raise_if_from_signal(exc)
            failure = MaskError(describe(exc))
        span, subject = self._span, record.config_key if record.mode == "agent" else record.model_name
        span.update_name(f"{attributes['gen_ai.operation.name']} {subject}".rstrip())
        span.set_attributes(attributes)
        span.add_event("feature_flag", evaluation, timestamp=self._started_at)
        if record.outcome == "error":
            span.set_status(Status(StatusCode.ERROR))
        return failure

    def _private(self, record: RunRecord, texts: RunTexts | None) -> tuple[Attributes, Attributes]:
        """Return what is exported on request only: attributes of the span, and of its ``feature_flag`` event."""
        of_span: Attributes = {}
        of_event: Attributes = {}
        if texts is not None:
            of_span |= text_attributes(texts, self._mask)
        if self._sink._include_context_keys and record.ld_context is not None:
            of_span |= context_keys(record.ld_context, self._mask)
            of_event["feature_flag.context.id"] = self._mask(record.ld_context.fully_qualified_key)
        return of_span, of_event

    def _mask(self, text: str) -> str:
        masked = self._sink._mask(text)
        if not isinstance(masked, str):
            raise TypeError
        return masked


@dataclass(slots=True, eq=False)
class ContextBinding:
    """An OpenTelemetry context that is current while one piece of code works, with what that code adds to it.

    Attributes:
        bound: The context.
        key: A key that only the context and those derived from it have.
    """

    bound: Context
    key: str

    def enter(self) -> Token[Context]:
        """Make the context current."""
        return context.attach(self.bound)

    def leave(self, before: Token[Context]) -> None:
        """Restore the former context, unless the application has done so itself.

        What is current now is entered the next time, because a generator may be inside of a span.
        """
        now = context.get_current()
        if context.get_value(self.key, now):
            self.bound = now
            context.detach(before)
