"""A WSGI body that is dropped without being closed ends its run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import flask
import pytest

from ldai_integrations import RunRecord, Tracking
from ldai_integrations.flask import AITracking
from ldai_integrations.typing import StartResponse, WSGIEnviron
from ldai_integrations.wsgi import WSGITrackingMiddleware

from ..conftest import always_chat
from ..waiting import eventually


def test_a_response_that_a_test_does_not_read(tracking: Tracking, records: list[RunRecord]) -> None:
    """Flask's test client closes nothing; a whole response counts as delivered."""
    app = flask.Flask(__name__)
    AITracking(app, tracking, config_key=always_chat)
    app.add_url_rule("/", view_func=lambda: "Hello", endpoint="hello")

    assert app.test_client().get("/").status_code == 200

    assert eventually(lambda: [record.outcome for record in records] == ["success"])


@pytest.mark.parametrize("read", [0, 1])
def test_a_stream_that_is_not_read_to_its_end(tracking: Tracking, records: list[RunRecord], read: int) -> None:
    """A stream that a server drops was cancelled."""

    def app(environ: WSGIEnviron, start_response: StartResponse) -> Iterable[bytes]:
        start_response("200 OK", [("Content-Type", "text/plain")])
        return iter([b"one", b"two"])

    def serve() -> None:
        body: Iterator[bytes] = iter(
            WSGITrackingMiddleware(app, tracking, config_key=always_chat)({}, lambda *args: print)
        )
        for _ in range(read):
            next(body)

    serve()

    assert eventually(lambda: [record.outcome for record in records] == ["cancelled"])
