"""Reports on a background thread: complete, in order, and without delay for requests."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from ldclient import Config, LDClient

from ldai_integrations import RunRecord, Tracking, track_ai

from ..conftest import Events, FlagsInMemory


class HeldEvents(Events):
    """Events that LaunchDarkly's client cannot take before ``go_on`` is set."""

    def __init__(self) -> None:
        super().__init__()
        self.go_on = threading.Event()

    def send_event(self, event: Any) -> None:
        """Wait with an event of a run."""
        if isinstance(getattr(event, "data", None), dict) and "runId" in event.data:
            assert self.go_on.wait(20)
        super().send_event(event)


@pytest.fixture
def held(no_leaks: None) -> Iterator[tuple[Tracking, HeldEvents]]:
    """Give a Tracking whose reports wait until the test lets them go on."""
    events = HeldEvents()
    config = Config("test", update_processor_class=FlagsInMemory, event_processor_class=lambda _config: events)
    with closing(LDClient(config)) as client:
        yield Tracking(client), events
        events.go_on.set()


def test_a_run_is_reported_off_the_callers_thread(held: tuple[Tracking, HeldEvents]) -> None:
    """If only LaunchDarkly receives the record, the handler does not wait for the report, and a flush does."""
    tracking, events = held
    assert track_ai(config_key="chat", tracking=tracking)(lambda: "Hello")() == "Hello"
    assert events.of_runs() == []
    events.go_on.set()
    tracking.flush()
    assert "generation:success" in dict(events.of_runs())


def test_runs_are_reported_in_order(held: tuple[Tracking, HeldEvents]) -> None:
    """The events of runs arrive in the order in which the runs ended."""
    tracking, events = held
    ids = []
    for _ in range(100):
        with track_ai(config_key="chat", tracking=tracking) as run:
            ids.append(run.id)
    events.go_on.set()
    tracking.flush()
    assert [event.data["runId"] for event in events.named("generation:success")] == ids


def test_a_flush_has_an_end(held: tuple[Tracking, HeldEvents]) -> None:
    """A flush returns at its timeout even if a report is not complete."""
    tracking, events = held
    track_ai(config_key="chat", tracking=tracking)(lambda: "Hello")()
    tracking.flush(0.02)
    assert events.of_runs() == []


def test_where_no_thread_can_be_started_the_caller_reports(
    tracking: Tracking, events: Events, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An interpreter that is ending starts no threads: the run is reported at once."""

    def refuse(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread at interpreter shutdown")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    track_ai(config_key="chat", tracking=tracking)(lambda: "Hello")()
    assert "generation:success" in dict(events.of_runs())


def test_a_sink_that_would_end_the_thread_does_not(client: LDClient, o200k: None) -> None:
    """A sink that raises SystemExit on the background thread is counted, and the next run is reported."""
    outcomes = []

    class Sink:
        def emit(self, record: RunRecord) -> None:
            outcomes.append(record.outcome)
            raise SystemExit

    tracking = Tracking(client, sinks=[Sink()])
    for _ in range(2):
        track_ai(config_key="chat", tracking=tracking)(lambda: "word " * 100_000)()  # so much is counted on our thread
    tracking.flush()
    assert outcomes == ["success"] * 2
    assert tracking.stats().diagnostics["report"] == 2


def test_values_that_cannot_be_compared_do_not_reach_the_handler(tracking: Tracking, events: Events) -> None:
    """Values that raise when they are compared do not affect the handler."""

    class Incomparable:
        def __eq__(self, _other: object) -> bool:
            raise ValueError("the truth value is ambiguous")

        __hash__ = None  # type: ignore[assignment]

    with track_ai(config_key="summary", tracking=tracking):
        for _ in range(2):
            with track_ai(config_key="chat", tracking=tracking, variables={"company": Incomparable()}):
                pass
    tracking.flush()
    assert dict(events.of_runs()).keys() >= {"duration:total", "generation:success"}


def test_receivers_get_the_record_where_the_run_ended(tracking: Tracking, records: list[RunRecord]) -> None:
    """The application's receivers get the record before the decorated call returns."""
    track_ai(config_key="chat", tracking=tracking)(lambda: "Hello")()
    assert [record.outcome for record in records] == ["success"]


def test_the_application_is_asked_for_its_user_in_its_own_request(tracking: Tracking) -> None:
    """``ld_context`` is called on the handler's thread, even if nothing used the AI Config before the end."""
    asked: list[int] = []

    def ld_context() -> None:
        asked.append(threading.get_ident())

    with track_ai(config_key="chat", tracking=tracking, ld_context=ld_context):
        pass
    tracking.flush()
    assert asked == [threading.get_ident()]
