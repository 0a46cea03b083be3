"""Requests in which no generation takes place: cached answers, pages, assets, redirects and errors."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from typing import Any

import flask
import pytest
from django.conf import settings as django_settings
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, StreamingResponse
from starlette.routing import Route
from starlette.testclient import TestClient
from werkzeug.test import Client

from ldai_integrations import Run, track_ai, wrap_client
from ldai_integrations.asgi import ASGITrackingMiddleware
from ldai_integrations.flask import AITracking
from ldai_integrations.starlette import TrackingMiddleware
from ldai_integrations.testing import OfflineLaunchDarkly, RecordingSink, ai_config
from ldai_integrations.wsgi import WSGITrackingMiddleware

from .provider import IN, OUT, Provider

ASK: list[Any] = [{"role": "user", "content": "Hi"}]
BODY = {
    "id": "chatcmpl-x",
    "object": "chat.completion",
    "model": "m",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hi"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 7317, "completion_tokens": 3863, "total_tokens": 11180},
}
Get = Callable[[str], int]
#: An answer as LangChain and LangGraph keep it.
MESSAGE = {
    "type": "ai",
    "id": "run-1",
    "content": "Hello there",
    "response_metadata": {"finish_reason": "stop"},
    "usage_metadata": {"input_tokens": IN, "output_tokens": OUT, "total_tokens": IN + OUT},
}
#: Pages that show how a job has ended, what was said in a chat, and a response that the provider has stored.
STORED: dict[str, Any] = {
    "/jobs/1": {"status": "done", "result": BODY},
    "/jobs/2": {"status": "failed", "error": "no"},
    "/chats/1": {"messages": [{"type": "human", "content": "Hi"}, MESSAGE]},
    "/threads/1/state": {"values": {"messages": [MESSAGE]}},
    f"/v1/chat/completions/{BODY['id']}": BODY,
}
GEMINI = {
    "responseId": "r1",
    "candidates": [{"content": {"role": "model", "parts": [{"text": "Hi"}]}, "finishReason": "STOP"}],
    "usageMetadata": {"promptTokenCount": IN, "candidatesTokenCount": OUT, "totalTokenCount": IN + OUT},
}
#: Results of batches, which were generated before.
BATCHES = {
    "/v1/files/1/content": {"id": "b1", "custom_id": "x1", "response": {"status_code": 200, "body": BODY}},
    "/v1/files/2/content": {"key": "k1", "response": GEMINI},
}


def results(path: str, count: int) -> str:
    """Return the results of a batch, one a line."""
    return (json.dumps(BATCHES[path]) + "\n") * count


#: Paths that serve no generation, and their status.
PAGES = {
    "/health": 200,
    "/moved": 307,
    "/static.css": 200,
    "/json": 200,
    "/v1/messages/count_tokens": 200,
    **dict.fromkeys(STORED, 200),
    "/refused": 400,
    "/missing": 404,
}


def flask_app(ask: Callable[[], str]) -> flask.Flask:
    """Return a Flask application with a chat, a proxy and pages."""
    app = flask.Flask(__name__)
    app.get("/chat")(ask)
    app.get("/proxy", endpoint="proxy")(lambda: flask.jsonify(BODY))
    app.get("/health", endpoint="health")(lambda: "ok")
    app.get("/moved", endpoint="moved")(lambda: flask.redirect("/health", 307))
    app.get("/static.css", endpoint="css")(lambda: flask.Response("a {}", mimetype="text/css"))
    app.get("/json", endpoint="json")(lambda: {"status": "ok"})
    app.get("/v1/messages/count_tokens", endpoint="count")(lambda: {"input_tokens": 14})
    app.get("/usage", endpoint="usage")(lambda: {"answer": "Hi", "usage": BODY["usage"]})
    app.get("/tokens", endpoint="tokens")(lambda: {"user": "ada", "usage": {"input_tokens": 5_000_000}})
    for path, page in STORED.items():
        app.get(path, endpoint=path.replace(".", "-"))(lambda page=page: page)
    for path in BATCHES:

        def download(path: str = path) -> flask.Response:
            kind, count = flask.request.args["type"], int(flask.request.args["count"])
            return flask.Response(iter([results(path, count)]), mimetype=kind)

        app.get(path, endpoint=path)(download)
    app.get("/refused", endpoint="refused")(lambda: ("no", 400))
    app.get("/broken", endpoint="broken")(lambda: ("broken", 500))
    return app


def starlette_routes(ask: Callable[[], str]) -> list[Route]:
    """Return the same for Starlette and FastAPI."""
    answers: dict[str, Callable[[], Any]] = {
        "/chat": lambda: PlainTextResponse(ask()),
        "/proxy": lambda: JSONResponse(BODY),
        "/health": lambda: PlainTextResponse("ok"),
        "/moved": lambda: RedirectResponse("/health"),
        "/static.css": lambda: PlainTextResponse("a {}", media_type="text/css"),
        "/json": lambda: JSONResponse({"status": "ok"}),
        "/v1/messages/count_tokens": lambda: JSONResponse({"input_tokens": 14}),
        "/usage": lambda: JSONResponse({"answer": "Hi", "usage": BODY["usage"]}),
        "/tokens": lambda: JSONResponse({"user": "ada", "usage": {"input_tokens": 5_000_000}}),
        **{path: partial(JSONResponse, page) for path, page in STORED.items()},
        "/refused": lambda: PlainTextResponse("no", 400),
        "/broken": lambda: PlainTextResponse("broken", 500),
    }

    def route(path: str) -> Route:
        def serve(_request: Any) -> Any:
            return answers[path]()

        return Route(path, serve)

    def download(request: Request) -> StreamingResponse:
        lines = results(request.url.path, int(request.query_params["count"]))
        return StreamingResponse(iter([lines]), media_type=request.query_params["type"])

    return [*(route(path) for path in answers), *(Route(path, download) for path in BATCHES)]


@pytest.fixture(params=["wsgi", "flask", "asgi", "starlette", "fastapi"])
def get(request: pytest.FixtureRequest, launchdarkly: OfflineLaunchDarkly, provider: Provider, openai: Any) -> Get:
    """Return what requests a path of an application with a middleware around all of it."""
    client = wrap_client(openai)

    def ask() -> str:
        return str(client.chat.completions.create(model="gpt-4o-mini", messages=ASK).choices[0].message.content)

    tracking = launchdarkly.tracking
    if request.param in ("wsgi", "flask"):
        app: Any = flask_app(ask)
        if request.param == "flask":
            AITracking(app, tracking, config_key="chat")
        browser: Any = Client(
            WSGITrackingMiddleware(app, tracking, config_key="chat") if request.param == "wsgi" else app
        )
        return lambda path: int(browser.get(path, buffered=True).status_code)
    routes: Any = starlette_routes(ask)
    if request.param == "fastapi":
        app = FastAPI(routes=routes)
        app.add_middleware(TrackingMiddleware, tracking=tracking, config_key="chat")
    elif request.param == "starlette":
        app = Starlette(routes=routes)
        app.add_middleware(TrackingMiddleware, tracking=tracking, config_key="chat")
    else:
        app = ASGITrackingMiddleware(Starlette(routes=routes), tracking, config_key="chat")
    test_client = TestClient(app, follow_redirects=False)
    return lambda path: int(test_client.get(path).status_code)


@pytest.mark.parametrize("after_a_chat", [False, True])
def test_pages_are_no_generations(after_a_chat: bool, get: Get, launchdarkly: OfflineLaunchDarkly) -> None:
    """A middleware around a whole application counts requests with a provider call, and nothing else."""
    if after_a_chat:
        assert get("/chat") == 200
    for path, status in PAGES.items():
        assert get(path) == status
    assert get("/broken") == 500
    assert len(launchdarkly.sink.records) == after_a_chat
    assert len(launchdarkly.events.of_runs()) == 5 * after_a_chat


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("kind", ["application/jsonl", "text/plain"])
@pytest.mark.parametrize("path", BATCHES)
def test_results_of_a_batch(path: str, kind: str, count: int, get: Get, launchdarkly: OfflineLaunchDarkly) -> None:
    """A file of results that passes a middleware was generated before."""
    assert get(f"{path}?type={kind}&count={count}") == 200
    assert launchdarkly.sink.records == []
    assert launchdarkly.events.of_runs() == []


@pytest.mark.parametrize("config_key", ["chat", lambda _environ: "chat"], ids=["key", "function"])
def test_a_stored_response(config_key: Any, launchdarkly: OfflineLaunchDarkly, runs: RecordingSink) -> None:
    """A response whose id is in the path was generated before, also if a function names the run."""
    app = flask.Flask(__name__)
    app.get("/v1/chat/completions/<_name>")(lambda _name: flask.jsonify(BODY))
    served = Client(WSGITrackingMiddleware(app, launchdarkly.tracking, config_key=config_key))
    for name in (BODY["id"], "another"):
        assert served.get(f"/v1/chat/completions/{name}").status_code == 200
    assert [record.outcome for record in runs.wait(2)] == ["discarded", "success"]


@pytest.mark.parametrize(("status", "outcome"), [(400, "discarded"), (422, "discarded"), (502, "error")])
@pytest.mark.parametrize("form", ["dict", "response", "response and headers", "text"])
def test_refusals_of_a_view(form: str, status: int, outcome: str, runs: RecordingSink) -> None:
    """The status that a view returns beside its body decides, and the text of an error has no tokens."""
    forms: dict[str, Callable[[], Any]] = {
        "dict": lambda: ({"error": "No message"}, status),
        "response": lambda: (flask.jsonify(error="No message"), status),
        "response and headers": lambda: (flask.jsonify(error="No message"), status, {"X-Why": "no"}),
        "text": lambda: ("No message", status),
    }
    app = flask.Flask(__name__)
    app.post("/chat")(track_ai(config_key="chat")(forms[form]))
    assert app.test_client().post("/chat").status_code == status
    record = runs.wait()[0]
    assert (record.outcome, record.calls, record.usage) == (outcome, 0, None)


def test_an_error_without_a_call(runs: RecordingSink) -> None:
    """The text of an error object that a handler returns has no tokens."""
    track_ai(config_key="chat")(lambda: {"error": "No message"})()
    record = runs.wait()[0]
    assert (record.outcome, record.usage) == ("error", None)


def test_the_pages_of_fastapi(launchdarkly: OfflineLaunchDarkly) -> None:
    """The documentation of FastAPI is no generation."""
    app = FastAPI()
    app.add_middleware(TrackingMiddleware, tracking=launchdarkly.tracking, config_key="chat")
    with TestClient(app) as browser:
        assert [browser.get(path).status_code for path in ("/docs", "/redoc", "/openapi.json")] == [200] * 3
    assert launchdarkly.sink.records == []
    assert launchdarkly.events.of_runs() == []


def test_provider_calls_and_provider_bodies(get: Get, launchdarkly: OfflineLaunchDarkly) -> None:
    """A request with a provider call counts, and so does one whose response has a provider's format."""
    assert (get("/chat"), get("/proxy")) == (200, 200)
    records = launchdarkly.sink.wait(2)
    assert [record.usage.input_tokens for record in records if record.usage is not None] == [IN, IN]
    assert [record.outcome for record in records] == ["success", "success"]


