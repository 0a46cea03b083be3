"""``python -m tests.delivery.programs NAME PATH``: processes that fork, or that have several interpreters."""

from __future__ import annotations

import multiprocessing
import os
import sys
import threading
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from ldclient import Config, LDClient

from ldai_integrations import Tracking, track_ai, wrap_client
from ldai_integrations.delivery import SpoolingEventProcessor, ensure_started
from ldai_integrations.tracking import services_of

from .conftest import CONTEXT, uris


def make_tracking() -> Tracking:
    """Make a tracking with a client of the environment's server, whose event processor the environment names."""
    url = os.environ["LDAI_DEV_SERVER"]
    kind = SpoolingEventProcessor if os.environ.get("PROCESSOR") == "ours" else None
    # No event is sent by time: what arrives was flushed.
    return Tracking(LDClient(Config("test", event_processor_class=kind, flush_interval=300, **uris(url))))


def track(client: LDClient, name: str) -> None:
    """Track five events as an application that opens no run does."""
    for number in range(5):
        client.track(name, CONTEXT, {"number": number})


def raw_client() -> None:
    """Use the LDClient itself in a child, and in a child of that child."""
    tracking = make_tracking()
    track(tracking.client, "parent")
    if os.fork() == 0:
        track(tracking.client, "child")
        if os.fork() == 0:
            track(tracking.client, "grandchild")
            sys.exit(0)
        os.wait()
        sys.exit(0)
    os.wait()


def started_first() -> None:
    """Let the child announce that it is about to use the client, twice; only an inherited one is restarted."""
    tracking = make_tracking()
    client, diagnostics = tracking.client, services_of(tracking).diagnostics
    before = client._event_processor
    ensure_started(client, diagnostics)
    assert client._event_processor is before
    if os.fork() == 0:
        ensure_started(client, diagnostics)
        ensure_started(client, diagnostics)
        track(client, "child")
        sys.exit(0)
    os.wait()


def multiprocessing_child() -> None:
    """Use the LDClient in a child that ends with ``os._exit``."""
    tracking = make_tracking()
    child = multiprocessing.get_context("fork").Process(target=track, args=(tracking.client, "child"))
    child.start()
    child.join()
    assert child.exitcode == 0


def idle_child() -> None:
    """Do nothing with LaunchDarkly in a child: it starts no thread and posts nothing."""
    tracking = make_tracking()
    if os.fork() == 0:
        assert threading.active_count() == 1
        sys.exit(0)
    os.wait()
    track(tracking.client, "parent")


def crowded_child() -> None:
    """Track more in a child than is held while the client is restarted; three events are lost, and counted."""
    tracking, may_restart = make_tracking(), threading.Event()
    postfork = LDClient.postfork

    def wait(client: LDClient, start_wait: float = 5) -> None:
        may_restart.wait()
        postfork(client, start_wait)

    if os.fork() == 0:
        LDClient.postfork = wait  # type: ignore[method-assign, assignment]
        for _ in range(10_003):
            tracking.client.track("child", CONTEXT)
        may_restart.set()
        tracking.flush(30)
        assert tracking.stats().dropped["fork"] == 3
        assert tracking.stats().diagnostics["events"] == 3
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.wait()[1]) == 0


def closing_child() -> None:
    """Close the LDClient in a child that has not used it, as an exit hook of the application does."""
    tracking = make_tracking()
    if os.fork() == 0:
        tracking.client.close()
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.wait()[1]) == 0
    track(tracking.client, "parent")


def child_of_a_run() -> None:
    """Call a model in a run, in a child that is forked inside of it, and in a run of the child."""
    tracking = make_tracking()
    answer = {"id": "c1", "object": "chat.completion", "model": "m", "choices": [], "usage": {"prompt_tokens": 1013}}
    client: Any = SimpleNamespace(
        chat=SimpleNamespace(completions=SimpleNamespace(create=lambda **_asked: dict(answer)))
    )
    ask = partial(wrap_client(client).chat.completions.create, model="m", messages=[])
    with track_ai("chat", tracking=tracking):
        ask()
        if os.fork() == 0:
            ask()
            with track_ai("chat", tracking=tracking):
                ask()
            tracking.flush(30)
            os._exit(0)
        os.wait()


def closed_client() -> None:
    """Use a client that the parent has closed: it stays closed."""
    tracking = make_tracking()
    tracking.client.close()
    if os.fork() == 0:
        track(tracking.client, "child")
        sys.exit(0)
    os.wait()


if __name__ == "__main__":
    globals()[sys.argv[1]]()
    Path(sys.argv[2]).touch()
