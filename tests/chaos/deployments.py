"""The servers of the chaos tests: how each is started, and what may be done to it."""

from __future__ import annotations

import http.client
import importlib.util
import os
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
_APP = "tests.chaos.application"
_GUNICORN = ("gunicorn", "--bind", "127.0.0.1:{port}", "--log-level", "warning", "--workers", "2")
_UVICORN = ("uvicorn", "--port", "{port}", "--log-level", "warning")
_HYPERCORN = ("hypercorn", "--bind", "127.0.0.1:{port}", "--log-level", "warning")
_GRANIAN = ("granian", "--host", "127.0.0.1", "--port", "{port}", "--no-log", "--workers", "2")
_UWSGI = str(Path(sys.executable).parent / "uwsgi")


@dataclass(frozen=True)
class Server:
    """A server program.

    Attributes:
        command: The arguments of ``python -m``, or a program with its arguments.
        package: What has to be installed.
        workers: Whether its first process starts another worker where one has ended.
        reloads: Whether SIGHUP replaces its workers. Otherwise it ends the server.
        hangs_up: Whether SIGHUP may be sent. granian's workers ignore SIGTERM while they load the application again.
        ends_workers: Whether a worker may be ended by SIGTERM; uWSGI lets no Python run in it then.
        forks: Whether a request may fork a process. gevent's threads would go on in it.
    """

    command: tuple[str, ...]
    package: str
    workers: bool = False
    reloads: bool = False
    hangs_up: bool = True
    ends_workers: bool = True
    forks: bool = True

    @property
    def is_installed(self) -> bool:
        """Whether this machine has it."""
        if self.package == "uwsgi":
            return Path(_UWSGI).exists()
        return all(importlib.util.find_spec(package) is not None for package in self.package.split())


SERVERS = {
    "uvicorn": Server((*_UVICORN, f"{_APP}:asgi"), "uvicorn"),
    "uvicorn, uvloop": Server((*_UVICORN, "--loop", "uvloop", f"{_APP}:asgi"), "uvicorn uvloop"),
    "uvicorn, two workers": Server(
        (*_UVICORN, "--workers", "2", f"{_APP}:asgi"), "uvicorn", workers=True, reloads=True
    ),
    "gunicorn sync": Server((*_GUNICORN, f"{_APP}:wsgi"), "gunicorn", workers=True, reloads=True),
    "gunicorn gthread, preloaded": Server(
        (*_GUNICORN, "--preload", "--worker-class", "gthread", "--threads", "4", f"{_APP}:wsgi"),
        "gunicorn",
        workers=True,
        reloads=True,
    ),
    "gunicorn gevent": Server(
        (*_GUNICORN, "--worker-class", "gevent", f"{_APP}:wsgi"),
        "gunicorn gevent",
        workers=True,
        reloads=True,
        forks=False,
    ),
    "gunicorn uvicorn": Server(
        (*_GUNICORN, "--worker-class", "uvicorn_worker.UvicornWorker", f"{_APP}:asgi"),
        "gunicorn uvicorn_worker",
        workers=True,
        reloads=True,
    ),
    "hypercorn": Server((*_HYPERCORN, f"{_APP}:asgi"), "hypercorn", reloads=True),
    "hypercorn, trio": Server((*_HYPERCORN, "--worker-class", "trio", f"{_APP}:asgi"), "hypercorn trio", reloads=True),
    "waitress": Server(("waitress", "--listen", "127.0.0.1:{port}", f"{_APP}:wsgi"), "waitress"),
    "flask run": Server(("flask", "--app", f"{_APP}:wsgi", "run", "--port", "{port}", "--no-reload"), "flask"),
    "granian asgi": Server((*_GRANIAN, "--interface", "asgi", f"{_APP}:asgi"), "granian", hangs_up=False),
    "granian wsgi": Server((*_GRANIAN, "--interface", "wsgi", f"{_APP}:wsgi"), "granian", hangs_up=False),
    "daphne": Server(("daphne", "-b", "127.0.0.1", "-p", "{port}", f"{_APP}:asgi"), "daphne"),
    "uwsgi": Server(
        (
            *(_UWSGI, "--master", "--enable-threads", "--need-app", "--processes", "2", "--disable-logging"),
            *("--http-socket", "127.0.0.1:{port}", "--module", f"{_APP}:wsgi", "--home", sys.prefix),
            *("--py-call-uwsgi-fork-hooks", "--hook-master-start", "unix_signal:15 gracefully_kill_them_all"),
        ),
        "uwsgi",
        workers=True,
        reloads=True,
        ends_workers=False,
    ),
}


