"""What the pages about Flask, FastAPI and Django show works as it stands there."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import asynccontextmanager
from types import ModuleType
from typing import Any

import pytest
from django.core.wsgi import get_wsgi_application
from django.test import Client, override_settings
from django.urls import path
from fastapi import FastAPI, WebSocket
from fastapi.testclient import TestClient
from flask import Flask

from ldai_integrations import Run, RunRecord, Tracking, current_run, track_ai
from ldai_integrations.devserver import DevServer
from ldai_integrations.flask import AITracking
from ldai_integrations.starlette import TrackingMiddleware

from ..contract.drivers import django as _configured  # noqa: F401  # Django has one configuration per process
from .conftest import run_block, told


def test_flask(launchdarkly: DevServer, records: list[RunRecord]) -> None:
    """The factory's application knows who asks, tracks what was asked of a model, and nothing else."""
    space = run_block("flask.md", "def create_app()")
    app = space["create_app"]()
    visitor, user = app.test_client(), app.test_client()
    with user.session_transaction() as session:
        session["user"], session["plan"] = "ada", "premium"

    question = {"question": "Where is it?"}
    assert visitor.post("/orders/7/help", json=question).status_code == 404
    assert visitor.post("/orders/1001/help", json=question).json["answer"]
    assert user.post("/orders/1001/help", json=question).json["answer"]
    space["client"].close()

    assert told(records) == [
        ("order-help", "discarded", ""),
        ("order-help", "success", ""),
        ("order-help", "success", "ada"),
    ]
    assert [record.variation_key for record in records] == ["", "small", "large"]
    assert all(record.usage and record.usage.source == "provider" for record in records[1:])
    assert user.get("/health").json == {"launchdarkly": "ok", "runs": 2}


def test_flask_with_an_ai_config_that_is_off(launchdarkly: DevServer, records: list[RunRecord]) -> None:
    """The other function answers, and nothing is reported."""
    app = Flask("page")
    AITracking(app)
    run_block("flask.md", "on_disabled=", app=app, track_ai=track_ai)

    assert app.test_client().post("/summary").json == {"summary": None}
    assert [record.enabled for record in records] == [False]
    assert launchdarkly.metrics("summary").get("generationCount") is None


def test_flask_without_touching_the_views(launchdarkly: DevServer, records: list[RunRecord]) -> None:
    """Requests that have a key are runs, which the code below can ask for; others are not."""
    app = Flask("page")
    run_block("flask.md", "def config_key(request)", app=app, AITracking=AITracking)
    app.add_url_rule("/chat/new", view_func=lambda: current_run().model, endpoint="chat")
    app.add_url_rule("/other", view_func=lambda: "other", endpoint="other")
    browser = app.test_client()

    assert (browser.get("/chat/new").text, browser.get("/other").text) == ("gpt-4o-mini", "other")
    assert told(records) == [("support-bot", "success", "")]


@pytest.fixture
def fastapi(launchdarkly: DevServer) -> Iterator[dict[str, Any]]:
    """Give the names of the first block on the page about FastAPI."""
    space = run_block("fastapi.md", "async def authenticate")
    yield space
    space["tracking"].close()


def test_fastapi(fastapi: dict[str, Any], records: list[RunRecord]) -> None:
    """Who asks is what a middleware below has found out, and the parameter is filled in."""
    with TestClient(fastapi["app"]) as browser:
        assert browser.post("/chat?question=this", headers={"X-User": "ada"}).json() == "ada asked this"
        assert browser.post("/chat?question=that").status_code == 200

    assert told(records) == [("support-bot", "success", "ada"), ("support-bot", "success", "")]


def test_fastapi_websocket(fastapi: dict[str, Any], records: list[RunRecord]) -> None:
    """Each turn of a connection is a run."""
    run_block("fastapi.md", "@app.websocket", app=fastapi["app"], track_ai=track_ai, WebSocket=WebSocket)
    with TestClient(fastapi["app"]) as browser, browser.websocket_connect("/talk") as connection:
        for text in ("one", "two"):
            connection.send_text(text)
            assert connection.receive_text() == f"You said: {text}"

    assert told(records) == [("support-bot", "success", "")] * 2
    assert len({record.run_id for record in records}) == 2


