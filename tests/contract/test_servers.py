"""The promises on servers that bring a process of their own: nothing is lost between a request and SIGTERM."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ldai_integrations.devserver import DevServer

from ..waiting import eventually
from .cases import CASES, EVENTS
from .client import request
from .conftest import FLAGS
from .servers import Address

pytestmark = pytest.mark.server

ROOT = Path(__file__).parents[2]

_APPLICATIONS = "tests.contract.applications"
_GUNICORN = ["gunicorn", "--bind", "fd://{fd}", "--log-level", "critical"]

_UVICORN = ["uvicorn", "--fd", "{fd}", "--timeout-graceful-shutdown", "1", "--factory"]
_GRANIAN = ["granian", "--host", "127.0.0.1", "--port", "{port}", "--no-log"]
_WSGI, _ASGI = f"{_APPLICATIONS}:wsgi()", f"{_APPLICATIONS}:asgi()"

#: The arguments of ``python -m``.
SERVERS = {
    "gunicorn sync": [*_GUNICORN, "--worker-class", "sync", _WSGI],
    "gunicorn gthread": [*_GUNICORN, "--worker-class", "gthread", "--threads", "4", _WSGI],
    "gunicorn gevent": [*_GUNICORN, "--worker-class", "gevent", _WSGI],
    "gunicorn uvicorn": [*_GUNICORN, "--worker-class", "uvicorn_worker.UvicornWorker", _ASGI],
    "gevent": ["tests.contract.gevent_server", "{fd}"],
    "hypercorn": ["hypercorn", "--bind", "fd://{fd}", "--log-level", "critical", "--graceful-timeout", "1", _ASGI],
    "uvicorn": [*_UVICORN, f"{_APPLICATIONS}:asgi"],
}
#: Servers in the extra [servers].
MORE_SERVERS = {
    "granian asgi": [*_GRANIAN, "--interface", "asgi", "--factory", f"{_APPLICATIONS}:asgi"],
    "granian wsgi": [*_GRANIAN, "--interface", "wsgi", "--factory", f"{_APPLICATIONS}:wsgi"],
    "uvicorn uvloop": [*_UVICORN, "--loop", "uvloop", f"{_APPLICATIONS}:asgi"],
}

_ASKED = [case for case in CASES if case.name in ("ok", "observed", "stream", "raise", "stream-raises", "slow")]

# How many streams are open when the server is told to end.
_TOGETHER = 5

_TOKENS = {f"$ld:ai:tokens:{name}" for name in ("input", "output", "total", "ttf")}


@pytest.fixture(scope="module")
def dev_server() -> Iterator[DevServer]:
    """Serve the AI Configs of the contract to other processes."""
    with DevServer(FLAGS) as server:
        yield server


@contextmanager
def serve(arguments: list[str], dev_server: DevServer, log: Path) -> Iterator[tuple[Address, subprocess.Popen[bytes]]]:
    """Start a server on a socket that is already listening, so that clients need not wait, or else on a free port."""
    with socket.socket() as listener, log.open("wb") as output:
        listener.bind(("127.0.0.1", 0))
        address: Address = listener.getsockname()
        fd, takes_socket = listener.fileno(), "{port}" not in arguments
        if takes_socket:
            listener.listen(64)
        else:
            listener.close()
        process = subprocess.Popen(
            [sys.executable, "-m", *(part.format(fd=fd, port=address[1]) for part in arguments)],
            cwd=ROOT,
            env={**os.environ, "LDAI_DEV_SERVER": dev_server.url},
            pass_fds=[fd] if takes_socket else [],
            stdout=output,
            stderr=output,
        )
        try:
            if not takes_socket:
                assert eventually(lambda: _accepts(address), timeout=40), log.read_text()
            yield address, process
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()


def _accepts(address: Address) -> bool:
    with socket.socket() as client:
        return client.connect_ex(address) == 0


def end(process: subprocess.Popen[bytes]) -> None:
    """End a server as a process manager does; Uvicorn passes the signal on to itself when it is done."""
    process.send_signal(signal.SIGTERM)
    assert process.wait(50) in (0, -signal.SIGTERM)


def events_by_run(dev_server: DevServer) -> dict[str, list[str]]:
    """Return the names of the events of each run."""
    runs: dict[str, list[str]] = {}
    for event in dev_server.events():
        if event["kind"] == "custom" and "runId" in event["data"]:
            runs.setdefault(event["data"]["runId"], []).append(event["key"])
    return runs


@pytest.mark.parametrize("server", [*SERVERS, *MORE_SERVERS])
def test_every_event_has_arrived_when_the_server_has_ended(dev_server: DevServer, tmp_path: Path, server: str) -> None:
    """Each request's run is told once, with its outcome, and SIGTERM loses nothing."""
    if server in MORE_SERVERS:
        for package in server.split():
            if package not in ("asgi", "wsgi"):
                pytest.importorskip(package)
    dev_server.clear()
    log = tmp_path / "log"
    with serve({**SERVERS, **MORE_SERVERS}[server], dev_server, log) as (address, process):
        for case in _ASKED:
            answer = request(address, f"/{case.name}", method=case.method, hangs_up=case.hangs_up)
            assert (answer.status, answer.truncated) == (case.status, case.truncated), log.read_text()
        end(process)

    runs = events_by_run(dev_server).values()
    expected = [EVENTS[case.outcome] for case in _ASKED if case.outcome is not None]
    assert Counter(frozenset(names) - _TOKENS for names in runs) == Counter(map(frozenset, expected)), log.read_text()
    assert all(len(names) == len(set(names)) for names in runs), "an event was sent twice"


@pytest.mark.parametrize("server", ["hypercorn", "uvicorn"])
def test_streams_that_the_shutdown_breaks_off(dev_server: DevServer, tmp_path: Path, server: str) -> None:
    """What does not end in the time that the server gives it is cancelled, and told; what ends is a success.

    Hypercorn waits for open connections first where Python's own servers do, which is since 3.12.1.
    """
    dev_server.clear()
    log = tmp_path / "log"
    with serve(SERVERS[server], dev_server, log) as (address, process):
        connections = [http.client.HTTPConnection(*address, timeout=60) for _ in range(_TOGETHER)]
        for connection in connections:
            connection.request("GET", "/slow")
        responses = [connection.getresponse() for connection in connections]
        assert all(response.read(20) for response in responses), log.read_text()
        process.send_signal(signal.SIGTERM)
        whole = [_reads_to_its_end(response) for response in responses]
        end(process)
        for connection in connections:
            connection.close()

    told = Counter(frozenset(names) - _TOKENS for names in events_by_run(dev_server).values())
    expected = (EVENTS["success" if ended else "cancelled"] for ended in whole)
    assert told == Counter(map(frozenset, expected)), log.read_text()


def _reads_to_its_end(response: http.client.HTTPResponse) -> bool:
    try:
        response.read()
    except http.client.IncompleteRead:
        return False
    return True
