"""Streams that are under way at SIGTERM are told, with the outcome that the client saw."""

from __future__ import annotations

import http.client
import signal
import socket
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
import uvicorn
from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, Request, TextMessage

from ldai_integrations.devserver import DevServer

from .process import outcomes
from .test_servers import serve

# The last line of a stream that was not broken off.
_END = b"end\n"
# Seconds: how long runs have where a signal kills, and what no server waits for.
_A_MOMENT, _TOO_LONG = 1.0, 60.0
_APP = "tests.exits.streaming:app"
_GUNICORN = ["gunicorn", "--bind", "fd://{fd}", "--log-level", "warning", "--worker-class"]

#: The arguments of ``python -m``.
SERVERS = {
    "gunicorn sync": [*_GUNICORN, "sync", _APP],
    "gunicorn gthread": [*_GUNICORN, "gthread", _APP],
    "gunicorn gevent": [*_GUNICORN, "gevent", _APP],
    "gunicorn uvicorn": [*_GUNICORN, "uvicorn_worker.UvicornWorker", _APP],
    "gevent": ["tests.exits.gevent_server", "{fd}", "killed"],
    "gevent, stopped": ["tests.exits.gevent_server", "{fd}", "stopped"],
    "waitress": ["tests.exits.waitress_server", "{fd}", _APP],
    "hypercorn": ["hypercorn", "--bind", "fd://{fd}", "--graceful-timeout", "20", _APP],
    "uvicorn": ["uvicorn", "--fd", "{fd}", "--timeout-graceful-shutdown", "20", "--log-level", "warning", _APP],
}
#: How those that go on with their requests are told to do so for a second only.
HURRIED = {"hypercorn": ["--graceful-timeout", "1"], "uvicorn": ["--timeout-graceful-shutdown", "1"]}
#: Those that SIGTERM kills; the others have a handler for it, and go on with their requests.
KILLED = ("gevent", "waitress")

_OLD_UVICORN = pytest.mark.skipif(
    tuple(map(int, uvicorn.__version__.split(".")[:2])) < (0, 47),
    reason="before 0.47 Uvicorn dies at once, unless there is a lifespan: before a stream that it breaks off learns of "
    "it, and before Django 5.0 has closed a response that was read to its end",
)
_WAITING_HYPERCORN = pytest.mark.skipif(
    sys.version_info >= (3, 12, 1), reason="Hypercorn waits for streams to end where Python's own servers do"
)


@pytest.mark.parametrize(
    ("server", "framework"),
    [
        ("gunicorn sync", "flask"),
        ("gunicorn gthread", "flask"),
        ("gunicorn gthread", "django_wsgi"),
        ("gunicorn gevent", "flask"),
        ("gunicorn gevent", "django_wsgi"),
        ("gunicorn uvicorn", "fastapi"),
        ("gunicorn uvicorn", "django_asgi"),
        ("gevent", "flask"),
        ("gevent, stopped", "flask"),
        ("waitress", "flask"),
        ("waitress", "django_wsgi"),
        ("hypercorn", "fastapi"),
        ("hypercorn", "django_asgi"),
        ("uvicorn", "fastapi"),
        pytest.param("uvicorn", "django_asgi", marks=_OLD_UVICORN),
    ],
)
def test_a_stream_that_ends_in_time(dev_server: DevServer, tmp_path: Path, server: str, framework: str) -> None:
    """It is a success: where SIGTERM kills there is time for it, and where the server goes on nobody cuts it short."""
    seconds = 0.3 if server in KILLED else 1.3
    run_id, is_whole, took, log = _stream_until_the_end(dev_server, tmp_path, server, framework, seconds)

    told = outcomes(dev_server)
    assert told.keys() == {run_id}, log
    if server not in KILLED or not is_whole or took < _A_MOMENT:  # on a busy machine it may take longer to be whole
        assert told == {run_id: "success" if is_whole else "cancelled"}, log


@pytest.mark.parametrize(
    ("server", "framework"),
    [
        ("gevent", "flask"),
        ("gevent, stopped", "flask"),
        ("waitress", "flask"),
        ("waitress", "django_wsgi"),
        pytest.param("hypercorn", "fastapi", marks=_WAITING_HYPERCORN),
        pytest.param("hypercorn", "django_asgi", marks=_WAITING_HYPERCORN),
        ("uvicorn", "fastapi"),
        pytest.param("uvicorn", "django_asgi", marks=_OLD_UVICORN),
    ],
)
def test_a_stream_that_is_broken_off(dev_server: DevServer, tmp_path: Path, server: str, framework: str) -> None:
    """It is cancelled, whether the signal breaks it off or the server."""
    run_id, is_whole, _, log = _stream_until_the_end(dev_server, tmp_path, server, framework, _TOO_LONG)

    assert not is_whole
    assert outcomes(dev_server) == {run_id: "cancelled"}, log


@pytest.mark.parametrize("path", ["/answer", "/ask"])
def test_a_websocket_that_is_open(dev_server: DevServer, tmp_path: Path, path: str) -> None:
    """The run of an exchange that is broken off is cancelled, in the middle of speaking and of listening."""
    with serve([*SERVERS["uvicorn"], *HURRIED["uvicorn"]], dev_server, tmp_path, FRAMEWORK="fastapi") as (
        program,
        address,
    ):
        with socket.create_connection(address, timeout=30) as connection:
            run_id = _first_message(connection, path)
            program.send(signal.SIGTERM)
            with suppress(ConnectionError):
                while connection.recv(4096):
                    pass
        assert program.end() in (0, -signal.SIGTERM), program.log()

    assert outcomes(dev_server) == {run_id: "cancelled"}, program.log()


def _stream_until_the_end(
    dev_server: DevServer, folder: Path, server: str, framework: str, seconds: float
) -> tuple[str, bool, float, str]:
    """End a server while it streams.

    Returns:
        The id of the run, whether its stream was whole, how long after the signal it ended, and the server's log.
    """
    options = HURRIED.get(server, []) if seconds == _TOO_LONG else []
    with serve([*SERVERS[server], *options], dev_server, folder, FRAMEWORK=framework) as (program, address):
        connection = http.client.HTTPConnection(*address, timeout=50)
        connection.request("GET", f"/{seconds}")
        response = connection.getresponse()
        assert response.status == 200, program.log()
        run_id = response.readline().decode().strip()
        begun = time.monotonic()
        program.send(signal.SIGTERM)
        last = b""
        with suppress(http.client.IncompleteRead, ConnectionError):
            while line := response.readline():
                last = line
        took = time.monotonic() - begun
        connection.close()
        assert program.end() == (-signal.SIGTERM if server in KILLED or server == "uvicorn" else 0), program.log()
    return run_id, last == _END, took, program.log()


def _first_message(connection: socket.socket, path: str) -> str:
    websocket = WSConnection(ConnectionType.CLIENT)
    connection.sendall(websocket.send(Request(host="test", target=path)))
    while True:
        websocket.receive_data(connection.recv(4096))
        for event in websocket.events():
            if isinstance(event, TextMessage):
                return event.data.strip()
            assert isinstance(event, AcceptConnection), event
