"""The server fails exactly as requested."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import httpx
import pytest

if TYPE_CHECKING:
    from ldai_integrations.devserver import DevServer

    from .conftest import Connect

EVENTS = [{"kind": "custom", "key": "k"}]


def statuses(raw: httpx.Client, count: int) -> list[int]:
    """Post events several times, and return the statuses."""
    return [raw.post("/bulk", json=EVENTS).status_code for _ in range(count)]


def test_faults_come_in_order(server: DevServer, raw: httpx.Client) -> None:
    """Faults of one path are applied in order, each for its number of requests. Other paths are not affected."""
    server.inject("/bulk", status=503, count=2)
    server.inject("/bulk", status=429)
    assert raw.get("/sdk/latest-all").status_code == 200
    assert statuses(raw, 4) == [503, 503, 429, 202]
    assert len(server.events()) == 1


def test_endless_fault_is_cleared(server: DevServer, raw: httpx.Client) -> None:
    """A fault without a count applies until the server is cleared."""
    server.inject("/bulk", status=500, count=None)
    assert statuses(raw, 3) == [500, 500, 500]
    server.clear()
    assert statuses(raw, 1) == [202]


@pytest.mark.parametrize("handled", [False, True])
def test_closed_connection(handled: bool, server: DevServer, raw: httpx.Client) -> None:
    """The connection is closed without an answer, before or after the request is handled."""
    server.inject("/bulk", close=True, handled=handled)
    with pytest.raises(httpx.RemoteProtocolError):
        raw.post("/bulk", json=EVENTS)
    assert len(server.events()) == handled


def test_long_bodies_are_read_to_the_end(server: DevServer, raw: httpx.Client) -> None:
    """A client with a long body receives the answer, too."""
    server.inject("/bulk", status=503)
    assert raw.post("/bulk", content=bytes(2**22)).status_code == 503


def test_lost_answer(server: DevServer, raw: httpx.Client) -> None:
    """The request is handled, although the answer is an error."""
    server.inject("/bulk", status=500, handled=True)
    assert statuses(raw, 1) == [500]
    assert len(server.events()) == 1


def test_delay_alone_changes_nothing_else(server: DevServer, raw: httpx.Client) -> None:
    """A delayed request gets its usual answer later."""
    server.inject("/bulk", delay=0.05)
    start = time.perf_counter()
    assert statuses(raw, 1) == [202]
    assert time.perf_counter() - start >= 0.05


def test_empty_answer_to_a_stream_is_an_error(server: DevServer, connect: Connect) -> None:
    """For the SDK, a 204 on the stream is an error, and it connects again."""
    server.inject("/all", status=204)
    assert connect(server, initial_reconnect_delay=0.01).is_initialized()
    assert server.status()["streams"] == 1


def test_faults_over_http(server: DevServer, raw: httpx.Client) -> None:
    """Faults can be listed and replaced over HTTP, too."""
    server.inject("/all", status=503)
    wanted = [{"path": "/bulk", "status": 503, "count": 2, "delay_ms": 1.5}, {"path": "/bulk", "close": True}]
    listed = raw.put("/dev/faults", json=wanted).json()
    assert listed == [
        {"path": "/bulk", "status": 503, "count": 2, "delay_ms": 1.5, "close": False, "handled": False},
        {"path": "/bulk", "status": None, "count": 1, "delay_ms": 0, "close": True, "handled": False},
    ]
    assert statuses(raw, 1) == [503]
    assert [fault["count"] for fault in raw.get("/dev/faults").json()] == [1, 1]
    assert raw.put("/dev/faults", json=[]).json() == []
    assert statuses(raw, 1) == [202]


@pytest.mark.parametrize(
    "fault",
    [
        "x",
        {"status": 503},
        {"path": 3},
        {"path": "bulk"},
        {"path": "/bulk", "status": 42},
        {"path": "/bulk", "status": "503"},
        {"path": "/bulk", "status": True},
        {"path": "/bulk", "status": 503, "count": 0},
        {"path": "/bulk", "delay_ms": -1},
        {"path": "/bulk", "delay_ms": 10**400},
        {"path": "/bulk", "status": 503, "close": True},
        {"path": "/bulk", "close": 1},
        {"path": "/bulk", "handled": True},
        {"path": "/bulk", "retries": 1},
    ],
)
def test_impossible_faults_are_refused(fault: Any, raw: httpx.Client) -> None:
    """An invalid fault gets 400 and changes nothing."""
    raw.put("/dev/faults", json=[{"path": "/x", "status": 500}])
    answer = raw.put("/dev/faults", json=[fault])
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_request")
    assert answer.json()["message"].startswith("fault: ")
    assert [fault["path"] for fault in raw.get("/dev/faults").json()] == ["/x"]


@pytest.mark.parametrize(
    "body",
    [
        *(b"{", b"{}", b'"' + b"x" * 2**20 + b'"', b"[" * 100_000, b"\xff", rb'[{"path": "/\ud800"}]'),
        *(b'[{"path": "/bulk", "delay_ms": %b}]' % number for number in (b"NaN", b"Infinity", b"-Infinity", b"1e999")),
    ],
)
def test_body_that_is_not_a_list_of_faults_is_refused(body: bytes, raw: httpx.Client) -> None:
    """A body that is no array, is too long or too deep, or has half a character or an infinite number, gets 400."""
    answer = raw.put("/dev/faults", content=body)
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_request")
    assert raw.get("/dev/faults").json() == []


@pytest.mark.parametrize(
    ("path", "body", "message"),
    [
        ("/dev/faults", "[[]]", 'fault: it must be an object such as {"path": "/bulk", "status": 503}'),
        ("/dev/faults", "x", "the body is not JSON: Expecting value: line 1 column 1 (char 0)"),
        ("/dev/warnings", "x", "the body is not JSON: Expecting value: line 1 column 1 (char 0)"),
    ],
)
def test_the_answer_says_what_is_wrong(path: str, body: str, message: str, raw: httpx.Client) -> None:
    """The text of the error says what the body is, or must be."""
    assert raw.request("POST" if "warnings" in path else "PUT", path, content=body).json()["message"] == message


def test_contradictions_are_refused_in_python_too(server: DevServer) -> None:
    """An invalid fault raises an error in Python, too."""
    with pytest.raises(ValueError, match="either status or close"):
        server.inject("/bulk", status=503, close=True)
