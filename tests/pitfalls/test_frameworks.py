"""Pitfalls 36, 37, 39 to 41, 43, 44, 46 and 47: what frameworks and servers do with an application we are in."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import io
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from typing import Annotated, Any, ClassVar
from wsgiref.util import FileWrapper

import flask
import pytest
from fastapi import Depends, FastAPI, Query, WebSocket
from flask.views import MethodView
from ldclient import Context, LDClient
from pydantic import BaseModel
from starlette.applications import Starlette
from starlette.endpoints import HTTPEndpoint
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.testclient import TestClient

from ldai_integrations import Run, RunRecord, Tracking, current_run, track_ai
from ldai_integrations.asgi import ASGITrackingMiddleware
from ldai_integrations.flask import AITracking
from ldai_integrations.starlette import TrackingMiddleware, run_dependency
from ldai_integrations.wsgi import WSGITrackingMiddleware

from ..binding import in_run
from ..conftest import Clock, Decorate, Events, always_chat
from ..integrations.asgi_calls import app_that_sends, call
from ..integrations.asgi_calls import body as asgi_body
from ..integrations.asgi_calls import start as asgi_start
from ..integrations.test_wsgi import app_that_returns, consume, environ, start_response


@pytest.mark.parametrize("order", ["outside", "inside", "both"])
def test_beside_base_http_middleware(tracking: Tracking, records: list[RunRecord], order: str) -> None:
    """A BaseHTTPMiddleware on either side loses neither the run nor the end of the stream."""

    async def dispatch(request: Request, call_next: Any) -> Response:
        response: Response = await call_next(request)
        return response

    ours = Middleware(TrackingMiddleware, tracking=tracking, config_key=always_chat)
    theirs = Middleware(BaseHTTPMiddleware, dispatch=dispatch)

    async def stream(request: Request) -> Response:
        async def chunks() -> AsyncIterator[str]:
            yield current_run().config_key
            yield " there"

        return StreamingResponse(chunks(), media_type="text/plain")

    middleware = {"outside": [ours, theirs], "inside": [theirs, ours], "both": [theirs, ours, theirs]}[order]
    app = Starlette(routes=[Route("/", stream)], middleware=middleware)

    assert TestClient(app).get("/").text == "chat there"
    assert [record.outcome for record in records] == ["success"]
    assert records[0].time_to_first_token_ms is not None


def says_its_input(run: Annotated[Run, Depends(run_dependency)]) -> tuple[str, threading.Thread]:
    """Return the input tokens of the run and the thread, as a synchronous dependency."""
    run.add_usage(input_tokens=3)
    return run.id, threading.current_thread()


def test_what_is_said_in_the_thread_pool(tracking: Tracking, records: list[RunRecord]) -> None:
    """Sync dependencies and endpoints run in threads; what they say of the run is known above."""
    app = FastAPI()
    app.add_middleware(TrackingMiddleware, tracking=tracking, config_key=always_chat)

    @app.get("/")
    def endpoint(said: Annotated[Any, Depends(says_its_input)]) -> bool:
        current_run().add_usage(output_tokens=2)
        run_id, thread = said
        return run_id == current_run().id and threading.main_thread() not in (thread, threading.current_thread())

    assert TestClient(app).get("/").json() is True
    assert [record.usage and record.usage.total_tokens for record in records] == [5]


class Answer(BaseModel):
    """A response model."""

    text: str


def asked(question: Annotated[str, Query(max_length=20)] = "Who?") -> str:
    """Return the question, as a dependency."""
    return question


def _endpoints(decorate: Decorate) -> FastAPI:
    app = FastAPI()

    @app.get("/sync", response_model=Answer)
    @decorate
    def sync(number: int, question: Annotated[str, Depends(asked)], loud: bool = False) -> Any:
        """Answer."""
        return {"text": f"{question} {number} {loud}", "dropped": True}

    @app.post("/async")
    @decorate
    async def asynchronous(answer: Answer, request: Request) -> Answer:
        return answer

    @app.get("/stream")
    @decorate
    async def stream(question: Annotated[str, Depends(asked)]) -> StreamingResponse:
        return StreamingResponse(iter([question]))

    return app


def test_fastapi_sees_the_endpoint_that_it_was(track: Decorate, records: list[RunRecord]) -> None:
    """OpenAPI, dependencies, validation and response models are unchanged, though all annotations are text here."""
    plain, tracked = TestClient(_endpoints(lambda endpoint: endpoint)), TestClient(_endpoints(track))

    assert tracked.get("/openapi.json").json() == plain.get("/openapi.json").json()
    requests: list[tuple[str, str, Any]] = [
        ("GET", "/sync?number=1&question=Why&loud=1", None),
        ("GET", "/sync?number=one", None),
        ("POST", "/async", {"text": "Hello"}),
        ("POST", "/async", {}),
        ("GET", "/stream?question=" + "x" * 21, None),
        ("GET", "/stream?question=How", None),
    ]
    for method, url, json in requests:
        ours, theirs = (client.request(method, url, json=json) for client in (tracked, plain))
        assert (ours.status_code, ours.content) == (theirs.status_code, theirs.content)
        assert dict(ours.headers) == dict(theirs.headers)
    assert [record.outcome for record in records] == ["success"] * 3


def test_the_run_parameter_is_not_in_the_schema(track: Decorate) -> None:
    """A parameter annotated ``Run`` is filled in; FastAPI does not see it."""
    app = FastAPI()

    @app.get("/")
    @track
    def endpoint(question: str, run: Run) -> str:
        return f"{question} {run.config_key}"

    client = TestClient(app)

    assert client.get("/?question=Who").json() == "Who chat"
    parameters = client.get("/openapi.json").json()["paths"]["/"]["get"]["parameters"]
    assert [parameter["name"] for parameter in parameters] == ["question"]


class Assistant:
    """A class with methods of every kind."""

    def method(self, run: Run) -> tuple[str, str]:
        """Answer as an instance method."""
        return type(self).__name__, run.config_key

    @classmethod
    def of_class(cls, run: Run) -> tuple[str, str]:
        """Answer as a class method."""
        return cls.__name__, run.config_key

    @staticmethod
    def static(run: Run) -> tuple[str, str]:
        """Answer as a static method."""
        return "static", run.config_key


def test_methods(track: Decorate) -> None:
    """Instance methods, class methods and static methods, decorated above or below, are bound as before.

    Partials and callable objects stand in ``tests/test_decorator.py``.
    """

    class Tracked(Assistant):
        method = track(Assistant.method)
        of_class = track(Assistant.__dict__["of_class"])
        static = track(Assistant.__dict__["static"])

        @classmethod
        @track
        def below(cls, run: Run) -> tuple[str, str]:
            return cls.__name__, run.config_key

    assert Tracked().method() == ("Tracked", "chat")
    assert Tracked.of_class() == Tracked().of_class() == Tracked.below() == ("Tracked", "chat")
    assert Tracked.static() == Tracked().static() == ("static", "chat")


def test_class_based_views(track: Decorate, records: list[RunRecord]) -> None:
    """Flask's ``decorators`` and Starlette's endpoints; Django's views are tested with its integration."""

    class View(MethodView):
        decorators: ClassVar[list[Any]] = [track]

        def get(self) -> str:
            return current_run().config_key

    class Endpoint(HTTPEndpoint):
        @track
        async def get(self, request: Request) -> Response:
            return PlainTextResponse(current_run().config_key)

        @track
        def post(self, request: Request) -> Response:
            return PlainTextResponse(current_run().config_key)

    app = flask.Flask(__name__)
    app.add_url_rule("/", view_func=View.as_view("view"))
    client = TestClient(Starlette(routes=[Route("/", Endpoint)]))

    assert app.test_client().get("/").text == client.get("/").text == client.post("/").text == "chat"
    assert len(records) == 3


