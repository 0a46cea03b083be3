"""Runs as OpenTelemetry spans, and spans of instrumentations as provider calls: the extra ``[otel]``."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary, WeakValueDictionary

from ._extras import needs_extra
from ._run.current import get_open_run
from ._run.failures import is_stop, may_be_billed_as
from ._run.state import RunState
from .usage import read_span

with needs_extra("otel"):
    from opentelemetry.sdk.trace import SpanProcessor
    from opentelemetry.trace import StatusCode

    from .sinks._opentelemetry import SCOPE, OpenTelemetrySink

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import ReadableSpan, Span

__all__ = ["OpenTelemetrySink", "UsageSpanProcessor"]

# How many spans of one run are remembered with their parents. Later spans count whatever their parents are.
_MOST_SPANS = 10_000


class _Spans:
    """The spans of one run.

    Of nested spans with tokens, the innermost one is the provider call. A span without tokens is a call if no span with
    tokens is around it or in it, and no other call is in it.
    """

    def __init__(self) -> None:
        self._parents: dict[int, int] = {}
        # Whether each ended span of a model has tokens. The spans around those that have tokens, and around the others.
        self._has_tokens: dict[int, bool] = {}
        self._around = {True: set[int](), False: set[int]()}

    def start(self, span_id: int, parent_id: int) -> None:
        """Add a span that starts."""
        if len(self._parents) < _MOST_SPANS:
            self._parents[span_id] = parent_id

    def end(self, span_id: int, *, has_tokens: bool) -> bool:
        """Add a span that says that it is a call of a model; return whether it is new."""
        if span_id in self._has_tokens:
            return False
        self._has_tokens[span_id] = has_tokens
        self._around[has_tokens].update(self._spans_around(span_id))
        return True

    def is_call(self, span_id: int) -> bool:
        """Return whether an ended span of a model is a provider call, when all spans have ended."""
        if span_id in self._around[True]:
            return False
        if self._has_tokens[span_id]:
            return True
        return span_id not in self._around[False] and not any(map(self._has_tokens.get, self._spans_around(span_id)))

    def _spans_around(self, span_id: int) -> set[int]:
        around, parent = set[int](), self._parents.get(span_id)
        while parent and parent not in around:
            around.add(parent)
            parent = self._parents.get(parent)
        return around


# Shared by all processors: several may see the same span.
_spans: WeakKeyDictionary[RunState, _Spans] = WeakKeyDictionary()


class UsageSpanProcessor(SpanProcessor):
    """A span processor that reports the spans of an instrumented provider client to the current run.

    ::

        provider = TracerProvider()
        provider.add_span_processor(UsageSpanProcessor())

    A span that starts inside a run and is a call of a model is a provider call of that run. Its tokens are read from
    the GenAI conventions, or from the attributes of OpenLLMetry and OpenInference. A call without tokens and without a
    finish reason whose span is an error is a failed call. No call counts twice:

    - A call that a wrapped client or ``run.observe`` has seen is recognized by its response id or its tokens.
    - In a run whose handler reports its tokens with ``run.add_usage``, spans are not counted.
    - If spans are nested, because a framework or a second instrumentation creates spans too, the innermost one with
      tokens counts.
    - The spans of :class:`OpenTelemetrySink` do not count.

    It may be added to several providers. A span that is not sampled reaches no processor, and a span that ends after
    its run comes too late. The tokens of such calls are estimated, as without the processor. Thread-safe.
    """

    def __init__(self) -> None:
        # Weak references, because the owner of a run decides how long it lives. Span ids are 64 random bits.
        self._runs: WeakValueDictionary[int, RunState] = WeakValueDictionary()

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:  # noqa: ARG002  # the SDK's name
        """Remember in which run a span starts."""
        run = get_open_run()
        if run is None:
            return
        with run.services.diagnostics.guard("span", run.config_key):
            scope = span.instrumentation_scope
            if scope is None or scope.name != SCOPE:
                span_id = _id_of(span)
                self._runs[span_id] = run
                _spans.setdefault(run, _Spans()).start(span_id, span.parent.span_id if span.parent is not None else 0)

    def on_end(self, span: ReadableSpan) -> None:
        """Report what the span counted to its run, if the run is still open."""
        span_id = _id_of(span)
        run = self._runs.pop(span_id, None)
        if run is None or run.finished:
            return
        with run.services.diagnostics.guard("span", run.config_key):
            reading, spans = read_span(span.attributes), _spans[run]
            if reading is None or not spans.end(span_id, has_tokens=reading.usage is not None):
                return
            # Some instrumentations end the span of a stream that nobody reads to its end as a failure.
            is_finished = not set(reading.finish_reasons) <= {"error"}
            error = ""
            if reading.usage is None and span.status.status_code is StatusCode.ERROR and not is_finished:
                error = str((span.attributes or {}).get("error.type") or "error")
            call, now, epoch = run.ledger.begin("span"), run.services.clock(), time.time_ns()
            # Only an answer that had begun has an id.
            call.is_cut_short = bool(error) and (is_stop(error) or may_be_billed_as(error) or bool(reading.ids))
            call.is_cancelled = is_stop(error)
            if error and not call.is_cancelled:
                reading = replace(reading, error=error)
            call.read = lambda: reading if spans.is_call(span_id) else None
            call.started_at = now - (epoch - (span.start_time or epoch)) / 1e9
            call.end(now - (epoch - (span.end_time or epoch)) / 1e9)

    def force_flush(self, timeout_millis: int = 30_000) -> bool:  # noqa: ARG002  # the SDK's name
        """Report success: there is nothing to send. The method of older SDKs reports nothing, which is a failure."""
        return True


def _id_of(span: ReadableSpan) -> int:
    context = span.get_span_context()
    return 0 if context is None else context.span_id
