"""Two applications of one process keep to their own LaunchDarkly."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from ldai_integrations import Tracking
from ldai_integrations.devserver import DevServer

from .cases import EVENTS
from .client import request
from .conftest import FLAGS, INTEGRATIONS, Integration, Records
from .test_contract import events_of

PAIRS = [
    ("flask extension and decorator", "flask extension"),
    ("flask decorator", "starlette middleware"),
    ("starlette decorator", "fastapi middleware and decorator"),
    ("wsgi", "asgi"),
]


@pytest.fixture(params=PAIRS, ids=" and ".join)
def integrations(request: pytest.FixtureRequest) -> Iterator[list[Integration]]:
    """Serve two applications, each with a LaunchDarkly of its own."""
    with ExitStack() as stack:
        integrations = []
        for name in request.param:
            build, serve = INTEGRATIONS[name]
            dev_server = stack.enter_context(DevServer(FLAGS))
            tracking = Tracking.from_env(environ={"LDAI_DEV_SERVER": dev_server.url})
            stack.callback(tracking.close)
            integrations.append(Integration(name, stack.enter_context(serve(build(tracking))), tracking, dev_server))
        yield integrations


def test_each_reports_to_its_own(integrations: list[Integration], records: Records) -> None:
    """The events of a request arrive at its application's LaunchDarkly and nowhere else."""
    for here, there in (integrations, integrations[::-1]):
        assert request(here.address, "/stream").status == 200
        record = records.reported()
        assert events_of(here, record.run_id).keys() >= EVENTS["success"]
        assert events_of(there, record.run_id) == {}
