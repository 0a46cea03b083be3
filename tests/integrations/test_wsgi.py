"""The WSGI middleware."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any
from wsgiref.util import setup_testing_defaults
from wsgiref.validate import validator

import pytest
from ldclient import Context

from ldai_integrations import RunRecord, Settings, Tracking, current_run, track_ai
from ldai_integrations.devserver import DevServer
from ldai_integrations.wsgi import WSGITrackingMiddleware

from ..binding import in_run
from ..conftest import Clock, Events, always_chat

Headers = list[tuple[str, str]]


class Body:
    """A body that notes that it was closed."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = iter(chunks)
        self.closed = 0

    def __iter__(self) -> Iterator[bytes]:
        return self._chunks

    def close(self) -> None:
        """Note it."""
        self.closed += 1


def environ(path: str = "/", /, **more: Any) -> dict[str, Any]:
    """Return the environ of a GET request."""
    result: dict[str, Any] = {"PATH_INFO": path, "SCRIPT_NAME": "", "QUERY_STRING": "", **more}
    setup_testing_defaults(result)
    return result


def app_that_returns(body: Iterable[bytes], status: str = "200 OK", headers: Headers | None = None) -> Any:
    """Return an application that answers every request with this body."""

    def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        start_response(status, [("Content-Type", "text/plain")] if headers is None else headers)
        return body

    return app


def start_response(status: str, headers: Headers, exc_info: Any = None) -> Any:
    """Take the head of a response."""
    return lambda data: None


def consume(body: Iterable[bytes]) -> bytes:
    """Read and close a body as a server does."""
    try:
        return b"".join(body)
    finally:
        close = getattr(body, "close", None)
        if close is not None:
            close()


@track_ai(config_key="chat")
def ask() -> str:
    """Answer in a run."""
    return current_run().ld_context.key


@pytest.mark.parametrize("config_key", [None, "chat"])
def test_the_protocol_is_kept(tracking: Tracking, config_key: Any) -> None:
    """The standard library's validator finds no violation on either side of the middleware."""
    inner = validator(app_that_returns(Body([b"one", b"two"])))
    app = validator(WSGITrackingMiddleware(inner, tracking, config_key=config_key))

    assert consume(app(environ(REQUEST_METHOD="GET"), start_response)) == b"onetwo"


def test_what_is_written_counts(tracking: Tracking, records: list[RunRecord], o200k: None) -> None:
    """The ``write`` callable of ``start_response`` works, and its data is output of the run."""
    written: list[bytes] = []

    def app(environ: Any, start_response: Any) -> list[bytes]:
        write = start_response("200 OK", [("Content-Type", "text/plain")])
        write(b"Hello there")
        return []

    WSGITrackingMiddleware(app, tracking, config_key=always_chat)(environ(), lambda *args: written.append)

    assert written == [b"Hello there"]
    assert records[0].usage is not None
    assert records[0].usage.output_tokens == 2


def test_the_run_ends_with_the_last_chunk(tracking: Tracking, records: list[RunRecord], clock: Clock) -> None:
    """A run ends with the last chunk of a streamed body, and is bound only while chunks are made."""
    bound: list[Any] = []

    def chunks() -> Iterator[bytes]:
        clock.advance(100)
        bound.append(current_run().config_key)
        yield b"one"
        clock.advance(200)
        bound.append(current_run().config_key)
        yield b"two"

    body = WSGITrackingMiddleware(app_that_returns(chunks()), tracking, config_key=always_chat)(
        environ(), start_response
    )
    bound.extend(in_run() for _ in body)
    body.close()  # type: ignore[attr-defined]

    assert bound == ["chat", False, "chat", False]
    assert (records[0].time_to_first_token_ms, records[0].duration_ms) == (100, 300)
    assert records[0].outcome == "success"


def test_a_body_closed_early_is_cancelled(tracking: Tracking, records: list[RunRecord], clock: Clock) -> None:
    """If the client disconnects, the run is cancelled and ends with the last chunk; the body is closed once."""
    inner = Body([b"one", b"two"])
    body: Any = WSGITrackingMiddleware(app_that_returns(inner), tracking, config_key=always_chat)(
        environ(), start_response
    )
    clock.advance(70)
    assert next(body) == b"one"
    clock.advance(500)
    body.close()

    assert [(record.outcome, record.duration_ms) for record in records] == [("cancelled", 70)]
    assert inner.closed == 1


def test_a_body_never_read_is_finished(tracking: Tracking, records: list[RunRecord]) -> None:
    """A server that closes a body without reading it leaves no run open."""
    inner = Body([b"one"])
    body: Any = WSGITrackingMiddleware(app_that_returns(inner), tracking, config_key=always_chat)(
        environ(), start_response
    )
    body.close()

    assert [record.outcome for record in records] == ["cancelled"]
    assert inner.closed == 1


