"""The code on the pages about Flask, FastAPI, Django and middlewares works."""

from __future__ import annotations

import ast
import asyncio
import json
import sys
from collections.abc import Callable
from contextlib import asynccontextmanager
from http.client import HTTPConnection
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import django.urls
import pytest
from django.core.wsgi import get_wsgi_application
from django.http import JsonResponse
from django.test import Client, RequestFactory, override_settings
from fastapi import FastAPI
from fastapi.testclient import TestClient
from flask import Flask, has_request_context
from werkzeug.test import Client as WSGIClient

from ldai_integrations import Run, RunRecord, Tracking, current_run, track_ai
from ldai_integrations.devserver import DevServer
from ldai_integrations.flask import AITracking

from ..contract.drivers import django as _configured  # noqa: F401  # Django has one configuration per process
from ..example_apps.servers import serving_asgi
from ..waiting import eventually
from .conftest import run_block, summaries

ANSWER = {
    "object": "chat.completion",
    "choices": [{"message": {"content": "Yes."}}],
    "usage": {"prompt_tokens": 12, "completion_tokens": 2, "total_tokens": 14},
}


def test_flask(launchdarkly: DevServer, records: list[RunRecord]) -> None:
    """The application of the factory knows the user and reports only requests that call a model."""
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

    assert summaries(records) == [
        ("support-bot", "discarded", ""),
        ("support-bot", "success", ""),
        ("support-bot", "success", "ada"),
    ]
    assert [record.variation_key for record in records] == ["", "small", "large"]
    assert all(record.usage and record.usage.source == "provider" for record in records[1:])
    assert user.get("/health").json == {"launchdarkly": "ok", "runs": 2}


def test_flask_without_changes_to_the_views(launchdarkly: DevServer, records: list[RunRecord]) -> None:
    """Requests that have a key are runs, which views get from current_run(); other requests are not."""
    app: Flask = run_block("flask.md", "def config_key(request)")["app"]
    app.add_url_rule("/chat/new", view_func=lambda: current_run().observe(ANSWER), endpoint="chat")
    app.add_url_rule("/other", view_func=lambda: "other", endpoint="other")
    browser = app.test_client()

    assert (browser.get("/chat/new").json, browser.get("/other").text) == (ANSWER, "other")
    assert summaries(records) == [("support-bot", "success", "")]


def test_the_function_for_keys_is_called_before_flask_has_a_request(tracking: Tracking) -> None:
    """The function uses its argument, because Flask's globals do not work there."""
    app, known = Flask(__name__), []

    def config_key(request: Any) -> str:
        known.append((request.path, has_request_context()))
        return "chat"

    AITracking(app, tracking, config_key=config_key)
    app.test_client().get("/chat/new")

    assert known == [("/chat/new", False)]


def test_flask_server_sent_events(launchdarkly: DevServer, records: list[RunRecord]) -> None:
    """The view streams events with the whole answer, and the run ends with the last one."""
    space = run_block("flask.md", '"text/event-stream"')
    answer = space["app"].test_client().post("/chat/events", json={"question": "this"})
    *events, last, end = answer.text.split("\n\n")
    space["client"].close()

    assert answer.content_type.startswith("text/event-stream")
    assert "".join(json.loads(event.removeprefix("data: "))["text"] for event in events)
    assert (last, end) == ("data: [DONE]", "")
    assert summaries(records) == [("support-bot", "success", "")]
    assert records[0].time_to_first_token_ms is not None


def test_fastapi(launchdarkly: DevServer, records: list[RunRecord]) -> None:
    """The run knows the user whom another middleware has authenticated, and the parameter is filled in."""
    space = run_block("fastapi.md", "async def authenticate")
    with TestClient(space["app"]) as browser:
        assert browser.post("/chat?question=this", headers={"X-User": "ada"}).json()
        assert browser.post("/chat?question=that").status_code == 200
        browser.portal.call(space["client"].close)  # type: ignore[union-attr]
    space["tracking"].close()

    assert summaries(records) == [("support-bot", "success", "ada"), ("support-bot", "success", "")]


def test_fastapi_server_sent_events(launchdarkly: DevServer, records: list[RunRecord]) -> None:
    """The endpoint streams events with the whole answer, and the run ends with the last one."""
    space = run_block("fastapi.md", '"text/event-stream"')
    with TestClient(space["app"]) as browser:
        answer = browser.post("/chat/events?question=this")
        browser.portal.call(space["client"].close)  # type: ignore[union-attr]
    space["tracking"].close()
    *events, last, end = answer.text.split("\n\n")

    assert answer.headers["Content-Type"].startswith("text/event-stream")
    assert "".join(json.loads(event.removeprefix("data: "))["text"] for event in events)
    assert (last, end) == ("data: [DONE]", "")
    assert summaries(records) == [("support-bot", "success", "")]
    assert records[0].time_to_first_token_ms is not None