def test_fastapi_dependency(fastapi: dict[str, Any], records: list[RunRecord]) -> None:
    """The dependency is the middleware's run; without it, dependencies are solved before there is one."""
    names = {"TrackingMiddleware": TrackingMiddleware, "Run": Run, "tracking": fastapi["tracking"]}
    space = run_block("fastapi.md", "run_dependency", app=FastAPI(), **names)
    with TestClient(space["app"]) as browser:
        assert browser.post("/ask").json() == "gpt-4o-mini"
    assert told(records) == [("support-bot", "success", "")]

    app = FastAPI()
    app.post("/ask")(track_ai(config_key="support-bot", tracking=fastapi["tracking"])(space["ask"]))
    with TestClient(app) as browser:
        assert browser.post("/ask").json() == ""


def test_fastapi_lifespan(fastapi: dict[str, Any]) -> None:
    """The lifespan flushes after the application's own, in whose place it stands."""
    seen: list[str] = []

    @asynccontextmanager
    async def own(_app: Any) -> Any:
        seen.append("open")
        yield
        seen.append("closed")

    tracking = fastapi["tracking"]
    space = run_block("fastapi.md", "own_lifespan)", FastAPI=FastAPI, tracking=tracking, own_lifespan=own)
    with TestClient(space["app"]), track_ai(config_key="support-bot", tracking=tracking) as run:
        run.add_usage(input_tokens=1, output_tokens=1)

    assert seen == ["open", "closed"]
    assert tracking.stats().pending == 0
    assert tracking.stats().sent


class User:
    """Stand for Django's user, which needs a database."""

    is_authenticated = True
    pk = 7


def authentication(get_response: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Be the middleware that says who asks."""

    def middleware(request: Any) -> Any:
        request.user = User()
        return get_response(request)

    return middleware


def test_django(launchdarkly: DevServer, monkeypatch: pytest.MonkeyPatch, records: list[RunRecord]) -> None:
    """The settings, the module they name and the views work together, sync, streamed and async."""
    ai = run_block("django.md", "from ldclient import Context")
    for name in ("shop", "shop.ai"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    vars(sys.modules["shop.ai"]).update(ai)
    theirs = '"django.contrib.auth.middleware.AuthenticationMiddleware"'
    settings = run_block("django.md", "MIDDLEWARE =", replace={theirs: f'"{__name__}.authentication"'})
    views = run_block("django.md", "def chat_stream(request)")
    urls = tuple(path(name, views[name]) for name in ("chat", "chat_stream", "chat_async"))
    with override_settings(MIDDLEWARE=settings["MIDDLEWARE"], LDAI=settings["LDAI"], ROOT_URLCONF=urls):
        assert get_wsgi_application()
        browser = Client()
        assert browser.get("/chat").json() == {"answer": "Hello, user-7"}
        assert b"".join(browser.get("/chat_stream")) == b"Hello"
        assert browser.get("/chat_async").json() == {"answer": "Hello"}
    ai["tracking"].close()

    assert told(records) == [("support-bot", "success", "user-7")] * 3
    assert launchdarkly.metrics("support-bot")["generationSuccessCount"] == 3


def test_django_class_based(tracking: Tracking, records: list[RunRecord]) -> None:
    """The decorator on a method gets the run in, and gives ``self`` to the function for variables."""

    class Chat:
        company = "Acme"

        @track_ai(config_key="chat", tracking=tracking, variables=lambda self, request: {"company": self.company})
        def get(self, request: str, run: Run) -> str:
            return str(run.messages()[0]["content"])

    assert Chat().get("request") == "You help Acme."  # type: ignore[call-arg]
    assert told(records)[0][:2] == ("chat", "success")