def test_head_is_no_cancellation(tracking: Tracking, records: list[RunRecord]) -> None:
    """A body that is closed unread because the request is HEAD does not cancel the run."""
    app = WSGITrackingMiddleware(app_that_returns(Body([b"one"])), tracking, config_key=always_chat)
    app(environ(REQUEST_METHOD="HEAD"), start_response).close()  # type: ignore[attr-defined]

    assert [record.outcome for record in records] == ["success"]


@pytest.mark.parametrize("where", ["handler", "body", "close"])
def test_an_exception_is_the_applications(tracking: Tracking, records: list[RunRecord], where: str) -> None:
    """The application's exception is raised unchanged, with one record."""
    error = RuntimeError("broken")

    class Breaking(Body):
        def __iter__(self) -> Iterator[bytes]:
            if where == "body":
                raise error
            return super().__iter__()

        def close(self) -> None:
            raise error

    def app(environ: Any, start_response: Any) -> Iterable[bytes]:
        if where == "handler":
            raise error
        start_response("200 OK", [])
        return Breaking([b"one"])

    with pytest.raises(RuntimeError) as caught:
        consume(WSGITrackingMiddleware(app, tracking, config_key=always_chat)(environ(), start_response))

    assert caught.value is error
    assert len(records) == 1
    assert records[0].outcome == ("success" if where == "close" else "error")


def test_a_run_opened_in_a_lazy_request_has_its_context(tracking: Tracking, records: list[RunRecord]) -> None:
    """Runs of decorated code have the LD context of the request, also while the body is produced."""
    seen = []

    def chunks() -> Iterator[bytes]:
        seen.append(ask())
        yield b"one"

    app = WSGITrackingMiddleware(
        app_that_returns(chunks()), tracking, ld_context=lambda environ: Context.create(environ["HTTP_X_USER"])
    )
    request = environ(HTTP_X_USER="ada")
    consume(app(request, start_response))

    assert seen == ["ada"]
    assert [record.outcome for record in records] == ["success"]
    assert request.keys() == environ(HTTP_X_USER="ada").keys()


@pytest.mark.parametrize("inner_key", [None, "chat", "summary"])
def test_mounted_twice(tracking: Tracking, records: list[RunRecord], inner_key: str | None) -> None:
    """Two middlewares with one key make one run; with two keys, two."""
    inner = WSGITrackingMiddleware(app_that_returns(Body([b"Hello"])), tracking, config_key=inner_key)
    consume(WSGITrackingMiddleware(inner, tracking, config_key=always_chat)(environ(), start_response))

    assert sorted(record.config_key for record in records) == sorted({"chat", inner_key or "chat"})


def test_variables_come_from_the_environ(tracking: Tracking) -> None:
    """Prompt variables are a mapping or a callable; if the callable raises, there are no variables."""
    prompts = []

    def app(environ: Any, start_response: Any) -> list[bytes]:
        prompts.append(current_run().messages()[0]["content"])
        return []

    def broken(environ: Any) -> Any:
        raise RuntimeError("broken")

    for variables in ({"company": "Acme"}, lambda environ: {"company": environ["SERVER_NAME"]}, broken):
        WSGITrackingMiddleware(app, tracking, config_key=always_chat, variables=variables)(environ(), start_response)

    assert prompts == ["You help Acme.", "You help 127.0.0.1.", "You help."]
    assert tracking.stats().diagnostics == {"variables": 1}


@pytest.mark.parametrize("status", ["404 Not Found", "400 Bad Request", "405 Method Not Allowed"])
def test_a_refused_request_is_discarded(
    tracking: Tracking, records: list[RunRecord], events: Events, status: str
) -> None:
    """A refused request is discarded, and its AI Config is not evaluated."""
    before = len(events.custom)
    consume(
        WSGITrackingMiddleware(app_that_returns([b"no"], status), tracking, config_key=always_chat)(
            environ(), start_response
        )
    )

    assert [record.outcome for record in records] == ["discarded"]
    assert len(events.custom) == before


def test_flush_per_request(dev_server: DevServer) -> None:
    """With ``flush="request"``, the events of a request arrive before its body has been closed."""
    dev_server.clear()
    tracking = Tracking.from_env(environ={"LDAI_DEV_SERVER": dev_server.url}, settings=Settings(flush="request"))
    app = WSGITrackingMiddleware(app_that_returns(Body([b"Hello"])), tracking, config_key=always_chat)
    consume(app(environ(), start_response))
    arrived = {event["key"] for event in dev_server.events(config_key="chat")}
    tracking.close()

    assert "$ld:ai:generation:success" in arrived
