"""Responses of every framework, followed with the decorator alone."""

from __future__ import annotations

import asyncio
import http.client
import io
import json
import socket
import sqlite3
import tempfile
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from contextlib import closing
from pathlib import Path
from types import FunctionType
from typing import Any

import falcon
import falcon.testing
import flask
import pytest
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.responses import FileResponse, JSONResponse, RedirectResponse, Response, StreamingResponse
from starlette.testclient import TestClient
from werkzeug.exceptions import HTTPException

from ldai_integrations import RunRecord, Tracking, current_run, track_ai
from ldai_integrations.usage import count_tokens

from ..conftest import Clock
from ..waiting import eventually

CHUNK = 'data: {"choices":[{"index":0,"delta":{"content":"Hello"}}],"model":"m"}\n\n'


async def words_of(clock: Clock) -> AsyncIterator[str]:
    """Yield an answer whose words take 10 ms each, in its run."""
    for word in ("Hello ", "there"):
        clock.advance(10)
        assert current_run().config_key == "chat"
        yield word


def sync_words_of(clock: Clock) -> Iterator[str]:
    """Yield the same answer."""
    for word in ("Hello ", "there"):
        clock.advance(10)
        yield word


WHOLE: dict[str, Callable[[], Response]] = {
    "a file": lambda: FileResponse(Path(__file__)),
    "a redirect": lambda: RedirectResponse("/elsewhere"),
    "nothing": lambda: Response(status_code=204),
    "JSON": lambda: JSONResponse({"answer": "Hello"}),
}


@pytest.mark.parametrize("kind", WHOLE)
def test_any_other_response_ends_the_run(tracking: Tracking, records: list[RunRecord], kind: str) -> None:
    """A response without a streamed body is returned unchanged and ends the run."""
    response = WHOLE[kind]()

    assert track_ai(config_key="chat", tracking=tracking)(lambda: response)() is response
    assert [record.outcome for record in records] == ["success"]


class Awaitable:
    """An object with ``__await__`` and more, as Sanic's streams, LlamaIndex's handlers and aiohttp's requests."""

    def __await__(self) -> Generator[Any, None, str]:
        yield from asyncio.sleep(0).__await__()
        return "Hello"


