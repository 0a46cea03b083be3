"""A flush waits, reports what became of the events, and is shared by concurrent callers."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from ldclient import Config, LDClient

from ldai_integrations import FlushReport, Tracking
from ldai_integrations.delivery import SpoolingEventProcessor, delivery_of
from ldai_integrations.devserver import DevServer
from ldai_integrations.tracking import services_of

from ..waiting import eventually
from .conftest import CONTEXT, Connect, complete_runs, processor_of, send_runs

UNKNOWN = FlushReport(sent=None, pending=None, dropped=None)


def is_ours(thread: threading.Thread) -> bool:
    """Return whether a thread delivers events."""
    return thread.name.startswith("ldai-") and "devserver" not in thread.name


def test_a_report_is_exact(tracking: Tracking, server: DevServer) -> None:
    """The events that a report calls sent have arrived by then, and stats() agrees."""
    tracking.flush()
    before = server.status()["events"]
    send_runs(tracking, 20)
    report = tracking.flush(30)
    assert report == FlushReport(sent=server.status()["events"] - before, pending=0, dropped=0)
    assert report.complete
    assert complete_runs(server) == 20
    stats = tracking.stats()
    assert (stats.runs, stats.sent, stats.pending, stats.dropped) == (20, server.status()["events"], 0, {})
    assert (stats.connection, stats.endpoint, stats.diagnostics) == ("ok", "ok", {})


def test_nothing_to_send(tracking: Tracking) -> None:
    """A flush of nothing returns at once."""
    tracking.flush(30)
    assert tracking.flush(0) == FlushReport(sent=0, pending=0, dropped=0)


def test_what_does_not_arrive_in_time_is_pending(tracking: Tracking, server: DevServer) -> None:
    """At the deadline the report has the number of waiting events, and they arrive later."""
    tracking.flush(30)
    server.inject("/bulk", status=503, count=2)
    send_runs(tracking, 3)
    report = tracking.flush(0.1)
    assert (report.sent, report.dropped, report.complete) == (0, 0, False)
    assert report.pending is not None
    assert report.pending >= 18
    assert tracking.stats().pending == report.pending
    assert tracking.flush(30).complete
    assert complete_runs(server) == 3


@pytest.mark.parametrize("processor", [None, SpoolingEventProcessor])
def test_a_report_that_hangs_leaves_time_for_what_is_there(connect: Connect, server: DevServer, processor: Any) -> None:
    """A receiver of the application that does not return delays no event of other runs."""
    tracking, go_on = Tracking(connect(processor)), threading.Event()
    send_runs(tracking, 3)
    assert services_of(tracking).flushing.worker.join(30)
    services_of(tracking).flushing.worker.submit(go_on.wait)  # type: ignore[arg-type]
    tracking.flush(1)
    go_on.set()
    assert complete_runs(server) == 3


def test_events_of_after_the_flush_do_not_count(tracking: Tracking, server: DevServer) -> None:
    """A flush under traffic ends when the events from before it have arrived."""
    stop = threading.Event()

    def traffic() -> None:
        while not stop.wait(0.001):
            send_runs(tracking, 1)

    thread = threading.Thread(target=traffic)
    thread.start()
    try:
        assert all(tracking.flush(30).complete for _ in range(5))
    finally:
        stop.set()
        thread.join()


def test_flushes_are_coalesced(tracking: Tracking, server: DevServer) -> None:
    """A hundred flushes at once, at a slow endpoint, make few posts."""
    tracking.flush(30)
    server.inject("/bulk", delay=0.2, count=None)
    before = server.status()["payloads"]

    def run_and_flush(_number: int) -> FlushReport:
        send_runs(tracking, 1)
        return tracking.flush(30)

    with ThreadPoolExecutor(50) as pool:
        reports = list(pool.map(run_and_flush, range(100)))
    assert all(report.complete for report in reports)
    assert complete_runs(server) == 100
    assert server.status()["payloads"] - before < 60


def test_aflush_leaves_the_loop_alone(tracking: Tracking, server: DevServer) -> None:
    """While aflush() waits for a slow endpoint, its event loop continues."""
    server.inject("/bulk", delay=0.5)

    async def main() -> tuple[FlushReport, int]:
        send_runs(tracking, 1)
        turns = 0
        flush = asyncio.ensure_future(tracking.aflush(30))
        while not flush.done():
            await asyncio.sleep(0.01)
            turns += 1
        return await flush, turns

    report, turns = asyncio.run(main())
    assert report.complete
    assert turns > 3


def test_flush_on_a_loop_does_not_wait(tracking: Tracking, server: DevServer, caplog: pytest.LogCaptureFixture) -> None:
    """flush() on an event loop does not wait, and logs once what to call there."""
    server.inject("/bulk", delay=1.0, count=None)

    async def main() -> list[FlushReport]:
        send_runs(tracking, 1)
        return [tracking.flush(30), tracking.flush(30)]

    begun = time.monotonic()
    reports = asyncio.run(main())
    assert time.monotonic() - begun < 30
    assert all(report.pending for report in reports)
    assert [record.message for record in caplog.records if "await aflush()" in record.message] == [
        "flush() was called on an event loop and does not wait; await aflush() there."
    ]
    assert tracking.stats().diagnostics["flush_on_loop"] == 2
    server.clear()
    assert tracking.flush(30).complete


def test_a_run_that_is_still_reported_is_pending(tracking: Tracking) -> None:
    """A flush is not complete while a run waits for its report, on an event loop or after the timeout."""
    tracking.flush(30)
    go_on = threading.Event()
    services_of(tracking).flushing.worker.submit(go_on.wait)  # type: ignore[arg-type]  # what it returns is ignored

    async def main() -> FlushReport:
        send_runs(tracking, 1)
        return tracking.flush()

    reports = [asyncio.run(main()), tracking.flush(0.1)]
    go_on.set()
    assert [report.complete for report in reports] == [False, False]
    assert reports[1].pending == 2
    assert tracking.flush(30).complete


def test_close_is_bounded(server: DevServer, no_leaks: None, caplog: pytest.LogCaptureFixture) -> None:
    """Closing ends even if the endpoint hangs. Events that cannot be sent, or come later, are counted."""
    processor = SpoolingEventProcessor(Config("test", events_uri=server.url))
    server.inject("/bulk", delay=20, count=None)
    client = LDClient(Config("test", offline=True))
    factory = client._event_factory_default
    for number in range(5_000):
        processor.send_event(factory.new_custom_event("event", CONTEXT, {"number": number}, 1))
    assert eventually(lambda: processor.counts()[1] == 5_001)  # the first that is formatted brings the index event
    report = processor.close(0.5)
    assert report.sent == 0
    assert report.pending
    assert report.dropped
    assert report.pending + report.dropped == 5_001
    for _ in range(3):
        processor.send_event(factory.new_custom_event("event", CONTEXT, None, 1))
    _, pending, dropped = processor.counts()
    assert pending + dropped["closed"] == 5_001 + 3
    assert set(dropped) == {"closed"}
    assert sum("LDClient is closed" in record.message for record in caplog.records) == 1
    assert processor.close(10) == FlushReport(sent=0, pending=0, dropped=0)


def test_closing_a_client_delivers(connect: Connect, server: DevServer) -> None:
    """LDClient.close() alone delivers the buffered events, and the threads end."""
    before = set(threading.enumerate())
    client = connect(SpoolingEventProcessor)
    for _ in range(10):
        client.track("event", CONTEXT)
    client.close()
    assert len(server.events(key="event")) == 10
    assert eventually(lambda: not any(is_ours(thread) for thread in set(threading.enumerate()) - before))


def test_a_client_of_your_own_is_flushed(connect: Connect, server: DevServer) -> None:
    """With the SDK's event processor a flush waits until it is idle. What arrived is unknown."""
    tracking = Tracking(connect())
    send_runs(tracking, 20)
    assert tracking.flush(30) == FlushReport(sent=None, pending=0, dropped=None)
    assert complete_runs(server) == 20
    stats = tracking.stats()
    assert (stats.runs, stats.sent, stats.pending, stats.dropped, stats.endpoint) == (20, None, None, {}, None)


