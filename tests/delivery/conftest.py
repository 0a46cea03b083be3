"""A dev server for each test, which it can let fail, and clients whose events we deliver."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from typing import Any

import pytest
from ldclient import Config, Context, LDClient

from ldai_integrations import Tracking, current_run, track_ai
from ldai_integrations.delivery import SpoolingEventProcessor
from ldai_integrations.devserver import DevServer

from ..flags import FLAGS

Connect = Callable[..., LDClient]

CONTEXT = Context.create("ada")


@pytest.fixture
def server() -> Iterator[DevServer]:
    """Give a dev server that a test may break."""
    with DevServer(FLAGS) as server:
        yield server


@pytest.fixture
def tracking(no_leaks: None, server: DevServer) -> Iterator[Tracking]:
    """Give a Tracking from the environment, connected to :func:`server`."""
    tracking = Tracking.from_env(environ={"LDAI_DEV_SERVER": server.url})
    assert tracking.stats().connection == "ok"
    yield tracking
    tracking.close()


@pytest.fixture
def connect(no_leaks: None, server: DevServer) -> Iterator[Connect]:
    """Give a function that makes a client of the user, with or without our event processor, closed after the test."""
    with ExitStack() as opened:

        def connect(processor: Any = None, **options: Any) -> LDClient:
            options = {"diagnostic_opt_out": True, "event_processor_class": processor, **uris(server.url), **options}
            config = Config("test", **options)
            client = LDClient(config)
            opened.callback(client.close)
            return client

        yield connect


@pytest.fixture
def processor(connect: Connect) -> SpoolingEventProcessor:
    """Give the event processor of a client that was made with ours."""
    return processor_of(connect(SpoolingEventProcessor))


def processor_of(client: LDClient) -> SpoolingEventProcessor:
    """Return the event processor of a client that was made with ours."""
    found = client._event_processor
    assert isinstance(found, SpoolingEventProcessor)
    return found


def uris(url: str) -> dict[str, Any]:
    """Return the options of a Config for this address."""
    return dict.fromkeys(("base_uri", "stream_uri", "events_uri"), url)


def small(**bounds: Any) -> Any:
    """Return an event processor class with limits that a test can reach."""
    return partial(SpoolingEventProcessor, **bounds)


def send_runs(tracking: Tracking, number: int) -> None:
    """Send runs of six events each with their run id."""

    @track_ai(config_key="chat", tracking=tracking, ld_context=lambda: CONTEXT)
    def handler() -> str:
        current_run().first_token()
        current_run().add_usage(input_tokens=3, output_tokens=4)
        return "done"

    for _ in range(number):
        handler()


def complete_runs(server: DevServer) -> int:
    """Count the runs of which all six events have arrived, each once."""
    runs: dict[str, list[str]] = {}
    for event in server.events(kind="custom"):
        if isinstance(event.get("data"), dict) and "runId" in event["data"]:
            runs.setdefault(event["data"]["runId"], []).append(event["key"])
    return sum(len(keys) == len(set(keys)) == 6 for keys in runs.values())