def test_a_client_that_leaves_the_events_of_fastapi(launchdarkly: DevServer, records: list[RunRecord]) -> None:
    """If the client disconnects during the events, the run is cancelled."""
    space = run_block("fastapi.md", '"text/event-stream"')
    with serving_asgi(space["app"]) as address:
        connection = HTTPConnection(address, timeout=10)
        connection.request("POST", "/chat/events?question=this")
        assert connection.getresponse().readline().startswith(b"data: ")
        connection.close()
        assert eventually(lambda: len(records) == 1)
    space["tracking"].close()

    assert summaries(records) == [("support-bot", "cancelled", "")]


def test_fastapi_websocket(launchdarkly: DevServer, records: list[RunRecord]) -> None:
    """Each turn of a connection is a run."""
    space = run_block("fastapi.md", "@app.websocket")
    with TestClient(space["app"]) as browser:
        with browser.websocket_connect("/talk") as connection:
            for text in ("one", "two"):
                connection.send_text(text)
                assert connection.receive_text()
        browser.portal.call(space["client"].close)  # type: ignore[union-attr]
    space["tracking"].close()

    assert summaries(records) == [("support-bot", "success", "")] * 2
    assert len({record.run_id for record in records}) == 2


def test_fastapi_dependency(launchdarkly: DevServer, records: list[RunRecord]) -> None:
    """The dependency is the run of the middleware. Without the middleware it is a run that does nothing."""
    space = run_block("fastapi.md", "run_dependency")
    with TestClient(space["app"]) as browser:
        assert browser.post("/ask?question=this").json()
        browser.portal.call(space["client"].close)  # type: ignore[union-attr]
    assert summaries(records) == [("support-bot", "success", "")]

    app = FastAPI()
    app.post("/ask")(track_ai(config_key="support-bot", tracking=space["tracking"])(space["ask"]))
    with TestClient(app) as browser:
        assert browser.post("/ask?question=this").status_code == 503
    space["tracking"].close()


def test_fastapi_lifespan(launchdarkly: DevServer) -> None:
    """The lifespan runs the application's own lifespan, and flushes at shutdown."""
    space = run_block("fastapi.md", "own_lifespan)")
    seen: list[str] = []

    @asynccontextmanager
    async def own(_app: Any) -> Any:
        seen.append("open")
        yield
        seen.append("closed")

    tracking, lifespan = space["tracking"], space["lifespan"]
    with TestClient(space["app"]):
        pass
    with (
        TestClient(FastAPI(lifespan=lifespan(tracking, own))),
        track_ai(config_key="support-bot", tracking=tracking) as run,
    ):
        run.add_usage(input_tokens=1, output_tokens=1)

    assert seen == ["open", "closed"]
    assert tracking.stats().pending == 0
    assert tracking.stats().sent
    tracking.close()


class User:
    """A stand-in for Django's user, which needs a database."""

    is_authenticated = True
    pk = 7


