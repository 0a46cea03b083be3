"""The token is added to a response, and nothing else of the response changes."""

from __future__ import annotations

import asyncio
import base64
import gzip
import re
from collections.abc import AsyncIterator, Iterable, Iterator
from typing import Any

import flask
import httpx
import pytest
from ldclient import LDClient
from litestar import Litestar, get
from litestar.response import Stream
from litestar.testing import create_test_client
from quart import Quart
from quart import Response as QuartResponse
from sse_starlette import EventSourceResponse
from starlette.applications import Starlette
from starlette.middleware.gzip import GZipMiddleware
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from ldai_integrations import RunRecord, Settings, Tracking, current_run, track_ai
from ldai_integrations.asgi import ASGITrackingMiddleware
from ldai_integrations.starlette import TrackingMiddleware
from ldai_integrations.wsgi import WSGITrackingMiddleware

from ..conftest import always_chat
from .conftest import EVENT, HEADER, feedback_settings

SSE = "text/event-stream"
OURS = rf"event: {EVENT}\ndata: [\w.-]+\n\n"


@pytest.fixture
def voted(client: LDClient, o200k: None) -> Iterator[Tracking]:
    """Give a Tracking that adds the token to the header and to the stream."""
    tracking = Tracking(client, settings=Settings(feedback=feedback_settings()))
    yield tracking
    tracking.close()


def wsgi_answer(app: Any, method: str = "GET") -> tuple[dict[str, str], list[bytes]]:
    """Call a WSGI application as a server does; return the headers and the items of the body."""
    started: dict[str, Any] = {}

    def start_response(status: str, headers: list[tuple[str, str]], *exc_info: Any) -> Any:
        started.update(headers=headers)
        return lambda data: None

    body = app({"REQUEST_METHOD": method, "PATH_INFO": "/", "wsgi.errors": None}, start_response)
    try:
        items = list(body)
    finally:
        if hasattr(body, "close"):
            body.close()
    assert len(dict(started["headers"])) == len(started["headers"])
    return dict(started["headers"]), items


def streaming(chunks: Iterable[bytes], status: str = "200 OK", **headers: str) -> Any:
    """Make a WSGI application that streams."""
    head = list({"Content-Type": SSE, **{name.replace("_", "-"): value for name, value in headers.items()}}.items())

    def app(environ: Any, start_response: Any) -> Iterable[bytes]:
        start_response(status, head)
        return iter(chunks)

    return app


@pytest.mark.parametrize(
    ("chunks", "between"),
    [
        ([b"data: a\n\n"], b""),
        ([b"data: a\r\n\r\n"], b""),
        ([b"data: a\r\r"], b""),
        ([b"data: a\n", b"\n"], b""),
        ([b"data: a", b"\r\n", b"\r", b"\n"], b""),
        ([b"data: a\n"], b"\n"),
        ([b"data: a\r\n"], b"\n"),
        ([b"data: a\r"], b"\n\n"),
        ([b"data: a"], b"\n\n"),
        ([], b""),
        ([b"", b""], b""),
    ],
)
def test_the_event_stands_apart(voted: Tracking, chunks: list[bytes], between: bytes) -> None:
    """The application's chunks come first and unchanged. An event that it left open is ended before ours."""
    _, items = wsgi_answer(WSGITrackingMiddleware(streaming(chunks), voted, config_key=always_chat))

    assert items[:-1] == chunks
    assert items[-1].startswith(between)
    assert re.fullmatch(OURS, items[-1][len(between) :].decode())


@pytest.mark.parametrize(
    "app",
    [
        streaming([b"data: a\n\n"], Content_Length="9"),
        streaming([gzip.compress(b"data: a\n\n")], Content_Encoding="gzip"),
        streaming([b"{}"], Content_Type="application/json"),
        streaming([], status="204 No Content"),
    ],
)
def test_what_cannot_take_an_event_is_left_alone(voted: Tracking, app: Any) -> None:
    """A stream of known length, in a compressed form, of another type or without a body ends as the application did."""
    plain = wsgi_answer(app)
    headers, items = wsgi_answer(WSGITrackingMiddleware(app, voted, config_key=always_chat))

    assert items == plain[1]
    assert headers.pop(HEADER)
    assert headers == plain[0]


def test_a_whole_body_stays_whole(voted: Tracking) -> None:
    """A list stays the same list, because servers handle it better than an iterator."""
    body = [b"hello"]

    def app(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [("Content-Type", "text/plain")])
        return body

    tracked = WSGITrackingMiddleware(app, voted, config_key=always_chat)
    assert tracked({"REQUEST_METHOD": "GET", "PATH_INFO": "/"}, lambda *_: lambda _: None) is body


