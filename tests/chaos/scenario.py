"""Traffic to one server while it is killed, reloaded and forked, and while everything that it uses fails."""

from __future__ import annotations

import http.client
import json
import math
import random
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from ..flags import FLAGS
from .deployments import Deployment, Server
from .receiver import Receiver

_CLIENTS = 3
# Events are sent every 5 seconds, and a post takes some time.
_UNSENT_SECONDS = 12.0
# What a server gets for traffic, however long it takes to start.
_LEAST_SECONDS = 5.0
# What the last failure and the end of the server take.
_ENDING_SECONDS = 10.0
_OUTAGES = ("refused", "hang", "500", "429", "lost answer")


class Store(Protocol):
    """The store of the votes."""

    address: str

    def stop(self) -> None:
        """Stop it for some time."""

    def go_on(self) -> None:
        """Let it work again."""

    def close(self) -> None:
        """End it."""


class File:
    """A store in an SQLite file."""

    def __init__(self, folder: Path) -> None:
        self.address = f"sqlite:///{folder}/votes.db"

    def stop(self) -> None:
        """Do nothing."""

    go_on = close = stop


class Redis:
    """A store in a Redis of its own."""

    def __init__(self, folder: Path) -> None:
        self.address = f"unix://{folder}/redis"
        options = {"port": "0", "unixsocket": f"{folder}/redis", "dir": str(folder), "appendonly": "yes"}
        self._command = ["redis-server", *(word for name, value in options.items() for word in (f"--{name}", value))]
        self.go_on()

    def go_on(self) -> None:
        """Start Redis with what it has stored."""
        self._process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def stop(self) -> None:
        """Stop Redis."""
        self._process.terminate()
        self._process.wait(30)

    close = stop


@dataclass
class Result:
    """What became of the runs and votes of one server.

    Attributes:
        name: The name of the server.
        runs: How many runs were answered.
        votes: How many votes were accepted.
        lost: Runs and votes that did not arrive, and that no documented case explains.
        documented: How many each documented case explains: a process that was killed by the test or by its server, or
            whose flush took longer than ``Settings.flush_timeout``, and, for votes, a store that was stopped.
        duplicated: Runs and votes that arrived more than once.
        actions: How often each thing was done.
        problems: What is wrong.
        log: What the server has printed last, if something is wrong.
    """

    name: str
    runs: int = 0
    votes: int = 0
    lost: int = 0
    documented: Counter[str] = field(default_factory=Counter)
    duplicated: int = 0
    actions: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)
    log: str = ""

    @property
    def is_good(self) -> bool:
        """Whether nothing is lost or duplicated that should not be."""
        return not (self.lost or self.duplicated or self.problems) and self.runs > 0


