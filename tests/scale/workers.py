"""``python -m tests.scale.workers NAME``: several processes that read AI Configs from Redis, and tell their runs."""

from __future__ import annotations

import os
import subprocess
import sys

from ldclient import Config, LDClient

from ldai_integrations import Tracking
from ldai_integrations.delivery import SpoolingEventProcessor

from ..exits.reporting import make_run, write_down
from .conftest import RUNS, WORKERS, daemon


def make_tracking() -> Tracking:
    """Make a tracking in daemon mode."""
    options = daemon(os.environ["REDIS"], os.environ["LDAI_DEV_SERVER"])
    return Tracking(LDClient(Config("sdk-test", event_processor_class=SpoolingEventProcessor, **options)))


def make_runs(tracking: Tracking) -> None:
    """Make runs, and write down the id of each when it has finished."""
    for _ in range(RUNS):
        write_down(make_run(tracking))


def worker() -> None:
    """Run one of several processes that know nothing of each other."""
    make_runs(make_tracking())


def separate() -> None:
    """Start workers, each of which begins from nothing."""
    command = [sys.executable, "-m", __spec__.name, "worker"]
    workers = [subprocess.Popen(command) for _ in range(WORKERS)]
    assert [worker.wait(60) for worker in workers] == [0] * WORKERS


def preforked() -> None:
    """Fork workers from a process that has the tracking, and has used it, as ``gunicorn --preload`` does."""
    tracking = make_tracking()
    make_runs(tracking)
    for _ in range(WORKERS):
        if os.fork() == 0:
            make_runs(tracking)
            sys.exit(0)
    assert [os.waitstatus_to_exitcode(os.wait()[1]) for _ in range(WORKERS)] == [0] * WORKERS


if __name__ == "__main__":
    {"worker": worker, "separate": separate, "preforked": preforked}[sys.argv[1]]()
