"""The servers of the chaos tests: how each is started, and what may be done to it."""

from __future__ import annotations

import http.client
import importlib.util
import math
import os
import re
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal

ROOT = Path(__file__).parents[2]
_APP = "tests.chaos.application"
_GUNICORN = ("gunicorn", "--bind", "127.0.0.1:{port}", "--log-level", "warning", "--workers", "2")
_UVICORN = ("uvicorn", "--port", "{port}", "--log-level", "warning")
_HYPERCORN = ("hypercorn", "--bind", "127.0.0.1:{port}", "--log-level", "warning")
#: Why a process has not sent all its events: the test has killed it, or its server has, or its flush took too long.
Reason = Literal["killed", "by server", "too late"]
# What the library logs in the third case, in the format of the application.
_LATE = r"^(\d+) The process ends before LaunchDarkly has accepted \d+ events"
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
        kills: The line that says that it kills a worker, which does not end in time or seems to hang.
        patience: After how many seconds of its own end it kills its workers without a line.
    """

    command: tuple[str, ...]
    package: str
    workers: bool = False
    reloads: bool = False
    hangs_up: bool = True
    ends_workers: bool = True
    forks: bool = True
    kills: str | None = None
    patience: float = math.inf

    @property
    def is_installed(self) -> bool:
        """Whether this machine has it."""
        if self.package == "uwsgi":
            return Path(_UWSGI).exists()
        return all(importlib.util.find_spec(package) is not None for package in self.package.split())


_GUNICORN_KILLS = r"(?:TIMEOUT|Worker) \(pid:(\d+)\)(?:$| was sent SIGKILL)"
# gunicorn's default, and what granian is told: a worker that it ends while it loads the application goes on for ever.
_GUNICORN_PATIENCE, _GRANIAN_PATIENCE = 30, 20
_GRANIAN = (
    *("granian", "--host", "127.0.0.1", "--port", "{port}", "--no-log", "--workers", "2"),
    *("--workers-kill-timeout", str(_GRANIAN_PATIENCE)),
)

SERVERS = {
    "uvicorn": Server((*_UVICORN, f"{_APP}:asgi"), "uvicorn"),
    "uvicorn, uvloop": Server((*_UVICORN, "--loop", "uvloop", f"{_APP}:asgi"), "uvicorn uvloop"),
    "uvicorn, two workers": Server(
        # On a busy machine it would kill workers that do not answer its health check within 5 seconds.
        (*_UVICORN, "--workers", "2", "--timeout-worker-healthcheck", "60", f"{_APP}:asgi"),
        "uvicorn",
        workers=True,
        reloads=True,
    ),
    "gunicorn sync": Server(
        (*_GUNICORN, f"{_APP}:wsgi"),
        "gunicorn",
        workers=True,
        reloads=True,
        kills=_GUNICORN_KILLS,
        patience=_GUNICORN_PATIENCE,
    ),
    "gunicorn gthread, preloaded": Server(
        (*_GUNICORN, "--preload", "--worker-class", "gthread", "--threads", "4", f"{_APP}:wsgi"),
        "gunicorn",
        workers=True,
        reloads=True,
        kills=_GUNICORN_KILLS,
        patience=_GUNICORN_PATIENCE,
    ),
    "gunicorn gevent": Server(
        (*_GUNICORN, "--worker-class", "gevent", f"{_APP}:wsgi"),
        "gunicorn gevent",
        workers=True,
        reloads=True,
        forks=False,
        kills=_GUNICORN_KILLS,
        patience=_GUNICORN_PATIENCE,
    ),
    "gunicorn uvicorn": Server(
        (*_GUNICORN, "--worker-class", "uvicorn_worker.UvicornWorker", f"{_APP}:asgi"),
        "gunicorn uvicorn_worker",
        workers=True,
        reloads=True,
        kills=_GUNICORN_KILLS,
        patience=_GUNICORN_PATIENCE,
    ),
    "hypercorn": Server((*_HYPERCORN, f"{_APP}:asgi"), "hypercorn", reloads=True),
    "hypercorn, trio": Server((*_HYPERCORN, "--worker-class", "trio", f"{_APP}:asgi"), "hypercorn trio", reloads=True),
    "waitress": Server(("waitress", "--listen", "127.0.0.1:{port}", f"{_APP}:wsgi"), "waitress"),
    "flask run": Server(("flask", "--app", f"{_APP}:wsgi", "run", "--port", "{port}", "--no-reload"), "flask"),
    "granian asgi": Server(
        (*_GRANIAN, "--interface", "asgi", f"{_APP}:asgi"), "granian", hangs_up=False, patience=_GRANIAN_PATIENCE
    ),
    "granian wsgi": Server(
        (*_GRANIAN, "--interface", "wsgi", f"{_APP}:wsgi"), "granian", hangs_up=False, patience=_GRANIAN_PATIENCE
    ),
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
        kills=r"worker \d+ \(pid: (\d+)\) is taking too much time to die",
    ),
}


class Deployment:
    """A running server, which can be restarted at the same address.

    Args:
        server: The program.
        environ: Its environment.
    """

    def __init__(self, server: Server, environ: dict[str, str]) -> None:
        self.server = server
        #: What it has printed last.
        self.log: deque[str] = deque(maxlen=60)
        #: When and why a process could not send all its events, by its id.
        self.cut_off: dict[int, tuple[float, Reason]] = {}
        self._environ = environ
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            self.port: int = listener.getsockname()[1]
        self.start()

    def start(self) -> None:
        """Start the server; it accepts connections soon."""
        arguments = [part.format(port=self.port) for part in self.server.command]
        command = arguments if Path(arguments[0]).is_absolute() else [sys.executable, "-W", "ignore", "-m", *arguments]
        self.process = subprocess.Popen(
            command,
            cwd=ROOT,
            env={**os.environ, **self._environ},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        assert self.process.stdout is not None
        threading.Thread(target=self._read, args=(self.process.stdout,), daemon=True).start()

    def _read(self, lines: IO[str]) -> None:
        for line in lines:
            self.log.append(line)
            self._note(re.search(_LATE, line), "too late")
            if self.server.kills is not None:
                self._note(re.search(self.server.kills, line), "by server")

    def _note(self, line: re.Match[str] | None, reason: Reason) -> None:
        if line is not None:
            self._cut_off([int(line[1])], reason)

    def _cut_off(self, pids: list[int], reason: Reason) -> None:
        for pid in pids:
            self.cut_off.setdefault(pid, (time.time(), reason))

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
                raise TimeoutError(f"{self.server.command} does not start:\n{''.join(self.log)}")
            time.sleep(0.05)

    def workers(self) -> list[int]:
        """Return the ids of the processes that the server has started."""
        return list(_children(self.process.pid))

    def signal_worker(self, number: int, choice: float) -> None:
        """Send a signal to one of the workers."""
        workers = self.workers()
        if workers:
            pid = workers[int(choice * len(workers))]
            if number == signal.SIGKILL:
                self._cut_off([pid], "killed")
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def kill(self) -> None:
        """Kill the server and all its processes, and start it again."""
        self._cut_off([self.process.pid, *self.workers()], "killed")
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self._start_again()

    def end(self, number: int = signal.SIGTERM, timeout: float = 70) -> bool:
        """Ask the server to end; return False if it had to be killed."""
        begun = time.monotonic()
        if self.process.poll() is None:
            self.process.send_signal(number)
        workers: list[int] = []
        while self.process.poll() is None and time.monotonic() - begun < timeout:
            if time.monotonic() - begun < self.server.patience:
                workers = self.workers()
            time.sleep(0.05)
        if time.monotonic() - begun >= self.server.patience:
            self._cut_off(workers, "by server")
        has_ended = self.process.poll() is not None
        if not has_ended:
            self._cut_off([self.process.pid, *self.workers()], "killed")
        self.kill_what_is_left()
        return has_ended

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
