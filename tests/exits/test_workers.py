"""The prefork pools of Celery and uWSGI, and the processes of Apache, lose no run either."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

import pytest

from ldai_integrations.devserver import DevServer

from ..waiting import eventually
from .process import ROOT, arrived, outcomes, start
from .test_servers import ask, free_port

_CELERY = [
    *("celery", "-A", "tests.exits.celery_app", "worker", "--without-gossip", "--without-mingle"),
    *("--pool", "prefork", "--concurrency", "1"),
]
# Built for this very Python, as its worker loads the interpreter.
_UWSGI = Path(sys.executable).parent / "uwsgi"
_MOD_WSGI = Path(sys.executable).parent / "mod_wsgi-express"


@pytest.mark.skipif(find_spec("celery") is None, reason="Celery is not installed")
@pytest.mark.parametrize("tasks_per_child", [0, 1])
def test_children_of_a_celery_worker_end(dev_server: DevServer, tmp_path: Path, tasks_per_child: int) -> None:
    """The runs of tasks arrive, from a child that ends with its worker, and from children that are replaced."""
    options = ["--max-tasks-per-child", str(tasks_per_child)] if tasks_per_child else []
    environ = {**os.environ, "LDAI_DEV_SERVER": dev_server.url, "RUNS": str(tmp_path / "runs")}
    # Before there is a worker: it may read the file of a task that is not yet written, and dies of it.
    subprocess.run([sys.executable, "-m", "tests.exits.celery_app"], env=environ, cwd=ROOT, check=True)
    with start([*_CELERY, *options], dev_server, tmp_path) as program:
        assert eventually(lambda: len(program.made()) == 3, timeout=40), program.log()
        if tasks_per_child:
            # Each child ends by itself, after its task. The worker is not told to end: billiard then kills the last
            # child, rarely while it holds the lock of the queue of tasks, for which the worker waits forever.
            assert eventually(lambda: len(arrived(dev_server)) == 3), program.log()
        else:
            assert program.end(signal.SIGTERM) == 0, program.log()

    assert sorted(arrived(dev_server)) == sorted(program.made()), program.log()


@pytest.mark.skipif(not _UWSGI.exists(), reason="uWSGI is not installed: it needs a compiler")
@pytest.mark.parametrize("options", [[], ["--py-call-uwsgi-fork-hooks"], ["--lazy-apps"], ["--max-requests", "3"]])
def test_uwsgi_is_told_to_end(dev_server: DevServer, tmp_path: Path, options: list[str]) -> None:
    """Workers that were forked after the import, and those that replace them, lose nothing."""
    port = free_port()
    # Without --enable-threads uWSGI runs no thread of Python, and LaunchDarkly's SDK does not work at all.
    command = [str(_UWSGI), "--master", "--enable-threads", "--die-on-term", "--need-app", "--processes", "2", *options]
    command += ["--http-socket", f"127.0.0.1:{port}", "--module", "tests.exits.applications:wsgi", "--home", sys.prefix]
    with start(command, dev_server, tmp_path) as program:
        loads = 2 if "--lazy-apps" in options else 1
        assert eventually(lambda: program.log().count(" ready in ") == loads, timeout=40), program.log()
        assert eventually(lambda: "spawned uWSGI worker 2" in program.log()), program.log()
        answers = [ask(("127.0.0.1", port)) for _ in range(10)]
        # A worker that is still busy with a request when it is told to end is not allowed any more Python.
        assert eventually(lambda: program.log().count("generated 36 bytes") == len(answers)), program.log()
        assert program.end(signal.SIGTERM) == 0, program.log()

    assert sorted(arrived(dev_server)) == sorted(answers), program.log()


@pytest.mark.skipif(not _UWSGI.exists(), reason="uWSGI is not installed: it needs a compiler")
def test_uwsgi_is_told_to_end_while_its_workers_are_busy(dev_server: DevServer, tmp_path: Path) -> None:
    """Where it lets its workers finish, the runs of all answers arrive, also those of workers with a full queue."""
    port = free_port()
    command = [str(_UWSGI), "--master", "--enable-threads", "--need-app", "--processes", "2", "--home", sys.prefix]
    command += ["--http-socket", f"127.0.0.1:{port}", "--module", "tests.exits.applications:wsgi"]
    command += ["--py-call-uwsgi-fork-hooks", "--hook-master-start", "unix_signal:15 gracefully_kill_them_all"]
    answers: list[str] = []

    def keep_busy() -> None:
        with suppress(OSError, http.client.HTTPException):
            while True:
                answers.append(ask(("127.0.0.1", port)))

    with start(command, dev_server, tmp_path) as program, ThreadPoolExecutor(6) as pool:
        assert eventually(lambda: "spawned uWSGI worker 2" in program.log(), timeout=40), program.log()
        busy = [pool.submit(keep_busy) for _ in range(6)]
        assert eventually(lambda: len(answers) > 100, timeout=40)
        assert program.end(signal.SIGTERM) == 0, program.log()
        for client in busy:
            client.result()

    assert {answer for answer in answers if answer} <= set(arrived(dev_server)), program.log()


@pytest.mark.skipif(not _UWSGI.exists(), reason="uWSGI is not installed: it needs a compiler")
@pytest.mark.parametrize("leaves", [False, True])
def test_uwsgi_is_told_to_end_while_it_streams(dev_server: DevServer, tmp_path: Path, leaves: bool) -> None:
    """Where it lets its workers finish, the run of a stream arrives once, with the outcome that the client saw.

    With ``--die-on-term`` a worker that is busy is not allowed any more Python, and nobody could tell of it.
    """
    port = free_port()
    command = [str(_UWSGI), "--master", "--enable-threads", "--need-app", "--http-socket", f"127.0.0.1:{port}"]
    command += ["--module", "tests.exits.streaming:app", "--home", sys.prefix]
    command += ["--py-call-uwsgi-fork-hooks", "--hook-master-start", "unix_signal:15 gracefully_kill_them_all"]
    with start(command, dev_server, tmp_path, FRAMEWORK="flask") as program:
        assert eventually(lambda: "spawned uWSGI worker 1" in program.log(), timeout=40), program.log()
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=50)
        connection.request("GET", "/2.0")
        response = connection.getresponse()
        run_id = response.readline().decode().strip()
        program.send(signal.SIGTERM)
        if leaves:
            response.close()
        else:
            assert response.read().endswith(b"end\n")
        connection.close()
        assert program.end() == 0, program.log()

    assert outcomes(dev_server) == {run_id: "cancelled" if leaves else "success"}, program.log()


@pytest.mark.skipif(not _MOD_WSGI.exists(), reason="mod_wsgi is not installed: it needs a compiler and Apache")
@pytest.mark.skipif(os.geteuid() == 0, reason="Apache runs no application as root")
@pytest.mark.parametrize("group", ["%{GLOBAL}", "its-own"])
def test_apache_is_told_to_end(dev_server: DevServer, tmp_path: Path, group: str) -> None:
    """In the main interpreter no run is lost. In a sub-interpreter, the log says what to do."""
    port = free_port()
    command = [str(_MOD_WSGI), "start-server", "--application-type", "module", "tests.exits.applications"]
    command += ["--callable-object", "wsgi", "--application-group", group, "--working-directory", str(ROOT)]
    command += ["--host", "127.0.0.1", "--port", str(port), "--server-root", str(tmp_path / "apache")]
    command += ["--processes", "2", "--log-to-terminal", "--shutdown-timeout", "20"]
    with start(command, dev_server, tmp_path) as program:
        assert eventually(lambda: is_open(port), timeout=40), program.log()
        answers = [ask(("127.0.0.1", port)) for _ in range(10)]
        program.send(signal.SIGTERM)
        program.end()
        if group == "%{GLOBAL}":
            assert sorted(arrived(dev_server)) == sorted(answers), program.log()
        else:
            assert "WSGIApplicationGroup %{GLOBAL}" in program.log()


def is_open(port: int) -> bool:
    """Return whether a server listens on a port of this machine."""
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0
