"""Several workers count a vote once if they share a store, and warn if they do not."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import flask
import pytest
from ldclient import Config, Context, LDClient

from ldai_integrations import Settings, Tracking, current_run, track_ai
from ldai_integrations.delivery import SpoolingEventProcessor
from ldai_integrations.delivery._sdk import Engine
from ldai_integrations.devserver import DevServer
from ldai_integrations.feedback import MemoryStore
from ldai_integrations.flask import AITracking, feedback_blueprint

from ..conftest import Events
from ..exits.test_servers import free_port
from ..flags import FLAGS
from ..waiting import eventually
from .cases import NO_RUN, signed, vote
from .conftest import feedback_settings
from .test_votes import feedback_events, worker

ROOT = Path(__file__).parents[2]


def make_app() -> flask.Flask:
    """Make the application of a gunicorn worker, with the store that the environment names."""
    app = flask.Flask(__name__)
    tracking = Tracking.from_env(settings=Settings(feedback=feedback_settings(store=os.environ.get("STORE"))))
    AITracking(app, tracking, ld_context=lambda _request: Context.create("ada"))
    app.register_blueprint(feedback_blueprint())
    app.add_url_rule("/token", "token", track_ai(config_key="chat")(lambda: current_run().feedback_token))
    return app


def make_asgi_app() -> Any:
    """Make the application of an ASGI server's worker."""
    from starlette.applications import Starlette

    from ldai_integrations.starlette import TrackingMiddleware, feedback_routes

    tracking = Tracking.from_env(settings=Settings(feedback=feedback_settings(store=os.environ.get("STORE"))))
    app = Starlette(routes=feedback_routes(tracking))
    app.add_middleware(TrackingMiddleware, tracking=tracking)
    return app


def send(port: int, path: str, body: bytes | None = None) -> tuple[int, str]:
    """Send a request on a new connection."""
    import http.client

    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        headers = {"Content-Type": "application/json", "Connection": "close"}
        connection.request("GET" if body is None else "POST", path, body, headers)
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


def serve_and_vote(environ: dict[str, str], token: str = "") -> tuple[str, list[int]]:
    """Start four workers, vote 40 times on one run, and end them; return the token of the run and all statuses."""
    port = free_port()
    command = [sys.executable, "-m", "gunicorn", "--preload", "--workers", "4", "--bind", f"127.0.0.1:{port}"]
    command.append("tests.feedback.test_workers:make_app()")
    with (
        subprocess.Popen(command, cwd=ROOT, env=environ, stderr=subprocess.DEVNULL) as server,
        ThreadPoolExecutor(8) as pool,
    ):
        try:
            assert eventually(lambda: _answers(port), timeout=40)
            token = token or send(port, "/token")[1]
            bodies = [json.dumps({"token": token, "kind": kind}).encode() for kind in ("positive", "negative")] * 20
            return token, [status for status, _ in pool.map(lambda body: send(port, "/feedback", body), bodies)]
        finally:
            server.send_signal(signal.SIGTERM)
            server.wait(30)


def _answers(port: int) -> bool:
    with suppress(OSError):
        return send(port, "/token")[0] == 200
    return False