def authentication(get_response: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Return a middleware that sets the user of each request."""

    def middleware(request: Any) -> Any:
        request.user = User()
        return get_response(request)

    return middleware


def test_django(launchdarkly: DevServer, monkeypatch: pytest.MonkeyPatch, records: list[RunRecord]) -> None:
    """The settings, the module that they name and the views work together: sync, streamed and async."""
    ai = run_block("django.md", "from ldclient import Context")
    shop = ModuleType("shop")
    for name, module in (("shop", shop), ("shop.ai", ModuleType("shop.ai"))):
        monkeypatch.setitem(sys.modules, name, module)
    vars(sys.modules["shop.ai"]).update(ai)
    theirs = '"django.contrib.auth.middleware.AuthenticationMiddleware"'
    settings = run_block("django.md", "MIDDLEWARE =", replace={theirs: f'"{__name__}.authentication"'})
    views = run_block("django.md", "def chat_stream(run: Run")

    of_async = run_block("django.md", "def chat_async(run: Run")

    async def chat_async(request: Any) -> Any:
        async with of_async["async_client"]:
            return await of_async["chat_async"](request)

    vars(shop)["views"] = SimpleNamespace(**views)
    urls = (
        *run_block("django.md", "urlpatterns", __package__="shop")["urlpatterns"],
        django.urls.path("chat/async", chat_async),
    )
    with override_settings(MIDDLEWARE=settings["MIDDLEWARE"], LDAI=settings["LDAI"], ROOT_URLCONF=urls):
        assert get_wsgi_application()
        browser = Client()
        assert browser.get("/chat?question=this").json()["answer"]
        assert b"".join(browser.get("/chat/stream?question=this"))
        assert browser.get("/chat/async?question=this").json()["answer"]
    views["client"].close()
    ai["tracking"].close()

    assert summaries(records) == [("support-bot", "success", "user-7")] * 3
    assert launchdarkly.metrics("support-bot")["generationSuccessCount"] == 3


def test_django_loads_the_user_of_an_async_view() -> None:
    """The middleware sets the user, so that ``ld_context`` makes no query on the event loop."""
    load_user = run_block("django.md", "async_only_middleware")["load_user"]

    async def auser() -> User:
        return User()

    async def view(request: Any) -> int:
        return int(request.user.pk)

    assert asyncio.run(load_user(view)(SimpleNamespace(auser=auser))) == User.pk


def test_django_without_changes_to_the_views(
    launchdarkly: DevServer, monkeypatch: pytest.MonkeyPatch, records: list[RunRecord]
) -> None:
    """Requests for which the function in the settings returns a key are runs; other requests are not."""
    tracking = Tracking.from_env()
    for name, names in (("shop.keys", run_block("django.md", "def config_key(request)")), ("shop.ai", vars())):
        module = ModuleType(name)
        vars(module).update(names)
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setitem(sys.modules, "shop", ModuleType("shop"))
    settings = run_block("django.md", "from shop.keys import config_key")["LDAI"]

    def view(_request: Any) -> JsonResponse:
        return JsonResponse(current_run().observe(ANSWER))

    urls = (django.urls.path("chat", view), django.urls.path("other", view))
    middleware = ["ldai_integrations.django.TrackingMiddleware"]
    with override_settings(MIDDLEWARE=middleware, LDAI=settings, ROOT_URLCONF=urls):
        assert [Client().get(path).json() for path in ("/chat", "/other")] == [ANSWER] * 2
    tracking.close()

    assert summaries(records) == [("support-bot", "success", "")]


def test_the_list_of_middlewares_is_that_of_a_new_django_project() -> None:
    """A reader adds one line to the list that Django has written."""
    template = Path(django.__file__).parent / "conf" / "project_template" / "project_name" / "settings.py-tpl"
    tree = ast.parse(template.read_text(encoding="utf-8"))
    values = [node.value for node in tree.body if isinstance(node, ast.Assign)]
    names = [ast.unparse(node.targets[0]) for node in tree.body if isinstance(node, ast.Assign)]
    written = ast.literal_eval(values[names.index("MIDDLEWARE")])

    assert run_block("django.md", "MIDDLEWARE =")["MIDDLEWARE"] == [
        *written,
        "ldai_integrations.django.TrackingMiddleware",
    ]


def test_the_test_client_of_django_says_that_there_are_several_processes() -> None:
    """So the line about a missing store is logged in tests, although there is one process."""
    assert RequestFactory().post("/feedback").META["wsgi.multiprocess"] is True


def test_django_class_based(tracking: Tracking, records: list[RunRecord]) -> None:
    """The decorator on a method passes the run, and passes ``self`` to the function for variables."""

    class Chat:
        company = "Acme"

        @track_ai(config_key="chat", tracking=tracking, variables=lambda self, request: {"company": self.company})
        def get(self, run: Run, request: str) -> str:
            run.observe(ANSWER)
            return str(run.messages()[0]["content"])

    assert Chat().get("request") == "You help Acme."
    assert summaries(records)[0][:2] == ("chat", "success")


def test_a_middleware_with_decorated_handlers(launchdarkly: DevServer, records: list[RunRecord]) -> None:
    """A decorated function below the WSGI middleware knows the user of the request."""
    space = run_block("middleware.md", "WSGITrackingMiddleware(app,")
    browser = WSGIClient(space["application"])
    assert browser.get("/", environ_base={"REMOTE_USER": "ada"}).text == "Hello, ada"
    space["tracking"].close()

    assert summaries(records) == [("support-bot", "success", "ada")]


def test_a_middleware_that_tracks_every_request(
    launchdarkly: DevServer, monkeypatch: pytest.MonkeyPatch, records: list[RunRecord]
) -> None:
    """Requests for which the function returns a key are runs, without any change to the application."""
    inner = FastAPI()

    @inner.get("/chat")
    async def chat() -> Any:
        return ANSWER

    @inner.get("/other")
    async def other() -> Any:
        return ANSWER

    shop = ModuleType("shop")
    monkeypatch.setattr(shop, "application", inner, raising=False)
    monkeypatch.setitem(sys.modules, "shop", shop)
    space = run_block("middleware.md", "def config_key(scope)")
    with TestClient(space["application"]) as browser:
        assert (browser.get("/chat").json(), browser.get("/other").json()) == (ANSWER, ANSWER)
    space["tracking"].close()

    assert summaries(records) == [("support-bot", "success", "")]
    assert records[0].usage is not None
    assert records[0].usage.source == "provider"
