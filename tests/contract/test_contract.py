"""The same promises through every integration, with the real SDK posting to the dev server over HTTP."""

from __future__ import annotations

import json

import pytest

from .cases import CASES, CONFIG_KEY, EVENTS, INNER_KEY, Case
from .client import request
from .conftest import Integration, Records


def events_of(integration: Integration, run_id: str) -> dict[str, float]:
    """Return key and value of the events that arrived for a run; each may be there once."""
    assert integration.tracking.flush(5).complete
    events = [event for event in integration.dev_server.events(run_id=run_id) if event["kind"] == "custom"]
    values = {event["key"]: event["metricValue"] for event in events}
    assert len(values) == len(events), "an event was sent twice"
    return values


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.method} {case.name}")
def test_case(integration: Integration, records: Records, case: Case) -> None:
    """One record per tracked request, with the right outcome, and exactly its events in LaunchDarkly."""
    integration.forget_calls()
    answer = request(integration.address, f"/{case.name}", method=case.method, hangs_up=case.hangs_up)

    assert answer.status == case.status
    assert answer.truncated == case.truncated
    if case.outcome is None:
        assert_nothing_reported(integration, records)
        return
    record = records.reported()
    assert record.outcome == case.outcome
    assert record.config_key == CONFIG_KEY
    events = events_of(integration, record.run_id)
    tokens = {
        f"$ld:ai:tokens:{name}": events.pop(f"$ld:ai:tokens:{name}", None) for name in ("input", "output", "total")
    }
    first_token = events.pop("$ld:ai:tokens:ttf", None)
    assert events.keys() == EVENTS[case.outcome]
    assert events["$ld:ai:duration:total"] == record.duration_ms
    assert (first_token is not None) == case.streamed
    if case.usage is not None and case.method != "HEAD":
        assert tuple(tokens.values()) == case.usage
    assert records.empty()


def assert_nothing_reported(integration: Integration, records: Records) -> None:
    """A later request's record is the next one that is reported."""
    request(integration.address, "/ok")
    record = records.reported()
    assert record.outcome == "success"
    assert records.empty()


def test_unread_text_is_estimated(integration: Integration, records: Records) -> None:
    """An answer that no provider counted is counted by us, and marked."""
    integration.forget_calls()
    request(integration.address, "/text")

    usage = records.reported().usage
    assert usage is not None
    assert usage.output_tokens == 10
    assert usage.source == "estimate"


def test_a_cached_answer_is_no_generation(integration: Integration, records: Records) -> None:
    """Once a provider call was seen, a run of the same AI Config without one is discarded."""
    request(integration.address, "/observed")
    assert records.reported().outcome == "success"
    request(integration.address, "/text")
    assert_nothing_reported(integration, records)


def test_nested(integration: Integration, records: Records) -> None:
    """Code tracked under another key has a run of its own; code tracked under the same key joins."""
    answer = json.loads(request(integration.address, "/nested").body)

    inner, outer = records.reported(), records.reported()
    assert (inner.config_key, outer.config_key) == (INNER_KEY, CONFIG_KEY)
    assert answer == {"inner": inner.run_id, "same": outer.run_id}
    assert inner.run_id != outer.run_id
    assert events_of(integration, inner.run_id).keys() >= EVENTS["success"]


def test_disabled(integration: Integration, records: Records) -> None:
    """A disabled AI Config is visible to the handler, and a run without a provider call is discarded."""
    answer = request(integration.address, "/disabled")

    assert (answer.status, json.loads(answer.body)) == (200, {"enabled": False})
    record = records.next()
    assert (record.outcome, record.enabled) == ("discarded", False)
    assert events_of(integration, record.run_id) == {}


def test_a_sink_that_explodes_is_counted(integration: Integration, records: Records) -> None:
    """The sink beside LaunchDarkly's has failed every time; the requests and the events have not noticed."""
    before = integration.tracking.stats().diagnostics.get("sink ExplodingSink", 0)
    answer = request(integration.address, "/ok")
    record = records.reported()

    assert answer.status == 200
    assert events_of(integration, record.run_id).keys() >= EVENTS["success"]
    assert integration.tracking.stats().diagnostics["sink ExplodingSink"] == before + 1
