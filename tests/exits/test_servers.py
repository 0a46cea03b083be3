"""However a server ends, or replaces its workers, the runs of all answers have arrived."""

from __future__ import annotations

import http.client
import signal
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import pytest

from ldai_integrations.devserver import DevServer

from ..waiting import eventually
from .process import Program, arrived, start

_APPS = "tests.exits.applications"
_GUNICORN = ["gunicorn", "--bind", "fd://{fd}", "--log-level", "warning", "--workers", "2"]
_UVICORN = ["uvicorn", "--fd", "{fd}", "--log-level", "warning", f"{_APPS}:asgi"]

#: The arguments of ``python -m``. What tests/contract/test_servers.py has is not repeated.
SERVERS = {
    "gunicorn gthread, preloaded": [*_GUNICORN, "--preload", "--worker-class", "gthread", f"{_APPS}:wsgi"],
    "gunicorn, recycled": [*_GUNICORN, "--max-requests", "3", f"{_APPS}:wsgi"],
    "gunicorn uvicorn, preloaded and recycled": [
        *(*_GUNICORN, "--preload", "--max-requests", "3"),
        *("--worker-class", "uvicorn_worker.UvicornWorker", f"{_APPS}:asgi"),
    ],
    "uvicorn without lifespan": [*_UVICORN, "--lifespan", "off"],
    "uvicorn, two workers without lifespan": [*_UVICORN, "--lifespan", "off", "--workers", "2"],
}
_MOST_DROPPED = 5
#: Waitress knows no SIGTERM, and is killed by it.
WAITRESS = ["tests.exits.waitress_server", "{fd}", f"{_APPS}:wsgi"]


def ask(address: tuple[str, int], path: str = "/", *, dropped: list[str] | None = None) -> str:
    """Return what an application answers.

    Args:
        address: Where it is.
        path: What is asked for.
        dropped: Where connections are noted that were closed without an answer, and asked for again: a worker that is
            recycled may do so with one that it has just taken. Without it none may be.
    """
    while True:
        connection = http.client.HTTPConnection(*address, timeout=30)
        with closing(connection):
            try:
                connection.request("GET", path, headers={"Connection": "close"})
                return connection.getresponse().read().decode()
            except ConnectionError:
                if dropped is None or len(dropped) == _MOST_DROPPED:
                    raise
                dropped.append(path)


def free_port() -> int:
    """Find a port for a server that does not take a socket."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@contextmanager
def serve(
    arguments: list[str], dev_server: DevServer, folder: Path, **environ: str
) -> Iterator[tuple[Program, tuple[str, int]]]:
    """Start a server on a socket that listens already."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(64)
        fd = listener.fileno()
        with start([part.format(fd=fd) for part in arguments], dev_server, folder, fds=(fd,), **environ) as program:
            yield program, listener.getsockname()


@pytest.mark.parametrize("server", SERVERS)
def test_a_server_is_told_to_end(dev_server: DevServer, tmp_path: Path, server: str) -> None:
    """Every answered run arrives once, that of a request which is under way at SIGTERM among them."""
    dropped: list[str] = []
    with serve(SERVERS[server], dev_server, tmp_path) as (program, address), ThreadPoolExecutor(1) as pool:
        answers = [ask(address, dropped=dropped) for _ in range(10)]
        late = pool.submit(ask, address, "/slow")
        program.await_ready()
        status = program.end(signal.SIGTERM)
        answers.append(late.result())

    assert status in (0, -signal.SIGTERM), program.log()
    told = arrived(dev_server)
    assert sorted(set(told)) == sorted(told), program.log()
    assert set(answers) <= set(told), program.log()
    assert len(told) - len(answers) <= len(dropped), program.log()  # what was dropped may have been a run


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_server_without_a_handler_is_ended_under_traffic(dev_server: DevServer, tmp_path: Path, number: int) -> None:
    """A signal that ends waitress while it serves requests loses no answered run."""
    answers: list[str] = []

    def keep_busy() -> None:
        with suppress(OSError, http.client.HTTPException):
            while True:
                answers.append(ask(address))

    with serve(WAITRESS, dev_server, tmp_path) as (program, address), ThreadPoolExecutor(4) as pool:
        busy = [pool.submit(keep_busy) for _ in range(4)]
        assert eventually(lambda: len(answers) > 100, timeout=40)
        assert program.end(number) == -number, program.log()
        for client in busy:
            client.result()

    assert {answer for answer in answers if answer} <= set(arrived(dev_server)), program.log()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_waitress_is_ended(dev_server: DevServer, tmp_path: Path, number: int) -> None:
    """Every answered run arrives, and the signal does what it did without us."""
    with serve(WAITRESS, dev_server, tmp_path) as (program, address):
        answers = [ask(address) for _ in range(10)]
        status = program.end(number)

    assert status == (-number if number == signal.SIGTERM else 0), program.log()
    assert sorted(arrived(dev_server)) == sorted(answers), program.log()
