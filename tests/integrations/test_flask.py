"""The Flask extension."""

from __future__ import annotations

import io
from collections.abc import Iterator
from functools import partial
from itertools import chain
from typing import Any, ClassVar
from wsgiref.util import FileWrapper

import flask
import pytest
from flask.views import MethodView
from ldclient import Context

from ldai_integrations import (
    ConfigurationError,
    Run,
    RunRecord,
    Tracking,
    TrackingNotConfiguredError,
    current_run,
    track_ai,
)
from ldai_integrations.flask import AITracking, get_tracking

from ..conftest import Clock, always_chat
from .test_wsgi import environ, start_response


def test_the_context_is_made_of_the_request(tracking: Tracking) -> None:
    """The callable receives Flask's own request, with its session and its route."""
    app = flask.Flask(__name__)
    app.secret_key = "secret"
    asked: list[Any] = []

    def ld_context(request: flask.Request) -> Context:
        asked.append((request, request.view_args, flask.session.get("user")))
        return Context.create("ada")

    AITracking(app, tracking, ld_context=ld_context)

    @app.get("/users/<name>")
    @track_ai(config_key="chat")
    def chat(name: str, run: Run) -> str:
        assert run.ld_context.key == "ada"
        assert asked[0][0] is flask.request._get_current_object()  # type: ignore[attr-defined]
        return name

    assert app.test_client().get("/users/grace").text == "grace"
    assert asked[0][1:] == ({"name": "grace"}, None)


def test_the_context_of_a_body_that_outlives_the_request(tracking: Tracking) -> None:
    """In a streamed body, after Flask's request has ended, the callable receives a request made from the environ."""
    app = flask.Flask(__name__)
    AITracking(app, tracking, ld_context=lambda request: Context.create(request.headers["X-User"]))

    @track_ai(config_key="chat")
    def ask() -> str:
        return current_run().ld_context.key

    @app.get("/")
    def stream() -> flask.Response:
        def chunks() -> Iterator[str]:
            assert not flask.has_request_context()
            yield ask()

        return flask.Response(chunks())

    assert app.test_client().get("/", headers={"X-User": "ada"}).text == "ada"


def test_a_callable_key_is_given_the_request(tracking: Tracking, records: list[RunRecord]) -> None:
    """The AI Config of a request may depend on its endpoint's path."""
    app = flask.Flask(__name__)
    AITracking(app, tracking, config_key=lambda request: "chat" if request.path == "/chat" else None)
    app.add_url_rule("/chat", "chat", lambda: "Hello")
    app.add_url_rule("/health", "health", lambda: "ok")
    client = app.test_client()

    assert (client.get("/chat").text, client.get("/health").text) == ("Hello", "ok")
    assert [record.config_key for record in records] == ["chat"]


def test_streams_are_timed_to_their_end(tracking: Tracking, records: list[RunRecord], clock: Clock) -> None:
    """Flask's teardown runs before a streamed body begins; the run ends with the last chunk."""
    app = flask.Flask(__name__)
    AITracking(app, tracking)

    @app.get("/")
    @track_ai(config_key="chat")
    def stream() -> flask.Response:
        def chunks() -> Iterator[str]:
            for _ in range(3):
                clock.advance(100)
                yield "word "

        return flask.Response(flask.stream_with_context(chunks()))

    assert app.test_client().get("/").text == "word word word "
    assert [(record.time_to_first_token_ms, record.duration_ms) for record in records] == [(100, 300)]


@pytest.mark.parametrize("propagate", [True, False])
def test_an_unhandled_exception_is_an_error(tracking: Tracking, records: list[RunRecord], propagate: bool) -> None:
    """An unhandled exception is the error of the run, whether Flask propagates it or responds with 500."""
    app = flask.Flask(__name__)
    app.testing = propagate
    AITracking(app, tracking)

    @app.get("/")
    @track_ai(config_key="chat")
    def broken() -> str:
        raise RuntimeError("broken")

    client = app.test_client()
    if propagate:
        with pytest.raises(RuntimeError, match="broken"):
            client.get("/")
    else:
        assert client.get("/").status_code == 500

    assert [record.outcome for record in records] == ["error"]
    assert str(records[0].error) == "broken"


def test_method_views_and_async_views(tracking: Tracking, records: list[RunRecord]) -> None:
    """Methods of class-based views and async views can be decorated."""
    app = flask.Flask(__name__)
    AITracking(app, tracking)

    class Chat(MethodView):
        decorators: ClassVar[list[Any]] = [track_ai(config_key="chat")]

        def get(self) -> str:
            return "got"

        @track_ai(config_key="summary")
        def post(self, run: Run) -> str:
            return run.config_key

    app.add_url_rule("/chat", view_func=Chat.as_view("chat"))
    client = app.test_client()

    assert (client.get("/chat").text, client.post("/chat").text) == ("got", "summary")
    assert [record.config_key for record in records] == ["chat", "summary", "chat"]


