"""The tracking of the programs, and where they write down the runs that must arrive."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

from ldclient import Config, LDClient

from ldai_integrations import Settings, Tracking, track_ai
from ldai_integrations.feedback import FeedbackSettings, SQLiteStore

RUNS = Path(os.environ["RUNS"])


class SlowStore(SQLiteStore):
    """A store that takes some time to say what it has done."""

    def keep(self, run_id: str, kind: str, *, seconds: int) -> str | None:
        """Store the vote unless the run has one."""
        earlier = super().keep(run_id, kind, seconds=seconds)
        time.sleep(0.1)
        return earlier


def make_tracking() -> Tracking:
    """Make a tracking whose client sends nothing unless it is told to, or, if the test says so, one of ours."""
    settings = Settings(
        flush_timeout=float(os.environ.get("FLUSH_TIMEOUT", "10")),
        feedback=FeedbackSettings(
            config_keys={"chat"},
            secret="a secret of the tests",
            store=SlowStore(os.environ["STORE"]) if "STORE" in os.environ else None,
            requests_per_minute=0,
        ),
    )
    if "FROM_ENV" in os.environ:
        return Tracking.from_env(settings=settings)
    url = os.environ["LDAI_DEV_SERVER"]
    return Tracking(
        LDClient(Config("test", base_uri=url, stream_uri=url, events_uri=url, flush_interval=300)), settings=settings
    )


def make_run(tracking: Tracking) -> str:
    """Make a run, and return its id."""
    with track_ai(config_key="chat", tracking=tracking) as run:
        run.add_usage(input_tokens=3, output_tokens=2)
    return run.id


def write_down(run_id: str) -> None:
    """Tell the test of a run that has finished."""
    with RUNS.open("a") as file:
        file.write(run_id + "\n")


def tell_ready() -> None:
    """Tell the test that a signal may come."""
    RUNS.with_suffix(".ready").touch()


def ready() -> None:
    """Tell the test that a signal may come, at rest.

    Not while a thread still runs ``exec``: Python then forgets that it was a KeyboardInterrupt that ended the process.
    """
    for thread in threading.enumerate():
        if thread.name == "ldai-encodings":
            thread.join(30)
    tell_ready()