@pytest.mark.server
@pytest.mark.timeout(120)
@pytest.mark.parametrize("kind", ["sqlite", "redis"])
def test_four_workers_count_a_vote_once(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    """Forty votes at once on one run are one event, and after a restart of the server there is no second one."""
    store = f"sqlite:///{tmp_path}/votes.db" if kind == "sqlite" else request.getfixturevalue("redis_server").url
    with DevServer(FLAGS) as dev_server:
        environ = {**os.environ, "LDAI_DEV_SERVER": dev_server.url, "STORE": store}
        token, statuses = serve_and_vote(environ)
        _, later = serve_and_vote(environ, token)
        events = [event for event in dev_server.events(kind="custom") if ":feedback:" in event["key"]]
    assert [statuses.count(204), statuses.count(409)] == [20, 20]
    assert sorted(later) == sorted(statuses)
    assert len(events) == 1


def test_workers_share_the_rate_limit(client: LDClient, events: Events, tmp_path: Path) -> None:
    """With a shared store, the requests of a client to all workers are counted together, also when one is replaced."""
    options: dict[str, Any] = {"store": f"sqlite:///{tmp_path / 'votes.db'}", "requests_per_minute": 4}
    statuses: list[int] = []
    while not 4 <= len(statuses) < 12:  # a minute that ends meanwhile begins the count again
        statuses = [
            worker(client, **options).post("/feedback", json=json.loads(vote(signed()).body)).status_code
            for _ in range(6)
        ]
    assert statuses[:2] == [204, 204]
    assert statuses.count(429) >= 1


def test_a_vote_that_could_not_be_sent_may_be_sent_again(
    client: LDClient, events: Events, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the LDClient raises, the answer is a 503 and nothing is stored. The retry is sent, once."""
    browser = worker(client)
    token = browser.get("/token").text
    track = client.track

    def fail(*_args: Any, **_values: Any) -> None:
        raise RuntimeError("no event today")

    monkeypatch.setattr("ldclient.LDClient.track", fail)
    browser = worker(client)
    assert browser.post("/feedback", json={"token": token, "kind": "positive"}).status_code == 503
    monkeypatch.undo()
    assert client.track == track
    for _ in range(2):
        assert browser.post("/feedback", json={"token": token, "kind": "positive"}).status_code == 204
    assert len(feedback_events(events)) == 1


@pytest.mark.parametrize("processor", [None, SpoolingEventProcessor], ids=["the SDK's", "ours"])
def test_a_vote_for_a_client_that_is_closed(dev_server: DevServer, no_leaks: None, processor: Any) -> None:
    """The answer is a 503 and nothing is stored, because the event would be lost without an exception."""
    dev_server.clear()
    options: dict[str, Any] = dict.fromkeys(("base_uri", "stream_uri", "events_uri"), dev_server.url)
    if processor is not None:
        options["event_processor_class"] = processor
    client = LDClient(Config("test", diagnostic_opt_out=True, **options))
    store = MemoryStore()
    browser = worker(client, store=store)
    client.close()

    assert browser.post("/feedback", json={"token": signed(), "kind": "positive"}).status_code == 503
    assert store.keep(NO_RUN, "positive", seconds=60) is None


def test_a_vote_for_a_client_whose_queue_is_full(
    dev_server: DevServer, no_leaks: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The answer is a 503, because the event would be dropped. When there is room again, the retry is sent, once."""
    process, go_on = Engine.process, threading.Event()
    monkeypatch.setattr(Engine, "process", lambda *arguments: go_on.wait(30) and process(*arguments))
    dev_server.clear()
    options: dict[str, Any] = dict.fromkeys(("base_uri", "stream_uri", "events_uri"), dev_server.url)
    options.update(event_processor_class=SpoolingEventProcessor, events_max_pending=3)
    client = LDClient(Config("test", diagnostic_opt_out=True, **options))
    browser = worker(client)
    token = signed()

    def vote_once() -> int:
        status: int = browser.post("/feedback", json={"token": token, "kind": "positive"}).status_code
        return status

    for _ in range(6):
        client.track("event", Context.create("ada"))
    assert vote_once() == 503
    go_on.set()
    assert eventually(lambda: vote_once() == 204)
    assert vote_once() == 204
    client.close()
    assert len([event for event in dev_server.events(kind="custom") if ":feedback:" in event["key"]]) == 1


def multiprocess(browser: Any, multiprocess: bool) -> None:
    """Vote as a request that a server with several processes, or with one, has accepted."""
    browser.post(
        "/feedback", json={"token": signed(), "kind": "positive"}, environ_overrides={"wsgi.multiprocess": multiprocess}
    )


@pytest.mark.parametrize("several", [True, False])
def test_workers_without_a_store_are_warned_of(
    client: LDClient, caplog: pytest.LogCaptureFixture, several: bool
) -> None:
    """A WSGI server says whether it has several processes. If so, the first vote logs that a store is missing, once."""
    with caplog.at_level(logging.WARNING, "ldai_integrations"):
        browser = worker(client)
        for _ in range(3):
            multiprocess(browser, several)
    warnings = [record.getMessage() for record in caplog.records if "Several processes take votes" in record.message]
    assert len(warnings) == several
    assert all("store=" in warning for warning in warnings)


_APPS = "tests.feedback.test_workers"
_BIND = "127.0.0.1:{port}"
_GUNICORN = ("gunicorn", "--bind", _BIND, f"{_APPS}:make_app()")
_UVICORN = ("uvicorn", "--port", "{port}", "--factory", f"{_APPS}:make_asgi_app")
_HYPERCORN = ("hypercorn", "--bind", _BIND, f"{_APPS}:make_asgi_app()")
# Its workers ignore a SIGTERM that comes while they load the application.
_GRANIAN = (
    *("granian", "--port", "{port}", "--interface", "asgi", "--workers-kill-timeout", "3"),
    *("--factory", f"{_APPS}:make_asgi_app"),
)


@contextmanager
def serving(arguments: Sequence[str], log: Path, **environ: str) -> Iterator[int]:
    """Start a server, and wait until it answers."""
    pytest.importorskip(arguments[0])
    port = free_port()
    command = [sys.executable, "-m", *(part.format(port=port) for part in arguments)]
    with (
        log.open("wb") as output,
        subprocess.Popen(command, cwd=ROOT, env={**os.environ, **environ}, stderr=output) as server,
    ):
        try:
            assert eventually(lambda: _accepts(port), timeout=40), log.read_text()
            yield port
        finally:
            server.send_signal(signal.SIGTERM)
            server.wait(30)


def _accepts(port: int) -> bool:
    with suppress(OSError):
        return send(port, "/feedback/widget.js")[0] == 200
    return False


@pytest.mark.server
@pytest.mark.timeout(120)
@pytest.mark.skipif(sys.platform != "linux", reason="the process table of Linux says it")
@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize(
    "server",
    [_GUNICORN, _UVICORN, _HYPERCORN, _GRANIAN, (*_GUNICORN, "--preload")],
    ids=lambda server: " ".join(server[:: len(server) - 1]),
)
def test_workers_without_a_store_are_warned_of_at_start(server: tuple[str, ...], workers: int, tmp_path: Path) -> None:
    """A server with several workers logs that a store is missing, before the first vote; with one it does not."""
    log = tmp_path / "log"
    with (
        DevServer(FLAGS) as dev_server,
        serving([*server, "--workers", str(workers)], log, LDAI_DEV_SERVER=dev_server.url) as port,
    ):

        def is_warned() -> bool:
            if "--preload" in server:  # then each worker looks when its first run begins
                send(port, "/token")
            return "Several processes take votes" in log.read_text()

        assert eventually(is_warned, timeout=20 if workers > 1 else 1) == (workers > 1), log.read_text()


def test_workers_with_a_store_are_not_warned_of(
    client: LDClient, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    """With a shared store there is nothing to warn of."""
    multiprocess(worker(client, store=f"sqlite:///{tmp_path / 'votes.db'}"), True)
    assert "Several processes" not in caplog.text


@pytest.mark.parametrize(("workers", "several"), [("4", True), ("1", False), ("many", False), (None, False)])
def test_the_number_of_workers_comes_from_the_environment(
    make_asgi: Callable[[], Any], monkeypatch: pytest.MonkeyPatch, workers: str | None, several: bool
) -> None:
    """WEB_CONCURRENCY says how many workers servers start, if it is set. The warning comes before the first vote."""
    monkeypatch.delenv("WEB_CONCURRENCY", raising=False)
    if workers is not None:
        monkeypatch.setenv("WEB_CONCURRENCY", workers)
    _, tracking = make_asgi()
    assert ("feedback" in tracking.stats().diagnostics) == several


@pytest.fixture
def make_asgi(client: LDClient) -> Callable[[], Any]:
    """Give a function that makes an ASGI application of one worker, and a test client of it."""
    from starlette.applications import Starlette
    from starlette.testclient import TestClient

    from ldai_integrations.starlette import TrackingMiddleware, feedback_routes

    def make() -> Any:
        tracking = Tracking(client, settings=Settings(feedback=feedback_settings()))
        app = Starlette(routes=feedback_routes(tracking))
        app.add_middleware(TrackingMiddleware, tracking=tracking, ld_context=lambda _request: Context.create("ada"))
        return TestClient(app), tracking

    return make
