"""Bursts arrive, and events that there is no room for are counted."""

from __future__ import annotations

import threading

import pytest
from ldclient import Config, LDClient

from ldai_integrations import Tracking
from ldai_integrations.delivery import SpoolingEventProcessor
from ldai_integrations.devserver import DevServer

from ..waiting import eventually
from .conftest import CONTEXT, Connect, complete_runs, processor_of, send_runs


def test_a_burst_arrives(tracking: Tracking, server: DevServer) -> None:
    """Two thousand runs at once, twice as many as the SDK has room for, arrive completely."""
    send_runs(tracking, 2_000)
    report = tracking.flush(50)
    assert (report.pending, report.dropped) == (0, 0)
    assert complete_runs(server) == 2_000


def test_a_burst_at_a_slow_endpoint_arrives(tracking: Tracking, server: DevServer) -> None:
    """Every run of a burst from eight threads arrives at an endpoint that takes half a second for each post."""
    server.inject("/bulk", delay=0.5, count=None)
    threads = [threading.Thread(target=send_runs, args=(tracking, 100)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert tracking.flush(50).complete
    assert tracking.stats().dropped == {}
    assert complete_runs(server) == 800


def test_an_outage_loses_nothing(tracking: Tracking, server: DevServer) -> None:
    """Runs from before, during and after an outage arrive, in posts of limited size."""
    send_runs(tracking, 100)
    server.inject("/bulk", status=503, count=None)
    send_runs(tracking, 400)
    assert not tracking.flush(1.5).complete
    server.clear()
    before = complete_runs(server)
    send_runs(tracking, 100)
    assert tracking.flush(50).complete
    assert complete_runs(server) - before in range(500, 601)
    assert (tracking.stats().dropped, tracking.stats().runs) == ({}, 600)


def test_a_burst_through_a_client_of_your_own_arrives(connect: Connect, server: DevServer) -> None:
    """A burst also arrives with the SDK's own event processor, because we flush by count and yield."""
    tracking = Tracking(connect())
    send_runs(tracking, 2_000)
    assert tracking.flush(50).pending == 0
    assert complete_runs(server) == 2_000


def test_small_queues_lose_nothing_to_their_size(connect: Connect, server: DevServer) -> None:
    """An inbox for ninety events accepts a thousand from one thread, which yields while they are formatted."""
    client = connect(SpoolingEventProcessor, events_max_pending=90)
    for number in range(1_000):
        client.track("event", CONTEXT, {"number": number})
    assert processor_of(client).deliver(30).dropped == 0
    assert len(server.events(key="event")) == 1_000


def test_what_does_not_fit_is_counted(
    monkeypatch: pytest.MonkeyPatch, server: DevServer, caplog: pytest.LogCaptureFixture
) -> None:
    """If formatting stops completely, callers are delayed for a limited time, and the lost events are counted."""
    stuck = threading.Event()
    monkeypatch.setattr("ldai_integrations.delivery._sdk.Engine.process", lambda *_: stuck.wait(30))
    processor = SpoolingEventProcessor(Config("test", events_uri=server.url, events_max_pending=30))
    factory = LDClient(Config("test", offline=True))._event_factory_default
    for _ in range(100):
        processor.send_event(factory.new_custom_event("event", CONTEXT, None, 1))
    _, pending, dropped = processor.counts()
    assert (pending + dropped["inbox_full"], list(dropped)) == (100, ["inbox_full"])
    assert dropped["inbox_full"] >= 50
    assert sum("raise events_max_pending" in record.message for record in caplog.records) == 1
    stuck.set()
    processor.close(5)


def test_a_client_that_is_closed_during_an_outage(connect: Connect, server: DevServer) -> None:
    """Closing ends the threads, although events still waited to be formatted."""
    before = set(threading.enumerate())
    server.inject("/bulk", status=503, count=None)
    client = connect(SpoolingEventProcessor)
    processor = processor_of(client)
    ours = [thread for thread in set(threading.enumerate()) - before if thread.name.startswith("ldai-")]
    client.track("first", CONTEXT)
    processor.flush()
    assert eventually(lambda: processor.state != "idle")
    client.track("second", CONTEXT)  # it is not formatted while the first one waits for the next try
    processor.close(0.05)

    for thread in ours:
        thread.join(10)
    assert not any(thread.is_alive() for thread in ours)
    assert processor.counts()[2] == {"closed": 3}  # with the one about the LD context