class Deployment:
    """A running server, which can be restarted at the same address.

    Args:
        server: The program.
        folder: Its own folder for logs.
        environ: Its environment.
    """

    def __init__(self, server: Server, folder: Path, environ: dict[str, str]) -> None:
        self.server = server
        self.log = folder / "log"
        self._environ = environ
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            self.port: int = listener.getsockname()[1]
        #: When a process was killed, by its id.
        self.killed: dict[int, float] = {}
        self.start()

    def start(self) -> None:
        """Start the server; it accepts connections soon."""
        arguments = [part.format(port=self.port) for part in self.server.command]
        command = arguments if Path(arguments[0]).is_absolute() else [sys.executable, "-W", "ignore", "-m", *arguments]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                command,
                cwd=ROOT,
                env={**os.environ, **self._environ},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def answers(self) -> bool:
        """Return whether it answers a request."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request("GET", "/feedback/widget.js", headers={"Connection": "close"})
            return connection.getresponse().status < 500
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def await_start(self, timeout: float = 60) -> None:
        """Wait until it answers.

        Raises:
            TimeoutError: It does not.
        """
        deadline = time.monotonic() + timeout
        while not self.answers():
            if time.monotonic() > deadline or self.process.poll() is not None:
                raise TimeoutError(f"{self.server.command} does not start:\n{self.log.read_text()[-3000:]}")
            time.sleep(0.05)

    def workers(self) -> list[int]:
        """Return the ids of the processes that the server has started."""
        return list(_children(self.process.pid))

    def signal_worker(self, number: int, choice: float) -> None:
        """Send a signal to one of the workers."""
        workers = self.workers()
        if workers:
            pid = workers[int(choice * len(workers))]
            with suppress(ProcessLookupError):
                os.kill(pid, number)
            if number == signal.SIGKILL:
                self.killed[pid] = time.time()

    def kill(self) -> None:
        """Kill the server and all its processes, and start it again."""
        pids = [self.process.pid, *self.workers()]
        os.killpg(self.process.pid, signal.SIGKILL)
        self.killed.update(dict.fromkeys(pids, time.time()))
        self.process.wait()
        self._start_again()

    def end(self, number: int = signal.SIGTERM, timeout: float = 70) -> bool:
        """Ask the server to end; return False if it had to be killed."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.kill_what_is_left()
            return False
        self.kill_what_is_left()
        return True

    def restart(self, number: int = signal.SIGTERM) -> bool:
        """Ask the server to end, and start it again; return False if it had to be killed."""
        has_ended = self.end(number)
        self._start_again()
        return has_ended

    def reload(self) -> None:
        """Send SIGHUP."""
        self.process.send_signal(signal.SIGHUP)

    def limit_files(self, most: int) -> None:
        """Let no file of the server become larger than this."""
        for pid in (self.process.pid, *self.workers()):
            with suppress(ProcessLookupError, PermissionError):
                _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
                resource.prlimit(pid, resource.RLIMIT_FSIZE, (most, hard))

    def _is_bound(self) -> bool:
        with socket.socket() as client:
            client.settimeout(1)
            return client.connect_ex(("127.0.0.1", self.port)) == 0

    def kill_what_is_left(self) -> None:
        """End all processes of the server's own group."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def _start_again(self) -> None:
        deadline = time.monotonic() + 10
        while self._is_bound() and time.monotonic() < deadline:  # by a process that is still being killed
            time.sleep(0.05)
        self.start()
        self.await_start()


def _children(pid: int) -> Iterator[int]:
    for file in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(OSError):
            for child in map(int, file.read_text().split()):
                yield child
                yield from _children(child)