def test_more_than_the_sdk_posts_at_once_is_waited_for(connect: Connect, server: DevServer) -> None:
    """The SDK ignores a flush while all its senders are busy. Ours is repeated."""
    client = connect()
    tracking = Tracking(client)
    server.inject("/bulk", delay=0.5, count=5)
    for _ in range(5):
        send_runs(tracking, 1)
        client.flush()
        time.sleep(0.05)
    send_runs(tracking, 1)
    assert tracking.flush(30).complete
    assert complete_runs(server) == 6


def test_a_full_queue_of_the_sdk_is_waited_for(connect: Connect, server: DevServer) -> None:
    """A flush that the SDK would refuse because its inbox is full waits for room, and is counted."""
    client = connect(events_max_pending=50)
    tracking = Tracking(client)
    processor: Any = client._event_processor
    inbox = processor._inbox
    factory = client._event_factory_default
    blocked = threading.Event()
    inbox.put(type("Message", (), {"type": "test_sync", "param": type("Reply", (), {"set": blocked.wait})})())
    assert eventually(inbox.empty)  # then the SDK's thread is held up
    for _ in range(60):
        processor.send_event(factory.new_custom_event("event", CONTEXT, None, 1))
    report: list[FlushReport] = []
    flusher = threading.Thread(target=lambda: report.append(tracking.flush(30)))
    flusher.start()
    try:
        assert eventually(lambda: "flush_refused" in tracking.stats().diagnostics)
    finally:
        blocked.set()
        flusher.join(30)
    assert report == [FlushReport(sent=None, pending=0, dropped=None)]
    assert len(server.events(key="event")) >= 40