def test_applied_twice_is_one_run(track: Decorate, records: list[RunRecord]) -> None:
    """The inner decorator joins the run of the outer one, and what is raised there is known to it."""

    def ask(fails: bool) -> str:
        if fails:
            raise ValueError
        return "Hello"

    twice = track(track(ask))
    assert inspect.signature(twice) == inspect.signature(track(ask))
    twice(False)
    with pytest.raises(ValueError):  # noqa: PT011  # raised just above
        twice(True)

    assert [record.outcome for record in records] == ["success", "error"]


def test_mounted_applications_share_the_request(tracking: Tracking, records: list[RunRecord]) -> None:
    """An application mounted below another, each with a middleware of ours, is in the same request: one run."""
    inner = FastAPI()
    inner.add_middleware(TrackingMiddleware, tracking=tracking, config_key=always_chat)
    inner.add_api_route("/", track_ai(config_key="chat")(lambda: "Hello"))
    app = Starlette(routes=[Mount("/inner", inner)])
    app.add_middleware(TrackingMiddleware, tracking=tracking, config_key=always_chat)
    app.add_middleware(TrackingMiddleware, tracking=tracking, config_key=always_chat)

    assert TestClient(app).get("/inner/").json() == "Hello"
    assert len(records) == 1


def test_an_application_that_is_wrapped_already(client: LDClient, events: Events, records: list[RunRecord]) -> None:
    """Somebody else's wrapper is no hindrance, and making the middleware many times doubles no event."""
    tracking = Tracking(client)
    app = flask.Flask(__name__)
    app.add_url_rule("/", view_func=lambda: "Hello", endpoint="hello")
    inner = app.wsgi_app
    app.wsgi_app = lambda environ, start_response: inner(environ, start_response)  # type: ignore[method-assign]
    AITracking(app, tracking, config_key=always_chat)
    for _ in range(20):
        WSGITrackingMiddleware(app, tracking, config_key=always_chat)

    assert consume(WSGITrackingMiddleware(app, tracking, config_key=always_chat)(environ(), start_response)) == b"Hello"
    assert len(records) == 1
    assert len(events.named("generation:success")) == 1