def test_django(launchdarkly: OfflineLaunchDarkly, openai: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same for Django."""
    from django.core.handlers.wsgi import WSGIHandler
    from django.http import HttpResponse, HttpResponseRedirect, JsonResponse
    from django.urls import path

    client = wrap_client(openai)

    def chat(_request: Any) -> HttpResponse:
        return HttpResponse(
            client.chat.completions.create(model="gpt-4o-mini", messages=ASK).choices[0].message.content
        )

    class Urls:
        urlpatterns = (
            path("chat", chat),
            path("health", lambda _request: HttpResponse("ok")),
            path("moved", lambda _request: HttpResponseRedirect("/health")),
            path("json", lambda _request: JsonResponse({"status": "ok"})),
            path("proxy", lambda _request: JsonResponse(BODY)),
        )

    if not django_settings.configured:
        django_settings.configure(SECRET_KEY="s" * 50, ALLOWED_HOSTS=["*"], MIDDLEWARE=[], ROOT_URLCONF="")
        import django

        django.setup()
    from django.test import override_settings

    options = {"config_key": "chat", "tracking": launchdarkly.tracking}
    middleware = ["ldai_integrations.django.TrackingMiddleware"]
    with override_settings(ROOT_URLCONF=Urls, MIDDLEWARE=middleware, LDAI=options, ALLOWED_HOSTS=["*"]):
        browser = Client(WSGIHandler())
        for page, status in {"health": 200, "moved": 302, "json": 200, "missing": 404}.items():
            assert browser.get(f"/{page}", buffered=True).status_code == status
        assert launchdarkly.sink.records == []
        assert browser.get("/chat", buffered=True).status_code == 200
        assert browser.get("/proxy", buffered=True).status_code == 200
    assert [record.usage.input_tokens for record in launchdarkly.sink.wait(2) if record.usage] == [IN, IN]


@pytest.mark.parametrize("kind", ["function", "flask"])
def test_a_cached_answer(
    kind: str, openai: Any, launchdarkly: OfflineLaunchDarkly, runs: RecordingSink, caplog: pytest.LogCaptureFixture
) -> None:
    """Once a run has made a provider call, a later run of its key without one is no generation."""
    client, cache = wrap_client(openai), dict[str, str]()

    @track_ai(config_key="chat")
    def answer(question: str = "Hi") -> str:
        if question not in cache:
            response = client.chat.completions.create(model="gpt-4o-mini", messages=ASK)
            cache[question] = response.choices[0].message.content
        return cache[question]

    if kind == "flask":
        app = flask.Flask(__name__)
        AITracking(app, launchdarkly.tracking)
        app.get("/")(answer)
        assert [app.test_client().get("/").text for _ in range(3)] == ["Hello there"] * 3
    else:
        assert [answer() for _ in range(3)] == ["Hello there"] * 3
    assert [record.outcome for record in runs.wait(3)] == ["success", "discarded", "discarded"]
    assert len(launchdarkly.sink.records) == launchdarkly.tracking.stats().runs == 1
    assert launchdarkly.tracking.stats().diagnostics == {"no_call": 2}
    [line] = [line for line in caplog.messages if "No provider call was seen" in line]
    assert "wrap_client()" in line
    assert "run.discard()" in line


def test_embeddings_of_another_client(openai: Any, runs: RecordingSink) -> None:
    """Embeddings have no finish reason; those that a handler passes on count beside calls that are seen."""
    client = wrap_client(openai)
    usage = {"prompt_tokens": IN, "total_tokens": IN}
    vector = {"object": "embedding", "index": 0, "embedding": [0.5]}
    embeddings = {"object": "list", "model": "m", "data": [vector], "usage": usage}

    @track_ai(config_key="chat")
    def handler(path: str) -> Any:
        if path == "/chat":
            return client.chat.completions.create(model="gpt-4o-mini", messages=ASK).choices[0].message.content
        return embeddings

    for path in ("/chat", "/embeddings"):
        handler(path)
    records = runs.wait(2)
    assert [record.outcome for record in records] == ["success", "success"]
    assert [record.usage.input_tokens for record in records if record.usage] == [IN, IN]


def test_usage_without_a_call_is_logged(get: Get, runs: RecordingSink, caplog: pytest.LogCaptureFixture) -> None:
    """A middleware says once that it does not count a response with usage, of which it has seen no provider call."""
    assert (get("/usage"), get("/chat"), get("/usage"), get("/tokens")) == (200, 200, 200, 200)
    assert [record.outcome for record in runs.wait(4)] == ["discarded", "success", "discarded", "discarded"]
    assert len([line for line in caplog.messages if "so it is not reported" in line]) == 1


@pytest.mark.parametrize(
    "stored", [{"token_usage": BODY["usage"]}, {"token_usage": {"total_tokens": 44_310}}, {"result": BODY}]
)
@pytest.mark.parametrize("kind", ["function", "fastapi", "flask", "flask with a status"])
def test_a_cached_answer_with_usage(
    kind: str, stored: dict[str, Any], openai: Any, launchdarkly: OfflineLaunchDarkly, runs: RecordingSink
) -> None:
    """Usage, or a response, that an application puts into its own JSON makes no generation of a cached answer."""
    client, cache = wrap_client(openai), dict[str, Any]()

    @track_ai(config_key="chat")
    def answer() -> Any:
        if not cache:
            response = client.chat.completions.create(model="gpt-4o-mini", messages=ASK)
            cache.update(answer=response.choices[0].message.content, **stored)
        return (cache, 200) if kind == "flask with a status" else cache

    if kind == "function":
        browser: Any = None
    elif kind == "fastapi":
        app = FastAPI()
        app.get("/")(answer)
        browser = TestClient(app)
    else:
        site = flask.Flask(__name__)
        site.get("/")(answer)
        browser = site.test_client()
    for _ in range(3):
        answer() if browser is None else browser.get("/")
    assert [record.outcome for record in runs.wait(3)] == ["success", "discarded", "discarded"]


def test_other_keys_are_not_affected(provider: Provider, openai: Any, runs: RecordingSink) -> None:
    """A key whose runs never make a call that is seen is counted by its output."""
    client = wrap_client(openai)
    with track_ai(config_key="chat"):
        client.chat.completions.create(model="gpt-4o-mini", messages=ASK)
    track_ai(config_key="other")(lambda: "An answer")()
    assert [record.outcome for record in runs.wait(2)] == ["success", "success"]
    assert runs.records[1].usage is not None
    assert runs.records[1].usage.source == "estimate"
    assert runs.records[1].usage.input_tokens is None


@pytest.mark.parametrize("calls", [0, 1])
def test_discard(
    calls: int, provider: Provider, openai: Any, launchdarkly: OfflineLaunchDarkly, runs: RecordingSink
) -> None:
    """``run.discard()`` reports nothing, whatever the run has done."""
    client = wrap_client(openai)

    @track_ai(config_key="chat")
    def handler(run: Run) -> str:
        for _ in range(calls):
            client.chat.completions.create(model="gpt-4o-mini", messages=ASK)
        run.discard()
        return "from the cache"

    assert handler() == "from the cache"
    assert runs.wait()[0].outcome == "discarded"
    assert launchdarkly.sink.records == []
    assert launchdarkly.events.of_runs() == []


@pytest.mark.parametrize("status", [200, 404, 503])
def test_a_disabled_ai_config(status: int, launchdarkly: OfflineLaunchDarkly, runs: RecordingSink) -> None:
    """A run of a disabled AI Config without a call is no generation, whatever the application answers."""
    launchdarkly.serve("off", ai_config(enabled=False))
    app = flask.Flask(__name__)
    view = track_ai(config_key="off", on_disabled=lambda: ("The assistant is not available.", status))(lambda: "never")
    app.get("/")(view)
    assert app.test_client().get("/").status_code == status
    assert [(record.outcome, record.enabled) for record in runs.wait()] == [("discarded", False)]


def test_the_handler_of_a_disabled_ai_config_fails(launchdarkly: OfflineLaunchDarkly, runs: RecordingSink) -> None:
    """An exception is an error, also if the AI Config is disabled."""
    launchdarkly.serve("off", ai_config(enabled=False))

    @track_ai(config_key="off")
    def fail(run: Run) -> None:
        assert not run.config.enabled
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert [record.outcome for record in runs.wait()] == ["error"]


def test_the_conversation_of_a_discarded_run(runs: RecordingSink) -> None:
    """A run that is no generation keeps the id that the application has set."""
    with track_ai(config_key="chat") as run:
        run.conversation_id = "talk-1"
        run.discard()
    assert [(record.outcome, record.conversation_id) for record in runs.wait()] == [("discarded", "talk-1")]
