"""OpenTelemetry's SDK with everything kept in memory, and a LaunchDarkly without a network."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from ldai_integrations import Tracking
from ldai_integrations.opentelemetry import OpenTelemetrySink, UsageSpanProcessor
from ldai_integrations.testing import Clock, OfflineLaunchDarkly, RecordingSink, ai_config

Attributes = dict[str, Any]


class Telemetry:
    """Collect spans and metrics."""

    def __init__(self) -> None:
        self.exporter, self.reader = InMemorySpanExporter(), InMemoryMetricReader()
        self.traces = TracerProvider(shutdown_on_exit=False)
        self.traces.add_span_processor(UsageSpanProcessor())
        self.traces.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.meters = MeterProvider([self.reader], shutdown_on_exit=False)
        self.tracer = self.traces.get_tracer("some.instrumentation")

    def sink(self) -> OpenTelemetrySink:
        """Make a sink that writes here."""
        return OpenTelemetrySink(tracer_provider=self.traces, meter_provider=self.meters)

    def spans(self) -> dict[str, ReadableSpan]:
        """Return the finished spans by name, which must differ."""
        finished = self.exporter.get_finished_spans()
        found = {span.name: span for span in finished}
        assert len(found) == len(finished)
        return found

    def points(self, name: str) -> list[Any]:
        """Return the points of a metric."""
        data = self.reader.get_metrics_data()
        found = [
            metric.data.data_points
            for resource in (data.resource_metrics if data is not None else ())
            for scope in resource.scope_metrics
            for metric in scope.metrics
            if metric.name == name
        ]
        return [point for points in found for point in points]

    def call(self, **attributes: Any) -> None:
        """Make a span as an instrumentation does of a provider call; ``__`` in names are dots."""
        named = {name.replace("__", "."): value for name, value in attributes.items()}
        with self.tracer.start_as_current_span("call") as span:
            span.set_attributes(named)


@pytest.fixture
def telemetry() -> Iterator[Telemetry]:
    """Give an SDK of OpenTelemetry that no other test sees."""
    telemetry = Telemetry()
    yield telemetry
    telemetry.traces.shutdown()
    telemetry.meters.shutdown()


@pytest.fixture
def clock() -> Clock:
    """Give the clock of :func:`launchdarkly`."""
    return Clock()


@pytest.fixture
def launchdarkly(no_leaks: None, o200k: None, telemetry: Telemetry, clock: Clock) -> Iterator[OfflineLaunchDarkly]:
    """Serve a completion and an agent; runs are written as spans."""
    configs = {
        "bot": ai_config(messages="Be brief.", variation_key="small", version=3),
        "helper": ai_config("claude-sonnet-4", instructions="Help.", provider="Anthropic"),
    }
    with OfflineLaunchDarkly(configs, sinks=[telemetry.sink()], clock=clock) as launchdarkly:
        yield launchdarkly


@pytest.fixture
def sink(launchdarkly: OfflineLaunchDarkly) -> RecordingSink:
    """Keep what :func:`tracking` reports."""
    return launchdarkly.sink


@pytest.fixture
def tracking(launchdarkly: OfflineLaunchDarkly) -> Tracking:
    """Give the Tracking that writes spans."""
    return launchdarkly.tracking
