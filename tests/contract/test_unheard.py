"""The same cases where nobody in the application listens, so that runs are reported off the handlers' threads."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pytest

from ldai_integrations import Tracking
from ldai_integrations.devserver import DevServer

from ..waiting import eventually
from .cases import CASES, EVENTS
from .client import request
from .conftest import FLAGS, INTEGRATIONS, Integration

# Reporting is not the integrations' work: of each way to end a run, one.
NAMES = (
    "wsgi",
    "flask decorator",
    "asgi",
    "starlette middleware",
    "quart decorator",
    "django middleware, wsgi",
    "django decorator, asgi",
)


@pytest.fixture(params=NAMES)
def unheard(request: pytest.FixtureRequest) -> Iterator[Integration]:
    """Serve an application that has neither receivers nor sinks, with a LaunchDarkly of its own."""
    build, serve = INTEGRATIONS[request.param]
    with DevServer(FLAGS) as dev_server:
        tracking = Tracking.from_env(environ={"LDAI_DEV_SERVER": dev_server.url})
        with serve(build(tracking)) as address:
            yield Integration(request.param, address, tracking, dev_server)
        tracking.close()


def test_every_run_is_reported_once(unheard: Integration) -> None:
    """The events that arrive are those of the cases' outcomes, no more and no less."""
    for case in CASES:
        request(unheard.address, f"/{case.name}", method=case.method, hangs_up=case.hangs_up)
    wanted = Counter(event for case in CASES if case.outcome for event in EVENTS[case.outcome])

    def arrived() -> Counter[str]:
        assert unheard.tracking.flush(20).complete
        events = unheard.dev_server.events(kind="custom")
        return Counter(event["key"] for event in events if event["key"] in wanted)

    assert eventually(lambda: arrived() >= wanted)  # a client that has left is noticed by the next chunk
    assert arrived() == wanted
