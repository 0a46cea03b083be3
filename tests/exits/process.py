"""Start a program, end it, and compare the runs it made with those that arrived."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ldai_integrations.devserver import DevServer

from ..waiting import eventually

ROOT = Path(__file__).parents[2]


class Program:
    """A process that writes the ids of its runs to a file."""

    def __init__(self, process: subprocess.Popen[bytes], runs: Path) -> None:
        self._process = process
        self._runs = runs
        self.pid = process.pid

    def made(self) -> list[str]:
        """Return the ids of the runs that it says it has finished."""
        return self._runs.read_text().split() if self._runs.exists() else []

    def await_ready(self) -> None:
        """Wait until it says that a signal may come."""
        assert eventually(self._runs.with_suffix(".ready").exists, timeout=30), self.log()

    def send(self, number: int) -> None:
        """Send a signal."""
        self._process.send_signal(number)

    def end(self, number: int | None = None) -> int:
        """Send a signal, if one is given, and return the exit status."""
        if number is not None:
            self.send(number)
        return self._process.wait(60)

    def log(self) -> str:
        """Return what it has printed."""
        return self._runs.with_suffix(".log").read_text()


@contextmanager
def start(
    arguments: list[str], dev_server: DevServer, folder: Path, *, fds: tuple[int, ...] = (), **environ: str
) -> Iterator[Program]:
    """Start a program, or ``python -m …``, with a fresh dev server."""
    dev_server.clear()
    runs = folder / "runs"
    with runs.with_suffix(".log").open("wb") as log:
        process = subprocess.Popen(
            arguments if Path(arguments[0]).is_absolute() else [sys.executable, "-m", *arguments],
            cwd=ROOT,
            env={**os.environ, "LDAI_DEV_SERVER": dev_server.url, "RUNS": str(runs), **environ},
            pass_fds=fds,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        try:
            yield Program(process, runs)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # and the workers of a server that did not end as it should
            process.wait()


def arrived(dev_server: DevServer) -> list[str]:
    """Return the run ids of the success events that have arrived; one twice if an event was sent twice."""
    return [
        event["data"]["runId"]
        for event in dev_server.events()
        if event["kind"] == "custom" and event["key"] == "$ld:ai:generation:success"
    ]


def outcomes(dev_server: DevServer) -> dict[str, str]:
    """Return the outcome of each run that has arrived; one that is told without success or error was cancelled."""
    runs: dict[str, list[str]] = {}
    for event in dev_server.events():
        if event["kind"] == "custom" and "runId" in event["data"]:
            runs.setdefault(event["data"]["runId"], []).append(event["key"].removeprefix("$ld:ai:"))
    assert all(len(names) == len(set(names)) and "duration:total" in names for names in runs.values()), runs
    return {
        run: next((outcome for outcome in ("success", "error") if f"generation:{outcome}" in names), "cancelled")
        for run, names in runs.items()
    }


def evaluations(dev_server: DevServer) -> int:
    """Return how often the AI Config of the programs was evaluated, as LaunchDarkly's own summaries tell."""
    features = [event["features"] for event in dev_server.events() if event["kind"] == "summary"]
    return sum(counter["count"] for feature in features for counter in feature["chat"]["counters"])