class Scenario:
    """One server under traffic.

    Args:
        name: The name of the server.
        server: The server.
        seed: Decides about the order of the failures.
    """

    def __init__(self, name: str, server: Server, seed: int) -> None:
        self.result = Result(name)
        self._server = server
        self._random = random.Random(f"{name} {seed}")
        self._is_over = threading.Event()
        self._deployment: Any = None
        self._lock = threading.Lock()
        # When a run was asked for and by which process it was answered; when a vote was first sent, and accepted.
        self._answered: dict[str, tuple[float, int]] = {}
        self._voted: dict[str, tuple[float, float]] = {}
        self._begun: list[tuple[float, str]] = []
        self._paths = threading.Semaphore(0)
        self._stops: list[float] = []

    def run(self, seconds: float) -> Result:
        """Send traffic to a new server, let things fail, and compare what was answered with what arrived."""
        end = time.monotonic() + seconds - _ENDING_SECONDS
        with tempfile.TemporaryDirectory(prefix="chaos-") as name:
            folder = Path(name)
            self._clock = folder / "clock"
            self._clock.write_text("0")
            has_redis = shutil.which("redis-server") is not None and self._random.random() < 0.5
            self._store: Store = Redis(folder) if has_redis else File(folder)
            self._receiver = Receiver(FLAGS)
            environ = {
                "LDAI_DEV_SERVER": self._receiver.url,
                "CHAOS_CLOCK": str(self._clock),
                "CHAOS_STORE": self._store.address,
            }
            self._deployment = Deployment(self._server, environ)
            clients = [threading.Thread(target=self._send_requests) for _ in range(_CLIENTS)]
            try:
                self._deployment.await_start()
                for client in clients:
                    client.start()
                self._fail_until(max(end, time.monotonic() + _LEAST_SECONDS))
            except Exception as exc:
                self.result.problems.append(repr(exc))
            finally:
                self._end_traffic(clients)
                if not self._deployment.end():
                    self.result.problems.append("did not end at SIGTERM")
                self._store.close()
                self._receiver.refuse()
            self._compare()
            if not self.result.is_good:
                self.result.log = "".join(self._deployment.log)
        return self.result

    def stop(self) -> None:
        """Kill the server, because the process was told to end."""
        if self._deployment is not None and not self._is_over.is_set():
            self._is_over.set()
            self._deployment.kill_what_is_left()
            self._store.close()

    # Traffic

    def _end_traffic(self, clients: list[threading.Thread]) -> None:
        self._is_over.set()
        for client in clients:
            if client.ident is not None:
                client.join()

    def _send_requests(self) -> None:
        number = 0
        while not self._is_over.is_set():
            number += 1
            path = "/fork" if self._paths.acquire(blocking=False) else "/"
            asked = time.time()
            answer = self._ask("GET", path)
            if answer is not None:
                with self._lock:
                    self._answered.update(dict.fromkeys(answer["runs"], (asked, answer["pid"])))
                if answer["token"] and number % 10 == 0:
                    self._vote(answer["token"], answer["runs"][0])
            time.sleep(0.01)

    def _vote(self, token: str, run: str) -> None:
        """Vote until the vote is accepted, as a client does that gets a 503, and then once more."""
        accepted, sent = 0, time.time()
        for _ in range(200):
            if self._ask("POST", "/feedback", {"token": token, "kind": "positive"}) is not None:
                accepted += 1
                with self._lock:
                    self._voted.setdefault(run, (sent, time.time()))
            if accepted == 2 or self._is_over.is_set():
                return
            time.sleep(0.1)

    def _ask(self, method: str, path: str, body: Any = None) -> Any:
        """Return the answer; ``None`` if there is none, or a failure."""
        connection = http.client.HTTPConnection("127.0.0.1", self._deployment.port, timeout=30)
        try:
            headers = {"Content-Type": "application/json", "Connection": "close"}
            connection.request(method, path, json.dumps(body) if body else None, headers)
            response = connection.getresponse()
            text = response.read()
            return json.loads(text or b"null") or {} if response.status < 300 else None
        except (OSError, http.client.HTTPException, ValueError):
            return None
        finally:
            connection.close()

    # Failures

    def _fail_until(self, end: float) -> None:
        actions: list[str] = []
        while time.monotonic() < end:
            if not actions:
                actions = [name for name in dir(self) if name.startswith("_do_")]
                self._random.shuffle(actions)
            action = actions.pop()
            if ("worker" in action and not self._server.workers) or ("fork" in action and not self._server.forks):
                continue
            if action == "_do_end_worker" and not self._server.ends_workers:
                continue
            if action == "_do_hang_up" and not self._server.hangs_up:
                continue
            self.result.actions[action.removeprefix("_do_").replace("_", " ")] += 1
            self._begun.append((time.time(), action))
            getattr(self, action)()
            self._deployment.await_start()
            self._pause()

    def _pause(self) -> None:
        time.sleep(self._random.uniform(0.5, 1.5))

    def _do_kill(self) -> None:
        self._deployment.kill()

    def _do_kill_worker(self) -> None:
        self._deployment.signal_worker(signal.SIGKILL, self._random.random())

    def _do_end_worker(self) -> None:
        self._deployment.signal_worker(signal.SIGTERM, self._random.random())

    def _do_restart(self) -> None:
        if not self._deployment.restart():
            self.result.problems.append("did not end at SIGTERM")

    def _do_hang_up(self) -> None:
        if self._server.reloads:
            self._deployment.reload()
        elif not self._deployment.restart(signal.SIGHUP):
            self.result.problems.append("did not end at SIGHUP")

    def _do_fork(self) -> None:
        for _ in range(3):
            self._paths.release()
            self._pause()

    def _do_outage(self) -> None:
        kind = self._random.choice(_OUTAGES)
        self.result.actions[kind] += 1
        if kind == "refused":
            self._receiver.refuse()
        else:
            self._receiver.behave(kind)  # type: ignore[arg-type]
        time.sleep(self._random.uniform(1, 4))
        if kind == "refused":
            self._receiver.listen()
        else:
            self._receiver.behave("ok")

    def _do_fill_disk(self) -> None:
        self._deployment.limit_files(0)
        self._pause()
        self._deployment.limit_files(-1)

    def _do_stop_store(self) -> None:
        self._stops.append(time.time())
        self._store.stop()
        self._pause()
        self._store.go_on()

    def _do_clock(self) -> None:
        self._clock.write_text(str(self._random.choice((-86_400, -3_600, 3_600, 86_400))))
        self._pause()
        self._clock.write_text("0")

    # The result

    def _compare(self) -> None:
        arrived, result = self._receiver, self.result
        result.runs, result.votes = len(self._answered), len(self._voted)
        result.duplicated = sum(len(times) > 1 for times in (*arrived.runs.values(), *arrived.votes.values()))
        delays = [times[0] - self._answered[run][0] for run, times in arrived.runs.items() if run in self._answered]
        # A run may have waited as long as the slowest that arrived, and for another interval.
        unsent = _UNSENT_SECONDS + max(delays, default=0)
        cut_off = self._deployment.cut_off
        for run, (asked, pid) in self._answered.items():
            if run not in arrived.runs:
                at, reason = cut_off.get(pid, (math.inf, ""))
                self._lose(f"run of {pid}", asked, reason if at <= asked + unsent else None)
        for run, (sent, accepted) in self._voted.items():
            if run not in arrived.votes:
                reasons = [reason for at, reason in cut_off.values() if sent - 1 <= at <= accepted + unsent]
                reasons += ["store" for at in self._stops if sent - 1 <= at <= accepted]
                self._lose("vote", sent, next(iter(reasons), None))

    def _lose(self, what: str, at: float, reason: str | None) -> None:
        if reason is not None:
            self.result.documented[reason] += 1
            return
        self.result.lost += 1
        near = ", ".join(f"{action} {begun - at:+.1f} s" for begun, action in self._begun if abs(begun - at) < 15)
        self.result.problems.append(f"lost: {what}; {near}")