@pytest.mark.parametrize("read", [0, 1])
def test_a_flask_stream_finalised_on_another_thread(
    tracking: Tracking, records: list[RunRecord], clock: Clock, read: int
) -> None:
    """An abandoned ``stream_with_context`` ends its run once, with its last chunk, wherever it is closed."""
    app = flask.Flask(__name__)
    AITracking(app, tracking, config_key=always_chat)
    closed = []

    @app.get("/")
    def view() -> flask.Response:
        def chunks() -> Iterator[str]:
            try:
                while True:
                    clock.advance(10)
                    yield f"{flask.request.path} {current_run().config_key}"
            finally:
                closed.append(threading.current_thread())

        return flask.Response(flask.stream_with_context(chunks()))

    # Flask begins the generator itself, to enter the context in time; what it never leaves is left in a Context here.
    server = contextvars.copy_context()
    steps: Any = server.run(app.wsgi_app, environ(), start_response)
    assert [server.run(next, steps) for _ in range(read)] == [b"/ chat"] * read
    clock.advance(9_000)

    def close() -> None:
        with suppress(LookupError):  # Flask's own: its contexts are left where they were not entered
            steps.close()

    thread = threading.Thread(target=close)
    thread.start()
    thread.join()
    server.run(steps.close)

    assert not server.run(in_run)
    assert not in_run()
    assert [record.outcome for record in records] == ["cancelled"]
    assert len(closed) == read
    assert not read or records[0].duration_ms == 10


@pytest.mark.parametrize("config_key", [None, "chat"])
@pytest.mark.parametrize("whole", [[b"one", b"two"], (b"one",), FileWrapper(io.BytesIO(b"data"))])
def test_a_whole_body_passes_as_it_is(tracking: Tracking, config_key: Any, whole: Any) -> None:
    """A list, a tuple or a file stays one: servers know their length, or send them without copying."""
    app = WSGITrackingMiddleware(app_that_returns(whole), tracking, config_key=config_key)

    assert app(environ(**{"wsgi.file_wrapper": FileWrapper}), start_response) is whole
    assert not in_run()


