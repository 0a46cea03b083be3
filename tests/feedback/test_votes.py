"""Replays, several workers, and privacy of votes."""

from __future__ import annotations

import json
import logging
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import flask
import pytest
from ldai import LDAIClient
from ldai.tracker import FeedbackKind
from ldclient import Context, LDClient

from ldai_integrations import Settings, Tracking, current_run, track_ai
from ldai_integrations.feedback import MemoryStore
from ldai_integrations.flask import AITracking, feedback_blueprint, get_tracking
from ldai_integrations.tracking import services_of
from ldai_integrations.wsgi import WSGIFeedback

from ..conftest import Events
from .cases import signed, vote
from .conftest import feedback_settings


def worker(client: LDClient, **options: Any) -> Any:
    """Make one worker's application and return a test client of it."""
    app = flask.Flask(__name__)
    tracking = Tracking(client, settings=Settings(feedback=feedback_settings(**options)))
    AITracking(app, tracking, ld_context=lambda request: Context.create(request.headers.get("X-User", "ada")))
    app.register_blueprint(feedback_blueprint())
    app.add_url_rule("/token", "token", track_ai(config_key="chat")(lambda: current_run().feedback_token))
    return app.test_client()


def feedback_events(events: Events) -> list[Any]:
    """Return the votes that were sent."""
    return [event for event in events.custom if "feedback" in event.key]


def test_a_replay_changes_nothing(client: LDClient, events: Events) -> None:
    """A thousand votes on one run from eight clients at once, of both kinds, are one vote."""
    browser = worker(client)
    token = browser.get("/token").text

    def send(number: int) -> int:
        kind = "positive" if number % 2 else "negative"
        app: flask.Flask = browser.application
        return app.test_client().post("/feedback", json={"token": token, "kind": kind}).status_code

    first = send(1)
    with ThreadPoolExecutor(8) as pool:
        statuses = list(pool.map(send, range(1_000)))

    assert first == 204
    assert (statuses.count(204), statuses.count(409)) == (500, 500)
    assert len(feedback_events(events)) == 1


def test_workers_with_a_store_of_their_own_count_once_each(client: LDClient, events: Events) -> None:
    """Without a shared store each worker counts a run's vote once. With one, all workers together count it once."""
    for options, counted in (({}, 3), ({"store": MemoryStore()}, 1)):
        workers = [worker(client, **options) for _ in range(3)]
        token = workers[0].get("/token").text
        for browser in workers * 5:
            assert browser.post("/feedback", json={"token": token, "kind": "positive"}).status_code == 204
        assert len(feedback_events(events)) == counted
        events.custom.clear()


def test_the_vote_is_what_launchdarklys_tracker_sends(client: LDClient, events: Events) -> None:
    """Key, data, value and context are those of a tracker that LaunchDarkly's SDK rebuilds from its own token."""
    app = flask.Flask(__name__)
    tracking = Tracking(client, settings=Settings(feedback=feedback_settings()))
    AITracking(app, tracking, ld_context=lambda _request: Context.create("ada"))
    app.register_blueprint(feedback_blueprint())
    ada = Context.create("ada")
    with track_ai(config_key="chat", tracking=tracking, ld_context=lambda: ada) as run:
        token, resumption_token = run.feedback_token, run.tracker.resumption_token
    resumed = LDAIClient(client).create_tracker(resumption_token, ada).value
    assert resumed is not None
    resumed.track_feedback({"kind": FeedbackKind.Negative})
    assert app.test_client().post("/feedback", json={"token": token, "kind": "negative"}).status_code == 204

    theirs, ours = feedback_events(events)
    for name in ("key", "data", "metric_value", "context"):
        assert getattr(ours, name) == getattr(theirs, name)


def test_nothing_of_a_vote_is_logged(client: LDClient, caplog: pytest.LogCaptureFixture) -> None:
    """No log line contains the token, the comment or the user."""

    class Broken(MemoryStore):
        def keep(self, run_id: str, kind: str, *, seconds: int) -> str | None:
            raise ConnectionError("the store is down")

    browser = worker(client, store=Broken())
    token = browser.get("/token", headers={"X-User": "grace@example.org"}).text
    with caplog.at_level(logging.DEBUG):
        for kind in ("positive", "meh"):
            body = {"token": token, "kind": kind, "comment": "my diagnosis"}
            browser.post("/feedback", json=body, headers={"X-User": "grace@example.org"})
            browser.post("/feedback", json=body, headers={"X-User": "eve@example.org"})

    assert "A vote was not counted, because Broken failed (ConnectionError). It is answered with 503" in caplog.text
    assert not any(secret in caplog.text for secret in (token, "diagnosis", "grace", "eve@"))


def test_a_locked_file_does_not_stop_the_start(client: LDClient, tmp_path: Path) -> None:
    """An application starts while another process has locked the file of votes. It takes votes after that."""
    path = tmp_path / "votes.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        browser = worker(client, store=f"sqlite:///{path}")
    assert get_tracking(browser.application).stats().diagnostics == {"feedback store": 1}
    token = browser.get("/token").text
    assert browser.post("/feedback", json={"token": token, "kind": "positive"}).status_code == 204


def test_an_endpoint_without_a_context_is_logged_once(client: LDClient, caplog: pytest.LogCaptureFixture) -> None:
    """Without a middleware or a login, votes of users are refused, and the log says what the cause may be."""
    tracking = Tracking(client, settings=Settings(feedback=feedback_settings()))
    endpoint = WSGIFeedback(tracking)
    app = flask.Flask(__name__)
    app.wsgi_app = endpoint  # type: ignore[method-assign]
    with caplog.at_level(logging.WARNING, "ldai_integrations"):
        for _ in range(3):
            assert app.test_client().post("/", json=json.loads(vote(signed()).body)).status_code == 400

    said = [record.getMessage() for record in caplog.records if "cannot be matched" in record.getMessage()]
    assert len(said) == 1
    assert "If ld_context returned None, the voter was not logged in." in said[0]
    assert said[0].endswith("or give the endpoint ld_context=….")


def test_a_form_that_was_read_before_is_taken(client: LDClient, events: Events) -> None:
    """A CSRF protection that reads the form first, as Flask-WTF's does, leaves the vote readable."""
    browser = worker(client)
    browser.application.before_request(lambda: flask.request.form.get("csrf_token") and None)
    token = browser.get("/token").text

    assert browser.post("/feedback", data={"token": token, "kind": "positive"}).status_code == 204
    assert len(feedback_events(events)) == 1


def test_a_vote_is_flushed_where_requests_are(client: LDClient, events: Events, monkeypatch: Any) -> None:
    """With flush="request" a vote is flushed before its request ends."""
    app = flask.Flask(__name__)
    tracking = Tracking(client, settings=Settings(flush="request", feedback=feedback_settings()))
    AITracking(app, tracking, ld_context=lambda _request: Context.create("ada"))
    app.register_blueprint(feedback_blueprint())
    flushed: list[int] = []
    monkeypatch.setattr(
        services_of(tracking).flushing, "flush_events", lambda _timeout: flushed.append(len(feedback_events(events)))
    )

    browser = app.test_client()
    assert browser.post("/feedback", json={"token": signed(), "kind": "positive"}, buffered=True).status_code == 204
    assert flushed == [1]
