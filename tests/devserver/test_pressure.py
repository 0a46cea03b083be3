"""Clients that send much, or that never read, neither fill the memory nor block other clients."""

from __future__ import annotations

import asyncio
import gzip
import json
import socket
import statistics
import time
import tracemalloc
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress

import httpx
import pytest

from ldai_integrations.devserver import DevServer
from ldai_integrations.devserver._flags import FlagStore

from ..waiting import eventually
from .samples import FLAGS, edited

pytestmark = pytest.mark.soak

MB = 2**20
EVENTS = [{"kind": "custom", "key": "k"}]


@pytest.fixture
def traced() -> Iterator[None]:
    """Trace the memory of a test for :func:`used`."""
    tracemalloc.start()
    yield
    tracemalloc.stop()


def used() -> float:
    """Return the most memory that was in use since the trace began, in MB."""
    return tracemalloc.get_traced_memory()[1] / MB


def open_request(server: DevServer, head: str) -> socket.socket:
    """Send the head of a request on a new connection."""
    host, port = server.url.removeprefix("http://").split(":")
    connection = socket.create_connection((host, int(port)), timeout=10)
    connection.sendall(f"{head}\r\nHost: {host}:{port}\r\n\r\n".encode())
    return connection


def upload(connection: socket.socket, size: int) -> None:
    """Send a part of a body, until the server closes the connection."""
    chunk = bytes(64 * 1024)
    with suppress(OSError):
        for _ in range(size // len(chunk)):
            connection.sendall(chunk)


def answers(raw: httpx.Client) -> float:
    """Return the time in seconds in which a client can store an event and read the status."""
    begun = time.monotonic()
    assert raw.post("/bulk", json=EVENTS).status_code == 202
    assert raw.get("/dev/status").status_code == 200
    return time.monotonic() - begun


@pytest.mark.usefixtures("traced")
def test_open_bodies_do_not_fill_the_memory(server: DevServer, raw: httpx.Client) -> None:
    """Forty open bodies of 20 MB use a limited memory, and other clients get their answers meanwhile."""
    with ExitStack() as opened, ThreadPoolExecutor(8) as pool:
        head = f"POST /bulk HTTP/1.1\r\nContent-Length: {21 * MB}"
        connections = [opened.enter_context(open_request(server, head)) for _ in range(40)]
        list(pool.map(lambda connection: upload(connection, 20 * MB), connections))
        assert used() < 250
        assert answers(raw) < 5
    assert server.events(key="k")


@pytest.mark.usefixtures("traced")
def test_compressed_bodies_do_not_fill_the_memory(server: DevServer, raw: httpx.Client) -> None:
    """Twelve small bodies with 30 MB inside use a limited memory."""
    bomb = gzip.compress(b"[" + b" " * 30 * MB + b"]")
    with ThreadPoolExecutor(20) as pool:
        posts = pool.map(
            lambda _: raw.post("/bulk", content=bomb, headers={"Content-Encoding": "gzip"}, timeout=60), range(12)
        )
        assert {post.status_code for post in posts} == {202}
    assert used() < 250


def post_compressed(raw: httpx.Client, body: bytes) -> int:
    """Post events as gzip and return the status."""
    headers = {"Content-Encoding": "gzip"}
    return raw.post("/bulk", content=gzip.compress(body), headers=headers, timeout=60).status_code


def test_a_million_events_in_one_payload_are_refused(server: DevServer, raw: httpx.Client) -> None:
    """A payload of 3 kB with a million events is refused at once, and nothing of it is stored."""
    begun = time.monotonic()
    assert post_compressed(raw, b"[" + b"{}," * 1_000_000 + b"{}]") == 400
    assert time.monotonic() - begun < 2
    assert server.status()["events"] == 0


def test_others_read_while_many_events_are_stored(server: DevServer, raw: httpx.Client) -> None:
    """While the most events are stored that a payload may have, other clients wait for a small part of that time."""
    with ThreadPoolExecutor(1) as pool:
        post = pool.submit(post_compressed, raw, b"[" + b"{}," * 99_999 + b"{}]")
        begun, longest = time.monotonic(), 0.0
        while not post.done():
            asked = time.monotonic()
            assert raw.get("/dev/runs?config_key=k", timeout=60).status_code == 200
            longest = max(longest, time.monotonic() - asked)
        assert post.result() == 202
    assert longest < max(0.2, (time.monotonic() - begun) / 4)
    assert server.status()["events"] == 100_000


def test_a_large_diagnostic_is_not_read(server: DevServer, raw: httpx.Client) -> None:
    """A diagnostic of 20 MB, which no SDK sends, is not parsed, which would block others. Its connection is closed."""
    body = gzip.compress(b"[" + b"[]," * 7_000_000 + b"[]]")
    with pytest.raises(httpx.RemoteProtocolError):
        raw.post("/diagnostic", content=body, headers={"Content-Encoding": "gzip"}, timeout=60)
    assert server.status()["refusedPayloads"] == 1


def test_large_bodies_are_stored_one_after_the_other(server: DevServer, raw: httpx.Client) -> None:
    """Two payloads of 20 MB at once are stored."""
    body = json.dumps([{"kind": "custom", "key": "k", "data": "x" * 20 * MB}]).encode()
    with ThreadPoolExecutor(2) as pool:
        posts = list(pool.map(lambda _: raw.post("/bulk", content=body, timeout=60), range(2)))
    assert [post.status_code for post in posts] == [202, 202]
    assert len(server.events(key="k")) == 2


def test_streams_and_silent_readers_block_nobody(server: DevServer, raw: httpx.Client) -> None:
    """A hundred flag streams and fifty other clients, none of which ever reads, leave the server fast."""
    raw.post("/bulk", json=[{"kind": "custom", "key": "k", "data": "x" * 10_000}] * 500)
    with ExitStack() as opened:
        for path in ("/all",) * 100 + ("/dev/events", "/dev/monitor/live", "/sdk/latest-all", "/dev/totals", "/") * 10:
            opened.enter_context(open_request(server, f"GET {path} HTTP/1.1"))
        for number in range(20):
            server.set_flags(edited(note="x" * (MB // 4), salt=str(number)))
        assert answers(raw) < 5


def test_open_pages_that_never_read_block_nobody(server: DevServer, raw: httpx.Client) -> None:
    """While the figures of 40,000 runs change for fifty open pages, other clients get their answers at once."""
    event = {"kind": "custom", "key": "$ld:ai:duration:total", "creationDate": int(time.time() * 1000)}
    runs = [
        {**event, "data": {"runId": str(number), "configKey": "chat", "variationKey": "small", "version": 1}}
        for number in range(40_000)
    ]
    raw.post("/bulk", json=runs, timeout=60)
    with ExitStack() as opened:
        for _ in range(50):
            page = opened.enter_context(open_request(server, "GET /dev/monitor/live?config_key=chat HTTP/1.1"))
            assert page.recv(15) == b"HTTP/1.1 200 OK"
        assert statistics.median(answers(raw) for _ in range(20)) < 0.5


def test_the_number_of_open_pages_is_limited(server: DevServer, raw: httpx.Client) -> None:
    """If 100 pages are open, another one gets 503, until one of them is closed."""
    with ExitStack() as opened:
        pages = [opened.enter_context(open_request(server, "GET /dev/monitor/live HTTP/1.1")) for _ in range(100)]
        for page in pages:
            assert page.recv(100).startswith(b"HTTP/1.1 200")
        answer = raw.get("/dev/monitor/live")
        assert (answer.status_code, answer.json()["code"]) == (503, "service_unavailable")
        pages[0].close()
        raw.post("/bulk", json=[{"kind": "custom", "key": "k"}])

        def is_answered() -> bool:
            with raw.stream("GET", "/dev/monitor/live") as stream:
                return stream.status_code == 200

        assert eventually(is_answered)


def test_pages_that_open_at_once_are_limited(server: DevServer) -> None:
    """Of 250 pages that open at the same moment, 100 are served."""
    with ExitStack() as opened:
        pages = [opened.enter_context(open_request(server, "GET /dev/monitor/live HTTP/1.1")) for _ in range(250)]
        statuses = [page.recv(12)[9:] for page in pages]
    assert (statuses.count(b"200"), statuses.count(b"503")) == (100, 150)


def test_the_metrics_of_many_variations(server: DevServer, raw: httpx.Client) -> None:
    """The metrics of ten times as many variations take about ten times as long."""

    def measure(config_key: str, count: int) -> float:
        event = {"kind": "custom", "key": "$ld:ai:tokens:total", "metricValue": 1}
        data = [{"configKey": config_key, "variationKey": f"v{number}"} for number in range(count)]
        raw.post("/bulk", json=[{**event, "data": one} for one in data], timeout=60)
        begun = time.process_time()
        assert len(server.metrics(config_key, by_variation=True)) == count
        return time.process_time() - begun

    assert measure("many", 20_000) < 30 * max(0.05, measure("few", 2_000))


def test_changes_do_not_pile_up_for_a_client_that_does_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """After many changes, a stream that was not read gets few messages. The last one that has flags has the newest."""
    monkeypatch.setattr("ldai_integrations.devserver._flags.HEARTBEAT_SECONDS", 0.1)

    async def read() -> list[bytes]:
        flags = FlagStore(FLAGS)
        stream = flags.stream()
        await anext(stream)
        for number in range(100):
            flags.replace(edited(salt=str(number)))
        messages = []
        while (message := await anext(stream)) != b":\n\n":
            messages.append(message)
        await stream.aclose()
        return messages

    messages = asyncio.run(read())
    assert len(messages) <= 8
    assert any(message.startswith(b"event: put") for message in messages)
    assert b'"salt":"99"' in messages[-1]


def test_streams_share_the_flags_that_they_send() -> None:
    """Many clients that do not read hold the flags in memory once, and not once for each of them."""

    async def read() -> list[bytes]:
        flags = FlagStore(FLAGS)
        return [await anext(flags.stream()) for _ in range(2)]

    first, second = asyncio.run(read())
    assert first is second