@pytest.mark.parametrize("result", [("refused", 400), ("refused", 404, {"X-Why": "no"})])
def test_a_view_may_return_a_tuple(tracking: Tracking, records: list[RunRecord], result: Any) -> None:
    """The status in Flask's ``(body, status)`` decides the outcome, and a streamed body is followed."""
    app = flask.Flask(__name__)
    app.add_url_rule("/refused", "refused", track_ai(config_key="chat", tracking=tracking)(lambda: result))

    def streamed() -> Any:
        return (chunk for chunk in ("Hello ", "there")), 200

    app.add_url_rule("/streamed", "streamed", track_ai(config_key="chat", tracking=tracking)(streamed))
    client = app.test_client()

    assert client.get("/refused").status_code == result[1]
    assert client.get("/streamed").text == "Hello there"
    assert [record.outcome for record in records] == ["discarded", "success"]
    assert records[1].time_to_first_token_ms is not None


@pytest.mark.parametrize("is_response", [False, True])
def test_a_view_may_return_a_stream_and_headers(
    tracking: Tracking, records: list[RunRecord], is_response: bool
) -> None:
    """The run of ``(body, headers)`` ends with the body, also if that breaks off."""
    app = flask.Flask(__name__)

    @app.get("/")
    @track_ai(config_key="chat", tracking=tracking)
    def view() -> Any:
        def chunks() -> Iterator[str]:
            yield "Hello "
            current_run().add_usage(input_tokens=1013, output_tokens=77)
            raise ConnectionError

        return flask.Response(chunks()) if is_response else chunks(), {"X-Accel-Buffering": "no"}

    with pytest.raises(ConnectionError):
        _ = app.test_client().get("/").data
    [record] = records
    assert record.outcome == "error"
    assert record.usage is not None
    assert record.usage.total_tokens == 1090
    assert record.time_to_first_token_ms is not None


@pytest.mark.parametrize("config_key", [None, always_chat])
def test_a_file_passes_as_it_is(tracking: Tracking, records: list[RunRecord], config_key: Any) -> None:
    """A file of a tracked view reaches the server's own file wrapper and is closed."""
    app, file = flask.Flask(__name__), io.BytesIO(b"data")
    AITracking(app, tracking, config_key=config_key)

    @app.get("/")
    @track_ai(config_key="summary")
    def view() -> flask.Response:
        return flask.send_file(file, mimetype="text/plain")

    body: Any = app.wsgi_app(environ(**{"wsgi.file_wrapper": FileWrapper}), start_response)

    assert type(body) is FileWrapper
    assert b"".join(body) == b"data"
    body.close()
    assert file.closed
    assert [record.outcome for record in records] == ["success"] * (1 if config_key is None else 2)


class Queue(Iterator[bytes]):
    """An iterator with a length, as gevent's queue."""

    def __init__(self, words: Iterator[bytes]) -> None:
        self._words = words

    def __len__(self) -> int:
        return 0

    def __next__(self) -> bytes:
        return next(self._words)


@pytest.mark.parametrize("is_passed_through", [False, True])
@pytest.mark.parametrize("body_of", [iter, partial(map, bytes.lower), chain, Queue])
def test_an_iterator_is_followed(
    tracking: Tracking, records: list[RunRecord], clock: Clock, body_of: Any, is_passed_through: bool
) -> None:
    """Any iterator is a stream, also one with a length, or with ``direct_passthrough``; a file is none."""
    app = flask.Flask(__name__)
    AITracking(app, tracking)

    def words() -> Iterator[bytes]:
        clock.advance(20)
        yield current_run().config_key.encode()

    @app.get("/")
    @track_ai(config_key="chat")
    def view() -> flask.Response:
        return flask.Response(body_of(words()), direct_passthrough=is_passed_through)

    with app.test_client() as client, client.get("/") as response:
        assert response.data == b"chat"
    assert [record.duration_ms for record in records] == [20]


def test_one_extension_serves_several_applications(tracking: Tracking) -> None:
    """One extension object serves several applications, and each has its own Tracking."""
    ai_tracking = AITracking(tracking=tracking)
    apps = [flask.Flask("one"), flask.Flask("two")]
    for app in apps:
        ai_tracking.init_app(app)

    assert [get_tracking(app) for app in apps] == [tracking, tracking]
    with apps[0].app_context():
        assert get_tracking() is tracking


def test_an_application_is_initialised_once(tracking: Tracking) -> None:
    """A second extension on one application raises an error."""
    app = flask.Flask("shop")
    AITracking(app, tracking)

    with pytest.raises(ConfigurationError, match=r"already on the Flask application 'shop'; initialize it once"):
        AITracking(app, tracking)


def test_an_application_without_the_extension() -> None:
    """The error for an application without the extension says how to initialise it."""
    with pytest.raises(TrackingNotConfiguredError, match=r"'shop' has no AITracking; call AITracking\(app\)"):
        get_tracking(flask.Flask("shop"))
