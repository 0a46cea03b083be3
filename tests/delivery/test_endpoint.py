"""No answer of the events endpoint loses an event that it would accept later, and the cause is logged once."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, HTTPServer, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest
from ldclient import Config, LDClient
from ldclient.config import HTTPConfig

from ldai_integrations import Tracking, _http
from ldai_integrations.delivery import SpoolingEventProcessor
from ldai_integrations.delivery._batch import Answer, Batch, Poster
from ldai_integrations.delivery._sdk import Engine
from ldai_integrations.devserver import DevServer

from .conftest import CONTEXT, Connect, complete_runs, processor_of, send_runs, small, uris

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("status", [301, 400, 401, 403, 404, 405, 408, 413, 429, 500, 503])
def test_one_bad_answer_loses_nothing(status: int, tracking: Tracking, server: DevServer) -> None:
    """After one answer of any kind the same events arrive, each once."""
    server.inject("/bulk", status=status)
    send_runs(tracking, 5)
    report = tracking.flush(30)
    assert (report.pending, report.dropped) == (0, 0)
    assert complete_runs(server) == 5
    assert tracking.stats().endpoint == "ok"


@pytest.mark.parametrize("handled", [False, True])
def test_an_answer_that_never_comes_loses_nothing(handled: bool, tracking: Tracking, server: DevServer) -> None:
    """A post whose connection breaks, before or after the endpoint accepts it, is sent again and counted once."""
    server.inject("/bulk", close=True, handled=handled, count=2)
    send_runs(tracking, 5)
    assert tracking.flush(30).complete
    assert complete_runs(server) == 5
    assert server.status()["duplicatePayloads"] == (2 if handled else 0)


@pytest.mark.parametrize(
    ("status", "remedy"),
    [(400, "malformed"), (401, "SDK key"), (403, "SDK key"), (404, "events_uri"), (405, "proxy"), (503, "status page")],
)
def test_a_refusing_endpoint_is_logged_once(
    status: int, remedy: str, tracking: Tracking, server: DevServer, caplog: pytest.LogCaptureFixture
) -> None:
    """An endpoint that keeps refusing is reported by stats() and, with the remedy, by one warning. The events wait."""
    tracking.flush(30)
    server.inject("/bulk", status=status, count=None)
    send_runs(tracking, 2)
    assert not tracking.flush(1.5).complete
    assert tracking.stats().endpoint == f"HTTP {status}"
    (warning,) = [record for record in caplog.records if f"(HTTP {status})" in record.message]
    assert (warning.levelno, remedy in warning.message) == (logging.WARNING, True)
    assert ("unavailable" in warning.message) == (status == 503)
    server.clear()
    assert tracking.flush(30).complete
    assert complete_runs(server) == 2


def test_an_unreachable_endpoint(no_leaks: None, caplog: pytest.LogCaptureFixture) -> None:
    """An endpoint that cannot be reached is logged once, and the events wait."""
    with HTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as unused:
        port = unused.server_port
    address = uris(f"http://127.0.0.1:{port}")
    client = LDClient(Config("test", use_ldd=True, event_processor_class=SpoolingEventProcessor, **address))
    client.track("event", CONTEXT)
    processor = processor_of(client)
    assert processor.deliver(0.5).pending == 2
    assert processor.state == "unreachable"
    assert processor.close(0).dropped == 2
    assert sum("(unreachable)" in record.message for record in caplog.records) == 1
    client.close()


def test_a_batch_that_is_too_large_is_halved(connect: Connect, server: DevServer) -> None:
    """Batches that are too large are halved until they are accepted, and no event is lost."""
    client = connect(SpoolingEventProcessor)
    server.inject("/bulk", status=413, count=6)
    for number in range(100):
        client.track("event", CONTEXT, {"number": number})
    assert processor_of(client).deliver(30).dropped == 0
    assert sorted(event["data"]["number"] for event in server.events(key="event")) == list(range(100))


@pytest.mark.parametrize(("status", "reason"), [(413, "too_large"), (400, "malformed")])
def test_a_single_event_that_is_refused(
    status: int, reason: str, connect: Connect, server: DevServer, caplog: pytest.LogCaptureFixture
) -> None:
    """A single event that is refused is lost, counted and logged. The next events are sent."""
    client = connect(SpoolingEventProcessor, omit_anonymous_contexts=True)
    processor = processor_of(client)
    client.track("event", CONTEXT)
    processor.deliver(30)
    server.inject("/bulk", status=status, count=3 if status == 400 else 1)
    client.track("event", CONTEXT)
    assert processor.deliver(30).dropped == 1
    assert processor.counts()[2] == {reason: 1}
    assert sum(f"({reason})" in record.message for record in caplog.records) == 1
    client.track("event", CONTEXT)
    assert processor.deliver(30).complete
    assert len(server.events(key="event")) == 2


def test_a_full_spool_drops_the_oldest(connect: Connect, server: DevServer, caplog: pytest.LogCaptureFixture) -> None:
    """Beyond its limit the spool drops the oldest events, counts them exactly, and logs it once."""
    client = connect(small(max_spool_bytes=20_000))
    processor = processor_of(client)
    server.inject("/bulk", status=503, count=None)
    for number in range(20_000):
        client.track("event", CONTEXT, {"number": number})
    processor.deliver(2)
    server.clear()
    assert processor.deliver(30).pending == 0
    sent, pending, dropped = processor.counts()
    arrived = [event["data"]["number"] for event in server.events(key="event")]
    assert dropped["spool_full"] > 0
    assert (pending, list(dropped), sent + dropped["spool_full"]) == (0, ["spool_full"], 20_001)
    assert len(arrived) == len(set(arrived)) == sent - len(server.events(kind="index"))
    assert 19_999 in arrived
    assert sum("The oldest are lost" in record.message for record in caplog.records) == 1


def test_compressed_events(connect: Connect, server: DevServer) -> None:
    """A client that is configured for compression sends compressed posts."""
    client = connect(SpoolingEventProcessor, enable_event_compression=True)
    client.track("event", CONTEXT, {"text": "x" * 1_000})
    assert processor_of(client).deliver(30).complete
    assert server.events(key="event")[0]["data"] == {"text": "x" * 1_000}


class _Asking(BaseHTTPRequestHandler):
    """Answer with the headers that the path names."""

    def do_POST(self) -> None:
        """Ask the client to wait."""
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(429)
        self.send_header("Retry-After", self.path.split("/")[1].replace("_", " "))
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_args: object) -> None:
        """Log nothing."""


@pytest.fixture
def asking() -> Iterator[str]:
    """Serve :class:`_Asking`."""
    with HTTPServer(("127.0.0.1", 0), _Asking) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("header", "seconds"),
    [("7", 7.0), ("Thu,_01_Jan_2015_00:00:00_GMT", 0.0), ("100000", 300.0), ("soon", 0.0)],
)
def test_retry_after_is_read(header: str, seconds: float, asking: str) -> None:
    """Retry-After is read as seconds or as a date, limited, and ignored if it is neither."""
    config = Config("test", events_uri=f"{asking}/{header}")
    poster = Poster(config, Engine(config))
    assert poster.post(Batch([], 0)) == Answer(429, seconds)
    poster.close()


@pytest.mark.skipif(not hasattr(time, "tzset"), reason="the time zone of the process cannot be changed")
def test_a_date_without_a_zone_is_in_utc(asking: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest form of a date in HTTP names no zone, and the process may run in any."""
    try:
        with monkeypatch.context() as changed:
            changed.setenv("TZ", "UTC+8")
            time.tzset()
            config = Config("test", events_uri=f"{asking}/{time.asctime(time.gmtime()).replace(' ', '_')}")
            poster = Poster(config, Engine(config))
            assert poster.post(Batch([], 0)) == Answer(429, 0.0)
            poster.close()
    finally:
        time.tzset()


