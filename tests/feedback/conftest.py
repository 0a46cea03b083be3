"""A running application for each integration, and what it reported."""

from __future__ import annotations

import gc
import http.client
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from ldai_integrations import Settings, Tracking
from ldai_integrations.devserver import DevServer
from ldai_integrations.feedback import FeedbackSettings

from ..flags import FLAGS
from ..scale.conftest import redis_server as redis_server
from .cases import SECRET, Request
from .integrations import INTEGRATIONS, KEY

HEADER, EVENT = "X-Feedback-Token", "feedback"


@dataclass(frozen=True)
class Response:
    """A response as a client sees it."""

    status: int
    body: bytes
    headers: http.client.HTTPMessage

    def json(self) -> Any:
        """Return the body as JSON."""
        return json.loads(self.body)


@dataclass(frozen=True)
class Application:
    """A running application."""

    address: tuple[str, int]
    tracking: Tracking
    dev_server: DevServer

    def get(self, path: str, user: str = "ada", method: str = "GET") -> Response:
        """Send a request as a user, or with an empty name as a visitor."""
        return self.send(path, Request(b"", {}, method), user)

    def vote(self, request: Request, user: str = "ada") -> Response:
        """Send a vote as a user."""
        return self.send("/feedback", request, user)

    def send(self, path: str, request: Request, user: str) -> Response:
        """Send a request on a new connection."""
        connection = http.client.HTTPConnection(*self.address, timeout=20)
        headers = {**request.headers, "Connection": "close", **({"X-User": user} if user else {})}
        try:
            try:
                connection.request(request.method, path, request.body or None, headers)
            except OSError:  # it has answered before it was sent everything
                pass
            response = connection.getresponse()
            return Response(response.status, response.read(), response.headers)
        finally:
            connection.close()

    def votes(self, run_id: str | None = None) -> list[tuple[str, str, dict[str, Any]]]:
        """Return name, user and data of all votes that have arrived, or of those of a run."""
        assert self.tracking.flush(30).complete
        events = self.dev_server.events(kind="custom", **({"run_id": run_id} if run_id else {}))
        prefix = "$ld:ai:feedback:user:"
        return [
            (event["key"].removeprefix(prefix), event["context"]["key"], event["data"])
            for event in events
            if event["key"].startswith(prefix)
        ]


def feedback_settings(**options: Any) -> FeedbackSettings:
    """Return the settings of the tests."""
    given = {"config_keys": {KEY}, "secret": SECRET, "header": HEADER, "event": EVENT, "requests_per_minute": 0}
    return FeedbackSettings(**{**given, **options})


@pytest.fixture(scope="session")
def feedback_server() -> Iterator[DevServer]:
    """Serve the flags of the tests. Run ids distinguish the events of different tests."""
    with DevServer(FLAGS) as server:
        yield server


@contextmanager
def serving(name: str, dev_server: DevServer, **options: Any) -> Iterator[Application]:
    """Serve the application of an integration."""
    build, serve = INTEGRATIONS[name]
    settings = Settings(feedback=feedback_settings(**options))
    tracking = Tracking.from_env(environ={"LDAI_DEV_SERVER": dev_server.url}, settings=settings)
    try:
        with serve(build(tracking)) as address:
            yield Application(address, tracking, dev_server)
    finally:
        tracking.close()
        gc.collect()  # what a framework forgets to close is to be found here


@pytest.fixture(params=INTEGRATIONS, scope="module")
def application(request: pytest.FixtureRequest, feedback_server: DevServer) -> Iterator[Application]:
    """Serve the application of each integration on a real socket."""
    with serving(request.param, feedback_server) as application:
        yield application


@pytest.fixture(params=INTEGRATIONS)
def make_application(request: pytest.FixtureRequest, feedback_server: DevServer) -> Callable[..., Any]:
    """Give a function that serves the application of each integration with options."""
    return lambda **options: serving(request.param, feedback_server, **options)