def test_an_application_that_starts_late_is_understood(voted: Tracking) -> None:
    """An application that is a generator starts its response with its first item, and gets header and event too."""

    def app(environ: Any, start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [("Content-Type", SSE)])
        yield b"data: a\n\n"

    headers, items = wsgi_answer(WSGITrackingMiddleware(app, voted, config_key=always_chat))
    assert headers[HEADER]
    assert [item.partition(b"\n")[0] for item in items] == [b"data: a", b"event: feedback"]


@pytest.mark.parametrize("status", ["404 Not Found", "500 Internal Server Error", "302 Found"])
def test_what_is_no_answer_has_no_token(voted: Tracking, status: str) -> None:
    """A failure or a redirect has no token."""

    def app(environ: Any, start_response: Any) -> list[bytes]:
        start_response(status, [("Content-Type", SSE)])
        return [b"no"]

    headers, items = wsgi_answer(WSGITrackingMiddleware(app, voted, config_key=always_chat))
    assert (headers, items) == ({"Content-Type": SSE}, [b"no"])


def test_a_header_of_the_application_stays(voted: Tracking) -> None:
    """If the application sets the header itself, it is not set again."""
    app = WSGITrackingMiddleware(
        streaming([], **{HEADER.lower().replace("-", "_"): "own"}), voted, config_key=always_chat
    )
    headers, _ = wsgi_answer(app)
    assert headers == {"Content-Type": SSE, HEADER.lower(): "own"}


