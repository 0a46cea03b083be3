"""A dev server is ready at the start of the with block, and leaves nothing after its end."""

from __future__ import annotations

import logging
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import httpx
import pytest

from ldai_integrations.devserver import DevServer

from ..waiting import eventually
from .samples import FLAGS

if TYPE_CHECKING:
    from .conftest import Connect


def own_threads() -> set[str]:
    """Return the names of the threads that a dev server may have started."""
    return {thread.name for thread in threading.enumerate() if "ldclient" not in thread.name} - {"MainThread"}


def test_nothing_is_left(connect: Connect, caplog: pytest.LogCaptureFixture) -> None:
    """A server stops although clients stream and requests wait, and leaves neither threads nor sockets."""
    caplog.set_level(logging.WARNING, "uvicorn")
    before = own_threads()
    with DevServer(FLAGS) as server, ThreadPoolExecutor(1) as pool:
        for _ in range(5):
            assert connect(server, send_events=False).is_initialized()
        httpx.post(f"{server.url}/bulk", json=[], trust_env=False)
        server.inject("/dev/status", close=True, delay=60)
        hanging = pool.submit(httpx.get, f"{server.url}/dev/status", trust_env=False, timeout=60)
        assert eventually(lambda: not httpx.get(f"{server.url}/dev/faults", trust_env=False).json())
        start = time.monotonic()
        server.__exit__(None, None, None)
        assert time.monotonic() - start < 20  # the delay of the request is 60
        assert isinstance(hanging.exception(), httpx.TransportError)
    assert own_threads() <= before
    address = urlsplit(server.url)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((address.hostname, address.port))
    assert [record for record in caplog.records if record.name.startswith("uvicorn")] == []


def test_two_servers_share_nothing() -> None:
    """Two servers in one process have separate events."""
    with DevServer(FLAGS) as one, DevServer(FLAGS) as other:
        httpx.post(f"{one.url}/bulk", json=[{"kind": "custom"}], trust_env=False)
        assert (len(one.events()), len(other.events())) == (1, 0)


def test_taken_port_is_reported() -> None:
    """A port that is already in use is an error at the start, and nothing stays open."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(OSError, match="in use"), DevServer(FLAGS, port=port):
            pass
    with DevServer(FLAGS, port=port) as server:
        assert server.url == f"http://127.0.0.1:{port}"


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.0.1", "example.com", ""])
def test_other_hosts_are_refused(host: str) -> None:
    """The server listens on loopback addresses only."""
    with pytest.raises(ValueError, match="not a loopback address"):
        DevServer(FLAGS, host=host)


@pytest.mark.skipif(not socket.has_ipv6, reason="this Python has no IPv6")
def test_ipv6_loopback_works() -> None:
    """The server can listen on ::1. Its URL has brackets."""
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("this machine has no ::1")
    with DevServer(FLAGS, host="::1") as server:
        assert httpx.get(f"{server.url}/dev/status", trust_env=False).status_code == 200


def test_failure_at_the_start_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    """If uvicorn fails to start, the with statement raises its error."""

    def fail(*_: object, **_options: object) -> None:
        raise RuntimeError("no event loop today")

    monkeypatch.setattr("uvicorn.Server.startup", fail)
    with pytest.raises(RuntimeError, match="no event loop today"), DevServer(FLAGS):
        pass