@pytest.mark.parametrize("is_async", [False, True])
def test_an_awaitable_object_stays_what_it_is(
    tracking: Tracking, records: list[RunRecord], is_async: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """An object that can be awaited, and is no coroutine or future, is returned unchanged and ends the run."""
    result = Awaitable()

    def handle() -> Awaitable:
        return result

    async def handle_async() -> Awaitable:
        return result

    decorate = track_ai(config_key="chat", tracking=tracking)
    assert (asyncio.run(decorate(handle_async)()) if is_async else decorate(handle)()) is result
    assert [record.outcome for record in records] == ["success"]
    assert "returned an object of type Awaitable that can be awaited" in caplog.text


class WebSocketResponse:
    """What handlers of aiohttp's websockets return when the connection is closed. The tests do not have aiohttp."""

    def __init__(self, _body: object = None, status: int = 101) -> None:
        self.status = status
        self.headers: dict[str, str] = {}

    def set_cookie(self) -> None:
        """Set a cookie."""

    async def __anext__(self) -> bytes:
        raise StopAsyncIteration


def ninja_status(_body: object, status: int) -> Any:
    """Return what handlers of Django Ninja return for a status. The tests do not have this package."""
    return type("Status", (), {"__module__": "ninja.responses", "status_code": status})()


@pytest.mark.parametrize(
    ("status", "outcome"), [(200, "success"), (404, "discarded"), (429, "discarded"), (502, "error")]
)
@pytest.mark.parametrize("make", [Response, ninja_status, WebSocketResponse])
def test_the_status_of_a_response(
    tracking: Tracking, records: list[RunRecord], make: Any, status: int, outcome: str
) -> None:
    """The status of a response decides the outcome of the run."""
    track_ai(config_key="chat", tracking=tracking)(lambda: make("no", status))()

    assert [record.outcome for record in records] == [outcome]


def exception(package: str, **attributes: Any) -> Exception:
    """Return an exception of a package that the tests do not have."""
    error: Exception = type("SomeError", (Exception,), {"__module__": f"{package}.exceptions", **attributes})()
    return error


EXCEPTIONS: dict[str, tuple[Callable[[], BaseException], str]] = {
    "Werkzeug, with a response": (lambda: HTTPException(response=flask.Response("no", 404)), "discarded"),
    "Werkzeug, with a response that is an error": (lambda: HTTPException(response=flask.Response("no", 503)), "error"),
    "FastAPI, a rejected request": (lambda: RequestValidationError([]), "discarded"),
    "Django REST framework": (lambda: exception("rest_framework", status_code=429), "discarded"),
    "Django Ninja": (lambda: exception("ninja", status_code=404), "discarded"),
    "APIFlask": (lambda: exception("apiflask", status_code=404), "discarded"),
    "Sanic": (lambda: exception("sanic", status_code=404), "discarded"),
    "Sanic, an error": (lambda: exception("sanic", status_code=503), "error"),
    "aiohttp's server": (lambda: exception("aiohttp", status=404, set_cookie=None), "discarded"),
    "aiohttp's client": (lambda: exception("aiohttp", status=404), "error"),
    "another HTTP client": (lambda: exception("httpx", status_code=404), "error"),
}


@pytest.mark.parametrize("kind", EXCEPTIONS)
def test_the_status_of_an_exception(tracking: Tracking, records: list[RunRecord], kind: str) -> None:
    """The exception of a web framework counts like its status, and that of an HTTP client is a failure."""
    make, outcome = EXCEPTIONS[kind]
    error = make()

    def refuse() -> None:
        raise error

    with pytest.raises(type(error)):
        track_ai(config_key="chat", tracking=tracking)(refuse)()

    assert [record.outcome for record in records] == [outcome]


def get_from_fastapi(respond: Callable[[Any], None]) -> int:
    """Serve a request with FastAPI; return its status."""
    app = FastAPI()

    @app.get("/")
    def endpoint(response: Response) -> None:
        respond(response)

    return TestClient(app).get("/").status_code


def get_from_falcon(respond: Callable[[Any], None]) -> int:
    """Serve a request with Falcon; return its status."""
    app: Any = falcon.App()
    app.add_sink(lambda _req, resp: respond(resp))
    return int(falcon.testing.TestClient(app).simulate_get("/").status_code)


@pytest.mark.parametrize("get", [get_from_fastapi, get_from_falcon])
@pytest.mark.parametrize("is_named", [False, True])
@pytest.mark.parametrize(("status", "outcome"), [(200, "success"), (404, "discarded"), (503, "error")])
def test_a_status_that_is_set_in_an_argument(
    tracking: Tracking, records: list[RunRecord], get: Any, is_named: bool, status: int, outcome: str
) -> None:
    """The status that a handler sets on the response that it got decides the outcome."""

    @track_ai(config_key="chat", tracking=tracking)
    def set_status(response: Response | falcon.Response) -> None:
        response.status_code = status

    def respond(response: Any) -> None:
        set_status(response=response) if is_named else set_status(response)

    assert get(respond) == status
    assert [record.outcome for record in records] == [outcome]


def test_a_status_that_an_argument_had_before(tracking: Tracking, records: list[RunRecord]) -> None:
    """A response that a function reads, or one beside that which it returns, does not decide the outcome."""
    track = track_ai(config_key="chat", tracking=tracking)

    @track
    def explain(page: Response) -> str:
        return f"The page failed with {page.status_code}."

    @track
    def replace(page: Response) -> Response:
        page.status_code = 502
        return Response("Hello")

    explain(Response(status_code=503))
    replace(Response(status_code=503))

    assert [record.outcome for record in records] == ["success", "success"]


def test_a_4xx_after_a_provider_call_is_reported(tracking: Tracking, records: list[RunRecord]) -> None:
    """A 4xx response after a provider call is reported."""

    @track_ai(config_key="chat", tracking=tracking)
    def ask() -> Response:
        current_run().add_usage(input_tokens=3, output_tokens=1)
        return Response("I must not answer that", 403)

    ask()

    assert [(record.outcome, record.usage and record.usage.total_tokens) for record in records] == [("success", 4)]


@pytest.mark.parametrize("streamed", [True, False])
def test_flask_responses(tracking: Tracking, records: list[RunRecord], clock: Clock, streamed: bool) -> None:
    """Werkzeug's responses are followed by their body, streamed or whole."""
    app = flask.Flask(__name__)

    @app.get("/")
    @track_ai(config_key="chat", tracking=tracking)
    def view() -> flask.Response:
        return flask.Response(sync_words_of(clock) if streamed else list(sync_words_of(clock)))

    assert app.test_client().get("/").text == "Hello there"
    assert [(record.outcome, record.duration_ms) for record in records] == [("success", 20)]
    assert (records[0].time_to_first_token_ms is not None) == streamed


@pytest.mark.parametrize("result", [("Hello", 404), ("Hello", 450), ["Hello", 500], {"status": 500}])
def test_a_tuple_is_a_response_in_a_view_only(tracking: Tracking, records: list[RunRecord], result: Any) -> None:
    """Outside of a view, the number in a returned tuple is not a status."""
    assert track_ai(config_key="chat", tracking=tracking)(lambda: result)() is result
    assert [record.outcome for record in records] == ["success"]


def test_a_response_never_sent_ends_when_it_is_dropped(
    tracking: Tracking, records: list[RunRecord], clock: Clock
) -> None:
    """A streaming response that nobody iterates leaves no run open."""
    response = track_ai(config_key="chat", tracking=tracking)(lambda: StreamingResponse(words_of(clock)))()
    assert records == []
    del response

    assert eventually(lambda: [record.outcome for record in records] == ["cancelled"])


class _UnusualKind(type):
    """The class of a class whose attributes cannot be looked up."""

    def __getattr__(cls, name: str) -> None:
        raise LookupError(name)


class _UnusualArgument(metaclass=_UnusualKind):
    """An object of such a class."""


class _UnusualResponse(falcon.Response):
    """A response that has no status yet."""

    status_code = property(lambda _self: 1 / 0)


@pytest.mark.parametrize("make", [_UnusualArgument, _UnusualResponse])
def test_an_argument_that_cannot_be_asked_for_a_status(
    tracking: Tracking, records: list[RunRecord], make: Callable[[], object]
) -> None:
    """The handler is called nevertheless."""

    @track_ai(config_key="chat", tracking=tracking)
    def greet(_argument: object) -> str:
        return "Hello"

    assert greet(make()) == "Hello"
    assert [record.outcome for record in records] == ["success"]


def test_a_file_ends_the_run(tracking: Tracking, records: list[RunRecord]) -> None:
    """A file or a database cursor is returned unchanged and unread, and ends the run."""

    @track_ai(config_key="chat", tracking=tracking)
    def give(result: object) -> object:
        return result

    with (
        tempfile.TemporaryFile() as file,
        tempfile.SpooledTemporaryFile() as spooled,
        closing(sqlite3.connect(":memory:")) as database,
    ):
        results: list[Any] = [io.BytesIO(b"Hello"), io.StringIO("Hello"), file, spooled, database.execute("select 1")]
        assert all(give(result) is result for result in results)
        assert [record.outcome for record in records] == ["success"] * 5
        assert (results[0].read(), results[-1].fetchone()) == (b"Hello", (1,))


def test_lines_of_an_http_response_are_followed(tracking: Tracking, records: list[RunRecord]) -> None:
    """The body of an HTTP response is a stream of its lines, although it can be read like a file."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(f"HTTP/1.1 200 OK\r\nContent-Length: {len(CHUNK)}\r\n\r\n{CHUNK}".encode())
        response = http.client.HTTPResponse(ours)
        response.begin()
        lines = track_ai(config_key="chat", tracking=tracking)(lambda: response)()
        assert records == []
        assert b"".join(lines) == CHUNK.encode()

    assert [(record.outcome, record.response_model) for record in records] == [("success", "m")]


def test_a_websocket_that_was_served_is_not_followed(tracking: Tracking, records: list[RunRecord]) -> None:
    """The connection of an aiohttp handler is over when the handler returns it, so that its run ends."""
    served = WebSocketResponse()

    assert track_ai(config_key="chat", tracking=tracking)(lambda: served)() is served
    assert [record.outcome for record in records] == ["success"]


@pytest.mark.parametrize(
    ("module", "outcome"), [("aiohttp.web_response", "cancelled"), ("aiohttp.web_ws", "cancelled"), ("chat", "error")]
)
def test_a_client_that_leaves_aiohttps_server(
    tracking: Tracking, records: list[RunRecord], module: str, outcome: str
) -> None:
    """A broken connection cancels the run if aiohttp's server wrote to it, and is an error elsewhere."""

    def fail() -> None:
        raise ConnectionResetError("Cannot write to closing transport")

    write = FunctionType(fail.__code__, {"__name__": module})
    with pytest.raises(ConnectionResetError):
        track_ai(config_key="chat", tracking=tracking)(lambda: write())()

    assert [record.outcome for record in records] == [outcome]


class Closable:
    """An iterable whose iterator is another object, as the bodies of some HTTP clients are."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def __iter__(self) -> Iterator[bytes]:
        self.calls.append("begun")
        yield b"Hello "
        yield b"there"

    def close(self) -> None:
        """Note that the server has closed it."""
        self.calls.append("closed")


@pytest.mark.parametrize("is_read", [True, False])
def test_a_body_is_closed(tracking: Tracking, records: list[RunRecord], is_read: bool) -> None:
    """The server begins and closes the handler's own iterable, as it does without the decorator."""
    app, body = flask.Flask(__name__), Closable()

    @track_ai(config_key="chat", tracking=tracking)
    def view() -> flask.Response:
        return flask.Response(body)

    with app.test_request_context("/"):
        response = view()
        assert body.calls == []
        parts = response.iter_encoded()
        assert next(iter(parts)) == b"Hello "
        if is_read:
            list(parts)
        response.close()

    assert body.calls == ["begun", "closed"]
    assert [record.outcome for record in records] == ["success" if is_read else "cancelled"]


_ANSWER = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "model": "gpt-4o",
    "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "Hello there"}}],
    "usage": {"prompt_tokens": 70001, "completion_tokens": 9007, "total_tokens": 79008},
}
_LINES = [
    {"model": "llama3", "message": {"role": "assistant", "content": "Hello"}, "done": False},
    {"model": "llama3", "done": True, "done_reason": "stop", "prompt_eval_count": 70001, "eval_count": 9007},
]