def test_a_disabled_config_is_not_voted_on(client: LDClient) -> None:
    """No generation is reported while an AI Config is disabled, so there is no token either."""
    settings = Settings(feedback=feedback_settings(config_keys={"disabled"}))
    headers, items = wsgi_answer(
        WSGITrackingMiddleware(streaming([b"data: a\n\n"]), Tracking(client, settings=settings), config_key="disabled")
    )
    assert (headers, items) == ({"Content-Type": SSE}, [b"data: a\n\n"])


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_an_asgi_stream_is_sent_in_the_same_messages(voted: Tracking, kind: Any) -> None:
    """The event is in the message that ends the body, and all others are unchanged. Servers take any kind of bytes."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        for message in messages:
            await send(message)

    messages: list[Any] = [
        {"type": "http.response.start", "status": 200, "headers": [(b"content-type", SSE.encode())]},
        {"type": "http.response.body", "body": kind(b"data: a\n\n"), "more_body": True},
        {"type": "http.response.body", "body": kind(b"data: b")},
    ]
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        return {"type": "http.disconnect"}

    scope = {"type": "http", "method": "GET", "path": "/", "headers": []}
    asyncio.run(ASGITrackingMiddleware(app, voted, config_key=always_chat)(scope, receive, send))

    assert len(sent) == 3
    assert sent[0]["headers"][:-1] == messages[0]["headers"]
    assert sent[0]["headers"][-1][0] == HEADER.lower().encode()
    assert sent[1] is messages[1]
    assert re.fullmatch(r"data: b\n\n" + OURS, sent[2]["body"].decode())


def test_the_token_is_no_output_of_the_run(voted: Tracking, records: list[RunRecord]) -> None:
    """The event does not change the estimated tokens of the answer."""
    app = Starlette(routes=[Route("/", track_ai(config_key="chat", tracking=voted)(_words))])
    bare = Starlette(routes=[Route("/", _words)])
    for tracked in (app, ASGITrackingMiddleware(bare, voted, config_key=always_chat)):
        assert f"event: {EVENT}" in TestClient(tracked).get("/").text

    assert [record.usage and record.usage.output_tokens for record in records] == [3, 3]


async def _words(_request: Any) -> StreamingResponse:
    async def words() -> AsyncIterator[str]:
        yield "data: one two three\n\n"

    return StreamingResponse(words(), media_type=SSE)


def test_a_compressed_answer_is_not_broken(voted: Tracking) -> None:
    """With compression inside the middleware the body is unchanged, and the header has the token."""
    app = Starlette(routes=[Route("/", _long)])
    app.add_middleware(GZipMiddleware, minimum_size=1)
    app.add_middleware(TrackingMiddleware, tracking=voted, config_key=always_chat)
    response = TestClient(app).get("/")

    assert response.text == "word " * 999
    assert response.headers[HEADER]


async def _long(_request: Any) -> PlainTextResponse:
    return PlainTextResponse("word " * 999, media_type="text/plain")


def test_of_nested_runs_the_outer_is_voted_on(voted: Tracking) -> None:
    """The token is that of the outer run, even if an inner one has votes as well."""
    settings = Settings(feedback=feedback_settings(config_keys={"chat", "summary"}))
    tracking = Tracking(voted.client, settings=settings)
    runs = []

    @track_ai(config_key="summary", tracking=tracking)
    def inner() -> flask.Response:
        runs.append(current_run().id)
        return flask.Response(iter(["data: a\n\n"]), mimetype=SSE)

    @track_ai(config_key="chat", tracking=tracking)
    def outer() -> flask.Response:
        return inner()

    app = flask.Flask(__name__)
    app.add_url_rule("/", "outer", outer)
    for wrapped in (app.wsgi_app, WSGITrackingMiddleware(app.wsgi_app, tracking)):
        app.wsgi_app = wrapped  # type: ignore[method-assign]
        response = app.test_client().get("/")
        assert response.text.count(f"event: {EVENT}") == 1
        token = re.findall(r"data: ([\w.-]{100,})", response.text)[0]
        assert token.split(".")[0] == response.headers[HEADER].split(".")[0]
        assert b'"configKey": "chat"' in _decoded(token)
    assert len(runs) == 2


def _decoded(token: str) -> bytes:
    return base64.urlsafe_b64decode(token.split(".")[0] + "==")


def test_a_provider_response_is_nobodys_answer(voted: Tracking) -> None:
    """A response that a tracked function gets from an HTTP client keeps its headers."""
    response = httpx.Response(200, headers={"Content-Type": SSE}, content=b"data: a\n\n")
    assert track_ai(config_key="chat", tracking=voted)(lambda: response)() is response
    assert HEADER not in response.headers


def test_events_that_are_still_to_be_encoded(voted: Tracking) -> None:
    """With sse-starlette, which encodes events itself, our event follows them."""

    async def endpoint(_request: Any) -> EventSourceResponse:
        async def events() -> AsyncIterator[dict[str, str]]:
            yield {"event": "word", "data": "hello"}

        return EventSourceResponse(events())

    alone = Starlette(routes=[Route("/", track_ai(config_key="chat", tracking=voted)(endpoint))])
    below = Starlette(routes=[Route("/", track_ai(config_key="chat")(endpoint))])
    below.add_middleware(TrackingMiddleware, tracking=voted)
    for app in (alone, below):
        response = TestClient(app).get("/")
        assert re.fullmatch(r"event: word\r\ndata: hello\r\n\r\n" + OURS, response.text)
        assert response.headers[HEADER]


async def _aevents() -> AsyncIterator[str]:
    yield "data: a\n\n"


def test_litestar_and_quart_below_the_decorator_alone(voted: Tracking) -> None:
    """The responses of Litestar and Quart get header and event."""

    @get("/")
    @track_ai(config_key="chat", tracking=voted)
    async def litestar_handler() -> Stream:
        return Stream(_aevents(), media_type=SSE)

    with create_test_client(litestar_handler, logging_config=None) as client:
        assert isinstance(client.app, Litestar)
        answer = client.get("/")
    assert re.fullmatch(r"data: a\n\n" + OURS, answer.text)
    assert answer.headers[HEADER]

    app = Quart(__name__)

    @app.get("/")
    @track_ai(config_key="chat", tracking=voted)
    async def quart_handler() -> QuartResponse:
        return QuartResponse(_aevents(), mimetype=SSE)

    async def ask() -> tuple[str, str]:
        response = await app.test_client().get("/")
        return (await response.get_data(as_text=True)), response.headers[HEADER]

    text, header = asyncio.run(ask())
    assert re.fullmatch(r"data: a\n\n" + OURS, text)
    assert header


def test_a_stream_that_breaks_off_breaks_off(voted: Tracking, records: list[RunRecord]) -> None:
    """The application's exception comes through, without an event of ours before it."""

    def broken() -> Iterator[bytes]:
        yield b"data: a\n\n"
        raise RuntimeError("the stream broke")

    app = WSGITrackingMiddleware(streaming(broken()), voted, config_key=always_chat)
    body = iter(app({"REQUEST_METHOD": "GET", "PATH_INFO": "/"}, lambda *_: lambda _: None))
    assert next(body) == b"data: a\n\n"
    with pytest.raises(RuntimeError, match="the stream broke"):
        next(body)
    with pytest.raises(StopIteration):
        next(body)
    assert [record.outcome for record in records] == ["error"]


def test_a_body_that_is_closed_early_is_closed(voted: Tracking, records: list[RunRecord]) -> None:
    """The application's body is closed, whether it has started or not."""
    for steps in (0, 1):
        closed = []

        class Body:
            def __iter__(self) -> Iterator[bytes]:
                return iter([b"data: a\n\n", b"data: b\n\n"])

            def close(self) -> None:
                closed.append(True)  # noqa: B023

        def app(environ: Any, start_response: Any) -> Any:
            start_response("200 OK", [("Content-Type", SSE)])
            return Body()

        body: Any = WSGITrackingMiddleware(app, voted, config_key=always_chat)({"REQUEST_METHOD": "GET"}, _ignore)
        for _ in range(steps):
            next(body)
        body.close()
        assert closed == [True]
    assert [record.outcome for record in records] == ["cancelled", "cancelled"]


def _ignore(*_args: Any) -> Any:
    return lambda _data: None
