"""Runs as OpenTelemetry's spans, and OpenTelemetry's spans as the usage of runs: the extra ``[otel]``."""

from __future__ import annotations

from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

from ._core.current import get_current
from ._core.output import Output
from ._core.run import Run
from .sinks._opentelemetry import SCOPE, OpenTelemetrySink
from .usage import read_span

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor
else:
    try:
        from opentelemetry.sdk.trace import SpanProcessor
    except ImportError:  # only who has a TracerProvider to add it to needs the SDK
        SpanProcessor = object

__all__ = ["OpenTelemetrySink", "UsageSpanProcessor"]


class UsageSpanProcessor(SpanProcessor):
    """Have runs learn their usage from the spans that an instrumentation of the provider's client makes.

    ::

        provider = TracerProvider()
        provider.add_span_processor(UsageSpanProcessor())

    A span that is started inside a run and counts tokens, in the GenAI conventions or in what OpenLLMetry and
    OpenInference write, is a provider call of that run: its tokens, model and finish reasons count. No call counts
    twice:

    - What a wrapped client or ``run.observe`` has seen too is recognised, by the response's id or by its tokens.
    - In a run whose handler says its tokens itself, by ``run.add_usage``, spans are not counted.
    - Of spans within each other, as frameworks and two instrumentations make them, the innermost count.
    - The spans of :class:`OpenTelemetrySink` do not count.

    It may be added to several providers. A span that is not sampled reaches no processor, and one that ends after its
    run comes too late; tokens of such calls are estimated as without it. Thread-safe.
    """

    def __init__(self) -> None:
        # The run keeps what is known of its spans; one that never ends keeps nothing. Ids are 64 random bits.
        self._runs: WeakValueDictionary[int, Run] = WeakValueDictionary()

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:  # noqa: ARG002  # the SDK's name
        """Remember in which run a span is started."""
        run = get_current()
        if not isinstance(run, Run) or run.finished:
            return
        with run.frame.tracking.diagnostics.guard("span", run.config_key):
            scope = span.instrumentation_scope
            if scope is None or scope.name != SCOPE:
                number = _number(span)
                self._runs[number] = run
                run.evidence.calls.overheard.began(number, span.parent.span_id if span.parent is not None else 0)

    def on_end(self, span: ReadableSpan) -> None:
        """Tell the run, if it is still open, what the span counted."""
        number = _number(span)
        run = self._runs.pop(number, None)
        if run is None or run.finished:
            return
        with run.frame.tracking.diagnostics.guard("span", run.config_key):
            reading = read_span(span.attributes)
            if reading is not None and run.evidence.calls.overheard.called(number, Output.of_reading(reading, str)):
                run.evidence.generated = True

    def shutdown(self) -> None:
        """Do nothing: there is nothing to send."""

    def force_flush(self, timeout_millis: int = 30_000) -> bool:  # noqa: ARG002  # the SDK's name
        """Do nothing, and tell that it is done."""
        return True

    def _on_ending(self, span: Span) -> None:
        """Do nothing; newer SDKs call it, and its name is theirs."""


def _number(span: ReadableSpan) -> int:
    own = span.get_span_context()
    return 0 if own is None else own.span_id
