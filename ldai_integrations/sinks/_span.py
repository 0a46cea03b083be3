"""The span of one run, from its start to its scores.

The AI Config is evaluated outside of the span: LaunchDarkly's own hook writes the variation, with its prompts, and the
key of the LD context into the span that is current then.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import Token
from dataclasses import dataclass
from typing import TYPE_CHECKING

from opentelemetry import context, trace
from opentelemetry.trace import SpanKind, Status, StatusCode

from .._diagnostics import describe, raise_if_from_signal
from ._attributes import context_keys, evaluation_attributes, span_attributes, text_attributes

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.trace import Tracer

    from ..records import Mode, RunRecord, RunTexts
    from ._attributes import Attributes


@dataclass(frozen=True, slots=True, kw_only=True)
class Exporting:
    """What is exported of each run, and how.

    Attributes:
        tracer: Creates the spans.
        measure: Called with each record, and the context of its span for the metrics.
        texts: Whether prompts and answers are exported.
        context_keys: Whether the keys of the LD context are exported.
        mask: Called with each of these before.
    """

    tracer: Tracer
    measure: Callable[[RunRecord, Context], None]
    texts: bool
    context_keys: bool
    mask: Callable[[str], str]


class MaskError(Exception):
    """An error of the application's masking function. It does not contain the text of that error, nor refer to it."""


class RunSpan:
    """The span of one run. It starts with the config key as its name, before the AI Config is evaluated.

    Args:
        exporting: What is exported.
        config_key: The key of the AI Config.
        mode: The mode of the AI Config.
        parent: The context in which the run opens.
        started_at: The start in nanoseconds since the epoch.
    """

    __slots__ = ("_context", "_exporting", "_key", "_parent", "_run_id", "_span", "_started_at", "wants_texts")

    def __init__(self, exporting: Exporting, config_key: str, mode: Mode, parent: Context, started_at: int) -> None:
        self.wants_texts: bool = exporting.texts
        self._exporting = exporting
        self._parent = parent
        self._started_at = started_at
        self._run_id = ""
        kind = SpanKind.INTERNAL if mode == "agent" else SpanKind.CLIENT
        self._span = exporting.tracer.start_span(config_key, context=parent, kind=kind, start_time=started_at)
        # By the key, a context is recognised as derived from this one.
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
        self._exporting.measure(record, self._context)
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
        span = self._exporting.tracer.start_span(f"evaluate {name}", context=self._context, attributes=attributes)
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
        if self._exporting.context_keys and record.ld_context is not None:
            of_span |= context_keys(record.ld_context, self._mask)
            of_event["feature_flag.context.id"] = self._mask(record.ld_context.fully_qualified_key)
        return of_span, of_event

    def _mask(self, text: str) -> str:
        masked = self._exporting.mask(text)
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
