"""Replays, several workers, and privacy of votes."""

from __future__ import annotations

import asyncio
import json
import logging
import sqlite3
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import flask
import pytest
from ldai import LDAIClient
from ldai.tracker import FeedbackKind
from ldclient import Context, LDClient

from ldai_integrations import Settings, Tracking, current_run, track_ai
from ldai_integrations.asgi import ASGIFeedback
from ldai_integrations.feedback import MemoryStore
from ldai_integrations.flask import AITracking, feedback_blueprint, get_tracking
from ldai_integrations.tracking import services_of
from ldai_integrations.wsgi import WSGIFeedback

from ..conftest import Events
from ..integrations.asgi_calls import acall, http_scope
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


class Hanging(MemoryStore):
    """A store that answers nobody until it is released."""

    def __init__(self) -> None:
        super().__init__()
        self.is_free = threading.Event()
        self.asked: list[str] = []

    def keep(self, run_id: str, kind: str, *, seconds: int) -> str | None:
        """Store a vote."""
        self.asked.append(run_id)
        self.is_free.wait(20)
        return super().keep(run_id, kind, seconds=seconds)


async def status_of_vote(endpoint: ASGIFeedback) -> int:
    """Send a vote and return the status of its answer."""
    request = vote(signed())
    headers = [(name.lower().encode(), value.encode()) for name, value in request.headers.items()]
    scope = http_scope("/feedback", method="POST", headers=headers)
    [first, _] = await acall(endpoint, scope, [{"type": "http.request", "body": request.body}])
    return int(first["status"])


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_votes_leave_the_threads_of_the_application_alone(client: LDClient, backend: str) -> None:
    """While the store hangs, four votes wait for it, and the others for these. Once it answers, all of them count."""
    pytest.importorskip(backend)
    store = Hanging()
    tracking = Tracking(client, settings=Settings(feedback=feedback_settings(store=store)))
    endpoint = ASGIFeedback(tracking, ld_context=lambda _scope: Context.create("ada"))
    statuses: Counter[int] = Counter()

    async def send() -> None:
        statuses[await status_of_vote(endpoint)] += 1

    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            for _ in range(50):  # more than the default threads of either
                tasks.start_soon(send)
            while len(store.asked) < 4:
                await anyio.sleep(0.01)
            with anyio.fail_after(3):
                if backend == "asyncio":
                    await asyncio.to_thread(int)
                await anyio.to_thread.run_sync(int)
            assert len(store.asked) == 4
            store.is_free.set()

    anyio.run(main, backend=backend)
    assert statuses == {204: 50}


def test_a_vote_that_waits_too_long_is_refused(client: LDClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """A vote that has no turn with the store in time gets 503, without asking it. It can be sent again."""
    monkeypatch.setattr("ldai_integrations._run.middleware._TURN_SECONDS", 0.05)
    store = Hanging()
    tracking = Tracking(client, settings=Settings(feedback=feedback_settings(store=store)))
    endpoint = ASGIFeedback(tracking, ld_context=lambda _scope: Context.create("ada"))

    async def main() -> list[int]:
        votes = [asyncio.create_task(status_of_vote(endpoint)) for _ in range(10)]
        await asyncio.sleep(0.2)
        store.is_free.set()
        return [*await asyncio.gather(*votes), await status_of_vote(endpoint)]

    statuses = asyncio.run(main())
    assert sorted(statuses[:10]) == [204] * 4 + [503] * 6
    assert statuses[10] == 204
    assert len(store.asked) == 5


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
