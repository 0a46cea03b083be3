"""Scores of a run are spans below its span."""

from __future__ import annotations

from typing import Any

from ldclient import LDClient
from opentelemetry import trace

from ldai_integrations import Settings, Tracking, track_ai
from ldai_integrations.judges import JudgeSettings
from ldai_integrations.testing import OfflineLaunchDarkly

from ..judges.conftest import one_run
from .conftest import Telemetry


def evaluation(telemetry: Telemetry, name: str) -> tuple[dict[str, Any], Any]:
    """Return the attributes of the evaluation on the span with a name, and the id of the span above it."""
    span = telemetry.spans()[name]
    [event] = span.events
    assert event.name == "gen_ai.evaluation.result"
    assert span.parent is not None
    assert dict(event.attributes or {}).items() <= dict(span.attributes or {}).items()
    return dict(event.attributes or {}), span.parent.span_id


def test_a_judge(client: LDClient, o200k: None, telemetry: Telemetry) -> None:
    """The score of a judge is an event on a span below the run's, and so are the spans of the judge's own call."""

    def model(_messages: Any, _config: Any) -> str:
        telemetry.call()
        return '{"score": 0.75, "reasoning": "to the point"}'

    settings = Settings(judges=JudgeSettings(model=model), flush="never")
    tracking = Tracking(client, settings=settings, sinks=[telemetry.sink()])
    one_run(tracking)
    tracking.flush(30)
    tracking.close()
    result, parent = evaluation(telemetry, "evaluate relevance")
    spans = telemetry.spans()
    run = spans["chat gpt-4o-mini"].context.span_id
    call = spans["call"].parent

    assert result == {"gen_ai.evaluation.name": "relevance", "gen_ai.evaluation.score.value": 0.75}
    assert parent == run
    assert call is not None
    assert call.span_id == run


def test_a_score_of_the_application(
    launchdarkly: OfflineLaunchDarkly, tracking: Tracking, telemetry: Telemetry
) -> None:
    """The score that the application gives is named after its metric."""
    with telemetry.tracer.start_as_current_span("request"), track_ai("bot", tracking=tracking) as run:
        run.evaluate("helpful", 1.0)
    tracking.flush()
    result, parent = evaluation(telemetry, "evaluate helpful")

    assert result == {"gen_ai.evaluation.name": "helpful", "gen_ai.evaluation.score.value": 1.0}
    assert parent == telemetry.spans()["chat gpt-4o-mini"].context.span_id
    assert not trace.get_current_span().is_recording()
    assert run.finished


def test_scores_of_runs_that_are_not_reported(tracking: Tracking, telemetry: Telemetry) -> None:
    """A discarded run has no scores."""
    with track_ai("bot", tracking=tracking) as run:
        run.evaluate("helpful", 1.0)
        run.discard()
    tracking.flush()

    assert set(telemetry.spans()) == {"bot"}