@pytest.mark.parametrize(
    "text",
    [
        json.dumps(_ANSWER),
        json.dumps({"result": _ANSWER}, indent=2),
        json.dumps(_ANSWER).encode(),
        "".join(json.dumps(line) + "\n" for line in _LINES),
        f"data: {json.dumps(_ANSWER)}\n\ndata: [DONE]\n\n",
    ],
    ids=["JSON", "JSON in lines", "bytes", "lines of JSON", "events"],
)
def test_a_providers_answer_as_text(tracking: Tracking, records: list[RunRecord], text: str | bytes) -> None:
    """A handler may return what a provider sent as text: its usage is read, and its JSON is no output of a model."""
    assert track_ai(config_key="chat", tracking=tracking)(lambda: text)() == text

    [record] = records
    assert record.usage is not None
    assert (record.usage.input_tokens, record.usage.output_tokens) == (70001, 9007)
    assert (record.usage.source, record.finish_reasons) == ("provider", ("stop",))


@pytest.mark.parametrize("text", ["[1] Paris", "{Hello}", '{"answer": "Hello"}', "data: none"])
def test_other_text_is_counted(tracking: Tracking, records: list[RunRecord], text: str, o200k: None) -> None:
    """Text that only looks like a provider's answer is the output of the handler, and is counted."""
    track_ai(config_key="chat", tracking=tracking)(lambda: text)()

    [record] = records
    assert record.usage is not None
    assert record.usage.output_tokens == count_tokens(text)
    assert record.usage.source == "estimate"


@pytest.mark.parametrize("word", ["word ", "你好"])
@pytest.mark.parametrize("encode", [str, str.encode], ids=["text", "bytes"])
def test_a_long_piece_of_text_is_counted(
    tracking: Tracking, records: list[RunRecord], word: str, encode: Callable[[str], Any], o200k: None
) -> None:
    """Of a piece that is too long to be kept, the rest is extrapolated."""
    piece = encode(word * 200_000)
    response = track_ai(config_key="chat", tracking=tracking)(lambda: (part for part in [piece, piece]))()
    assert list(response) == [piece, piece]

    assert eventually(lambda: len(records) == 1)
    [record] = records
    assert record.usage is not None
    assert record.usage.output_tokens == pytest.approx(2 * count_tokens(word * 200_000), rel=0.02)