def test_start_response_is_called_as_the_application_calls_it(tracking: Tracking) -> None:
    """``exc_info`` is passed on where it is given and left out where it is not."""
    calls: list[tuple[Any, ...]] = []

    def app(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [])
        start_response("500 Oops", [], (None, None, None))
        return []

    def record_call(*args: Any) -> Any:
        calls.append(args)

    WSGITrackingMiddleware(app, tracking, config_key=always_chat)(environ(), record_call)

    assert calls == [("200 OK", []), ("500 Oops", [], (None, None, None))]


def test_one_run_per_websocket_exchange(tracking: Tracking, records: list[RunRecord], clock: Clock) -> None:
    """Each message of a connection is a run, timed by itself and evaluated for the connection's context."""
    app = FastAPI()
    app.add_middleware(TrackingMiddleware, tracking=tracking, ld_context=lambda request: Context.create("ada"))

    @track_ai(config_key="chat")
    async def answer(message: str) -> AsyncIterator[str]:
        for word in (message, current_run().ld_context.key):
            clock.advance(20)
            yield word

    @app.websocket("/chat")
    async def chat(websocket: WebSocket) -> None:
        await websocket.accept()
        while (message := await websocket.receive_text()) != "bye":
            clock.advance(1_000)
            async for word in answer(message):
                await websocket.send_text(word)
            async with track_ai(config_key="summary"):
                clock.advance(5)
        await websocket.close()

    with TestClient(app).websocket_connect("/chat") as connection:
        for message in ("one", "two"):
            connection.send_text(message)
            assert [connection.receive_text(), connection.receive_text()] == [message, "ada"]
        connection.send_text("bye")

    assert [(record.config_key, record.duration_ms) for record in records] == [("chat", 40), ("summary", 5)] * 2
    assert {record.outcome for record in records} == {"success"}
    assert len({record.run_id for record in records}) == 4


CHUNK = 'data: {"choices":[{"index":0,"delta":{"content":"a"}}]}\n\n'


def _in_a_generator(tracking: Tracking, chunks: int) -> None:
    @track_ai(config_key="chat", tracking=tracking)
    def words() -> Iterator[str]:
        for _ in range(chunks):
            yield CHUNK

    for _ in words():
        pass


def _in_an_async_generator(tracking: Tracking, chunks: int) -> None:
    @track_ai(config_key="chat", tracking=tracking)
    async def words() -> AsyncIterator[str]:
        for _ in range(chunks):
            yield CHUNK

    async def consume() -> set[Any]:
        return {asyncio.current_task() async for _ in words()} | asyncio.all_tasks()

    assert len(asyncio.run(consume())) == 1  # no task for a chunk either


def _in_asgi_messages(tracking: Tracking, chunks: int) -> None:
    messages = [asgi_body(CHUNK.encode(), more=True)] * chunks
    app = app_that_sends(asgi_start(content_type="text/event-stream"), *messages, asgi_body())
    assert len(call(ASGITrackingMiddleware(app, tracking, config_key=always_chat))) == chunks + 2


def _in_a_wsgi_body(tracking: Tracking, chunks: int) -> None:
    app = app_that_returns((CHUNK.encode() for _ in range(chunks)), headers=[("Content-Type", "text/event-stream")])
    assert (
        len(consume(WSGITrackingMiddleware(app, tracking, config_key=always_chat)(environ(), start_response))) > chunks
    )


@pytest.mark.parametrize("chunks", [10, 5_000])
@pytest.mark.parametrize("stream", [_in_a_generator, _in_an_async_generator, _in_asgi_messages, _in_a_wsgi_body])
def test_chunks_make_no_events(client: LDClient, events: Events, stream: Any, chunks: int) -> None:
    """A run sends the same few events on the same thread, however many chunks it streams."""
    tracking = Tracking(client)
    stream(tracking, 1)  # which may start what reports runs
    tracking.flush()
    threads, sent = threading.active_count(), len(events.of_runs())
    stream(tracking, chunks)
    assert threading.active_count() <= threads
    tracking.flush()

    tokens = {f"tokens:{name}" for name in ("output", "ttf")}  # nobody asked for the prompt, so it is not known
    names = [name for name, _ in events.of_runs()]
    assert sorted(names[sent:]) == sorted({"duration:total", "generation:success"} | tokens)