def test_callers_share_the_flush_of_a_client_of_your_own(connect: Connect, server: DevServer) -> None:
    """Thirty flushes at a slow endpoint make few posts."""
    tracking = Tracking(connect())
    send_runs(tracking, 1)
    tracking.flush(30)
    before = server.status()["payloads"]
    server.inject("/bulk", delay=0.2, count=None)

    def run_and_flush(_number: int) -> FlushReport:
        send_runs(tracking, 1)
        return tracking.flush(60)

    with ThreadPoolExecutor(30) as pool:
        reports = list(pool.map(run_and_flush, range(30)))
    assert all(report.complete for report in reports)
    assert complete_runs(server) == 31
    assert server.status()["payloads"] - before < 25


def test_a_slow_flush_ends_at_the_deadline(connect: Connect, server: DevServer) -> None:
    """A flush of a client of the user ends at its deadline, and so do those that wait for it."""
    tracking = Tracking(connect())
    server.inject("/bulk", delay=1, count=1)
    send_runs(tracking, 1)
    with ThreadPoolExecutor(2) as pool:
        reports = list(pool.map(lambda _: tracking.flush(0.2), range(2)))
    assert reports == [UNKNOWN, UNKNOWN]
    assert tracking.flush(30).pending == 0


def test_unknown_event_processors(tracking: Tracking, client: LDClient) -> None:
    """With an unknown event processor, a flush is requested and nothing is known about it."""
    assert Tracking(client).flush(5) == UNKNOWN


def test_a_client_that_sends_nothing() -> None:
    """Without events nothing is pending, and that is known."""
    for config in (Config("test", offline=True), Config("test", send_events=False, use_ldd=True)):
        client = LDClient(config)
        tracking = Tracking(client)
        send_runs(tracking, 1)
        assert tracking.flush(5) == FlushReport(sent=0, pending=0, dropped=0)
        assert (tracking.stats().sent, tracking.stats().pending) == (0, 0)
        client.close()


def test_after_a_fork_the_new_processor_is_used(connect: Connect, server: DevServer) -> None:
    """After ``LDClient.postfork()``, both kinds of delivery use the new event processor."""
    for kind in (SpoolingEventProcessor, None):
        client = connect(kind, use_ldd=True)  # which has no threads but those for events
        delivery = delivery_of(client, services_of(Tracking(client)).diagnostics)
        delivery.flush(30)
        old = client._event_processor
        client.postfork()
        assert client._event_processor is not old
        delivery.track("forked", CONTEXT)
        assert delivery.flush(30).complete
        old.stop()
    assert len(server.events(key="forked")) == 2


def test_in_a_forked_child_the_parents_queue_is_the_parents(
    connect: Connect, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Without ``postfork()`` a child does not send the parent's events, does not hang and does not fill its memory."""
    processor = processor_of(connect(SpoolingEventProcessor, events_max_pending=30))
    factory = LDClient(Config("test", offline=True))._event_factory_default
    monkeypatch.setattr("os.getpid", lambda: -1)
    nothing = FlushReport(sent=0, pending=0, dropped=0)
    with caplog.at_level(logging.WARNING):
        for _ in range(100):
            processor.send_event(factory.new_custom_event("event", CONTEXT, None, 1))
        processor.flush()
        assert (processor.deliver(10), processor.close(10)) == (nothing, nothing)
    assert sum("postfork()" in record.message for record in caplog.records) == 1
    monkeypatch.undo()