class _TooLarge(BaseHTTPRequestHandler):
    """Call every post too large, and note when it came."""

    times: ClassVar[list[float]] = []

    def do_POST(self) -> None:
        """Refuse a post."""
        self.rfile.read(int(self.headers["Content-Length"]))
        self.times.append(time.monotonic())
        self.send_response(413)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_args: object) -> None:
        """Log nothing."""


@contextmanager
def serving(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    """Serve requests, each in a thread of its own."""
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def test_an_endpoint_that_calls_everything_too_large(no_leaks: None, caplog: pytest.LogCaptureFixture) -> None:
    """It is asked less and less often, the cause is logged once, and every event is counted as lost or waiting."""
    _TooLarge.times.clear()
    with serving(_TooLarge) as url:
        config = Config("test", use_ldd=True, event_processor_class=SpoolingEventProcessor, **uris(url))
        client = LDClient(config)
        processor = processor_of(client)
        for number in range(1_000):
            client.track("event", CONTEXT, {"number": number})
        report = processor.deliver(4)
        assert len(_TooLarge.times) < 30
        sent, pending, dropped = processor.counts()
        assert (report.sent, sent) == (0, 0)
        assert pending + dropped["too_large"] == 1_001
        assert processor.state == "HTTP 413"
        assert sum("calls even a single event too large" in record.message for record in caplog.records) == 1
        processor.close(0)
        client.close()
    assert sum(processor.counts()[2].values()) + processor.counts()[1] == 1_001


class _Dripping(BaseHTTPRequestHandler):
    """Send a status, headers or a body that take very long."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        """Begin an answer."""
        self.rfile.read(int(self.headers["Content-Length"]))
        first, then = {
            "/status": (b"HTTP/1.1 ", b"2"),
            "/headers": (b"HTTP/1.1 202 Accepted\r\n", b"X-Header: x\r\n"),
            "/body": (b"HTTP/1.1 202 Accepted\r\nConnection: close\r\n\r\n", b"x"),
        }[self.path.removesuffix("/bulk")]
        with suppress(OSError):
            self.wfile.write(first)
            for _ in range(90):
                time.sleep(0.1)
                self.wfile.write(then)

    def log_message(self, *_args: object) -> None:
        """Log nothing."""


@pytest.mark.parametrize(
    ("path", "answer"), [("status", Answer(None)), ("headers", Answer(None)), ("body", Answer(202))]
)
def test_the_time_of_a_post_is_limited(path: str, answer: Answer, monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer that takes too long ends at the limit. It counts if its headers have arrived; the body is not read."""
    monkeypatch.setattr("ldai_integrations._http._HEAD_SECONDS", 1.0)
    with serving(_Dripping) as url:
        config = Config("test", events_uri=f"{url}/{path}", http=HTTPConfig(connect_timeout=1, read_timeout=1))
        poster = Poster(config, Engine(config))
        begun = time.monotonic()
        assert poster.post(Batch([], 0)) == answer
        assert time.monotonic() - begun < 4
        poster.close()


def test_the_documented_time_of_a_post() -> None:
    """The limit that the test above shortens is the one in docs/delivery.md."""
    page = " ".join((ROOT / "docs" / "delivery.md").read_text(encoding="utf-8").split())
    assert f"A request gets {_http._HEAD_SECONDS:g} seconds for its answer" in page


class _Counting(_Asking):
    """Count connections."""

    protocol_version = "HTTP/1.1"
    connections: ClassVar[set[object]] = set()

    def do_POST(self) -> None:
        """Accept a post."""
        self.rfile.read(int(self.headers["Content-Length"]))
        self.connections.add(self.client_address)
        self.send_response(202)
        self.send_header("Content-Length", "0")
        self.end_headers()


def test_posts_share_a_connection() -> None:
    """One poster keeps its connection from post to post."""
    _Counting.connections.clear()
    with serving(_Counting) as url:
        config = Config("test", events_uri=url)
        poster = Poster(config, Engine(config))
        assert [poster.post(Batch([], 0)) for _ in range(3)] == [Answer(202)] * 3
        poster.close()
    assert len(_Counting.connections) == 1
