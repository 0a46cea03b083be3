"""Pitfalls 15, 16 and 30 to 35: times, and what counts as a failure."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import flask
import pytest
from fastapi import BackgroundTasks, FastAPI
from ldclient import Context, LDClient
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from ldai_integrations import ConfigurationError, RunRecord, Settings, Tracking, current_run, run_finished, track_ai
from ldai_integrations.asgi import ASGITrackingMiddleware
from ldai_integrations.flask import AITracking
from ldai_integrations.starlette import TrackingMiddleware

from ..conftest import Clock, Decorate, Events, always_chat, complaints, failures
from ..flags import MALFORMED
from ..integrations.asgi_calls import REQUEST, acall, app_that_sends, body, call, http_scope, start

Chunk = dict[str, Any]


def _delta(**delta: Any) -> Chunk:
    return {"object": "chat.completion.chunk", "choices": [{"index": 0, "delta": delta}]}


ROLE, EMPTY = _delta(role="assistant"), _delta(content="")
METADATA: Chunk = {"object": "chat.completion.chunk", "choices": [], "prompt_filter_results": []}
USAGE: Chunk = {**METADATA, "usage": {"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 13}}
REASONING, TEXT = _delta(reasoning_content="Let me see"), _delta(content="Hello")
TOOL = _delta(tool_calls=[{"index": 0, "id": "c", "function": {"name": "search", "arguments": ""}}])


def _sent(events: list[Chunk], clock: Clock) -> Iterator[str]:
    for event in events:
        clock.advance(10)
        yield f"data: {json.dumps(event)}\n\n"


def _stepped(events: list[Chunk], clock: Clock) -> Iterator[Chunk]:
    for event in events:
        clock.advance(10)
        yield event


WAYS: dict[str, Callable[[list[Chunk], Clock], Iterator[Any]]] = {
    "as it is sent": _sent,
    "as objects": _stepped,
    "observed": lambda events, clock: current_run().observe(_stepped(events, clock)),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("chunks", "first"),
    [
        ([ROLE, EMPTY, METADATA, TEXT, TEXT, USAGE], 40),
        ([ROLE, REASONING, TEXT, USAGE], 20),
        ([ROLE, TOOL, USAGE], 20),
        ([ROLE, EMPTY, USAGE], None),
    ],
)
def test_the_first_token(
    track: Decorate, records: list[RunRecord], clock: Clock, way: str, chunks: list[Chunk], first: int | None
) -> None:
    """Frames of a role, of nothing, of metadata or of usage stop no clock; text, reasoning and tool deltas do."""

    @track
    def ask() -> Iterator[Any]:
        yield from WAYS[way](chunks, clock)

    list(ask())

    assert records[0].time_to_first_token_ms == first
    assert records[0].duration_ms == 10 * len(chunks)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("chunks", "both"),
    [
        ([ROLE, REASONING, REASONING, TEXT, TEXT, USAGE], (20, 40)),
        ([TOOL, TEXT], (10, 20)),
        ([TEXT, REASONING, TEXT], (10, 10)),
        ([REASONING, TOOL], (10, None)),
    ],
)
def test_the_first_reasoning_and_the_first_answer(
    track: Decorate, records: list[RunRecord], clock: Clock, way: str, chunks: list[Chunk], both: tuple[int, int | None]
) -> None:
    """The record has the time to the first token of any kind, and to the first visible text."""

    @track
    def ask() -> Iterator[Any]:
        yield from WAYS[way](chunks, clock)

    list(ask())

    assert (records[0].time_to_first_token_ms, records[0].time_to_first_answer_ms) == both


def test_plain_text_is_an_answer(track: Decorate, records: list[RunRecord], clock: Clock) -> None:
    """A stream that no provider made has one first, and a whole answer has none."""

    @track
    def words() -> Iterator[str]:
        clock.advance(10)
        yield "Hello"

    list(words())
    track(lambda: "Hello")()

    assert [(record.time_to_first_token_ms, record.time_to_first_answer_ms) for record in records] == [
        (10, 10),
        (None, None),
    ]


@pytest.mark.parametrize("streams", [True, False])
def test_background_tasks(tracking: Tracking, records: list[RunRecord], clock: Clock, streams: bool) -> None:
    """The time of a background task is not the model's; what is tracked in it belongs to the request."""
    app = FastAPI()
    app.add_middleware(
        TrackingMiddleware, tracking=tracking, config_key="summary", ld_context=lambda request: Context.create("ada")
    )
    seen = []

    @track_ai(config_key="chat")
    def later() -> None:
        clock.advance(10_000)
        seen.append(current_run().ld_context.key)

    async def words() -> AsyncIterator[str]:
        yield "Hello"

    @app.get("/")
    def endpoint(background: BackgroundTasks) -> Response:
        background.add_task(later)
        clock.advance(50)
        return StreamingResponse(words()) if streams else PlainTextResponse("Hello")

    assert TestClient(app).get("/").text == "Hello"
    assert [(record.config_key, record.duration_ms) for record in records] == [("summary", 50), ("chat", 10_000)]
    assert seen == ["ada"]


ERROR_EVENT = 'event: error\ndata: {"type": "error", "error": {"type": "overloaded_error", "message": "later"}}\n\n'


@pytest.mark.parametrize("integration", ["decorator", "middleware"])
def test_an_error_event_inside_a_200(
    tracking: Tracking, records: list[RunRecord], clock: Clock, integration: str, o200k: None
) -> None:
    """A stream that began well and tells of a failure is an error, with the words that came before it."""
    events = [*_sent([TEXT], clock), ERROR_EVENT]
    if integration == "decorator":
        list(track_ai(config_key="chat", tracking=tracking)(lambda: iter(events))())
    else:
        parts = [body(event.encode(), more=True) for event in events]
        app = app_that_sends(start(content_type="text/event-stream"), *parts, body())
        call(ASGITrackingMiddleware(app, tracking, config_key=always_chat))

    assert [record.outcome for record in records] == ["error"]
    assert records[0].usage is not None
    assert records[0].usage.output_tokens == 1


class TeapotError(Exception):
    """An exception that the application turns into a response."""


def _starlette(tracking: Tracking, *, status: int, decorated: bool) -> Callable[[], int]:
    async def endpoint(request: Request) -> Response:
        raise TeapotError

    async def handler(request: Request, exc: Exception) -> Response:
        return PlainTextResponse("no", status)

    tracked = track_ai(config_key="chat")(endpoint) if decorated else endpoint
    app = Starlette(routes=[Route("/", tracked)], exception_handlers={TeapotError: handler})
    app.add_middleware(TrackingMiddleware, tracking=tracking, config_key=always_chat)
    return lambda: TestClient(app).get("/").status_code


def _flask(tracking: Tracking, *, status: int, decorated: bool) -> Callable[[], int]:
    app = flask.Flask(__name__)
    AITracking(app, tracking, config_key=always_chat)

    def view() -> str:
        raise TeapotError

    app.add_url_rule("/", view_func=track_ai(config_key="chat")(view) if decorated else view)
    app.register_error_handler(TeapotError, lambda exc: ("no", status))

    def send() -> int:
        with app.test_client() as client, client.get("/") as response:
            return response.status_code

    return send


@pytest.mark.parametrize("make", [_starlette, _flask])
@pytest.mark.parametrize(
    ("decorated", "status", "outcome"),
    [
        (True, 500, "error"),
        (True, 418, "error"),
        (True, 200, "error"),
        (False, 500, "error"),
        (False, 418, "discarded"),
    ],
)
def test_an_exception_that_becomes_a_response(
    tracking: Tracking, records: list[RunRecord], make: Any, decorated: bool, status: int, outcome: str
) -> None:
    """A decorated handler's exception is known whatever is made of it; for a middleware alone the status speaks."""
    assert make(tracking, status=status, decorated=decorated)() == status

    assert [record.outcome for record in records] == [outcome]
    assert isinstance(records[0].error, TeapotError) == decorated


@pytest.mark.parametrize(
    ("statuses", "outcome"), [(range(500, 600), "discarded"), ({418}, "error"), (range(400, 600), "error")]
)
@pytest.mark.parametrize("integration", ["decorator", "middleware", "raised"])
def test_which_statuses_are_errors(
    client: LDClient, records: list[RunRecord], statuses: Any, outcome: str, integration: str
) -> None:
    """``Settings.error_statuses`` says so, for returned responses, sent ones and exceptions of frameworks alike."""
    tracking = Tracking(client, settings=Settings(error_statuses=statuses))
    track = track_ai(config_key="chat", tracking=tracking)

    def refuse() -> None:
        raise HTTPException(418)

    if integration == "middleware":
        call(ASGITrackingMiddleware(app_that_sends(start(418), body()), tracking, config_key=always_chat))
    elif integration == "decorator":
        track(lambda: Response("no", 418))()
    else:
        with pytest.raises(HTTPException):
            track(refuse)()

    assert [record.outcome for record in records] == [outcome]


@pytest.mark.parametrize("wrong", [{200}, 500, {"500"}, [600]])
def test_statuses_that_cannot_be_errors(wrong: Any) -> None:
    """What is no set of statuses from 400 to 599 is refused at start."""
    with pytest.raises(ConfigurationError, match=r"Settings\.error_statuses is .*; use a set, list or range"):
        Settings(error_statuses=wrong)


def _fails(*args: Any, **kwargs: Any) -> Any:
    raise RuntimeError("ours")


class _FailingSink:
    emit = staticmethod(_fails)


def _break_evaluation(patch: pytest.MonkeyPatch, tracking: Tracking) -> None:
    patch.setattr(tracking.client, "variation_detail", _fails)


def _break_track(patch: pytest.MonkeyPatch, tracking: Tracking) -> None:
    patch.setattr(tracking.client, "track", _fails)


def _close_client(patch: pytest.MonkeyPatch, tracking: Tracking) -> None:
    tracking.client.close()


#: What breaks, and the trouble it is counted as; a closed client is LaunchDarkly's to tell.
BREAKS: dict[str, tuple[Callable[[pytest.MonkeyPatch, Tracking], None], str | None]] = {
    "evaluation": (_break_evaluation, "resolve"),
    "LaunchDarkly's track": (_break_track, "event"),
    "the client is closed": (_close_client, None),
}


@pytest.mark.parametrize("what", BREAKS)
def test_when_we_fail(
    tracking: Tracking, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, what: str
) -> None:
    """The response stays what it was; the failure is logged once, with its place, and counted each time."""
    breaks, trouble = BREAKS[what]
    app = Starlette(
        routes=[Route("/", track_ai(config_key="chat")(lambda request: PlainTextResponse(current_run().id or "?")))]
    )
    app.add_middleware(TrackingMiddleware, tracking=tracking)
    breaks(monkeypatch, tracking)
    with TestClient(app) as server:
        answers = [server.get("/") for _ in range(3)]

    assert [(answer.status_code, len(answer.text) > 1) for answer in answers] == [(200, True)] * 3
    ours = complaints(caplog)
    if trouble is not None:
        assert failures(tracking).keys() == {trouble}
        assert tracking.stats().diagnostics[trouble] % 3 == 0
        assert len(ours) == len({record.getMessage() for record in ours}) > 0
        assert all(record.exc_info or "RuntimeError at test_timing_and" in record.getMessage() for record in ours)


@pytest.mark.parametrize(
    ("what", "options"),
    [
        ("ld_context", {"ld_context": _fails}),
        ("variables", {"variables": _fails}),
        ("result", {"is_error": _fails}),
    ],
)
def test_when_a_callable_of_the_users_fails(
    tracking: Tracking, caplog: pytest.LogCaptureFixture, what: str, options: Any
) -> None:
    """The same for the callables that a handler's decorator was given."""

    @track_ai(config_key="chat", tracking=tracking, **options)
    def ask() -> str:
        return current_run().messages()[0]["role"]  # type: ignore[no-any-return]

    assert [ask(), ask()] == ["system"] * 2
    assert tracking.stats().diagnostics[what] == 2
    assert len(complaints(caplog)) == 1


@pytest.mark.parametrize("key", [None, "", 42, uuid.uuid4()], ids=["none", "empty", "number", "uuid"])
def test_a_context_whose_key_is_no_text(
    tracking: Tracking, records: list[RunRecord], caplog: pytest.LogCaptureFixture, key: Any
) -> None:
    """LaunchDarkly's SDK accepts such a key. Visitors would share a context, so that each run has an anonymous one."""

    @track_ai(config_key="chat", tracking=tracking, ld_context=lambda: Context.create(key))
    def ask() -> str:
        return current_run().ld_context.key

    keys = [ask(), ask()]

    assert len({*keys, str(key)}) == 3
    assert all(record.ld_context is not None and record.ld_context.anonymous for record in records)
    assert tracking.stats().diagnostics["ld_context"] == 2
    (line,) = complaints(caplog)
    assert line.getMessage().startswith("ld_context returned an invalid context: ")


def test_when_a_sink_or_a_receiver_fails(client: LDClient, events: Events, caplog: pytest.LogCaptureFixture) -> None:
    """One sink's failure keeps nothing from the others, a receiver's nothing from anybody."""
    tracking = Tracking(client, sinks=[_FailingSink()])
    with run_finished.connected_to(_fails):
        assert [track_ai(config_key="chat", tracking=tracking)(lambda: "Hello")() for _ in range(2)] == ["Hello"] * 2

    assert failures(tracking) == {"sink _FailingSink": 2, "receiver of run_finished": 2}
    assert len(events.named("generation:success")) == 2
    assert len(complaints(caplog)) == 2


def test_errors_of_the_users_are_not_swallowed(track: Decorate) -> None:
    """Nothing guards the handler's own statements, not even between the chunks."""

    @track
    def words() -> Iterator[str]:
        yield "Hello"
        raise ConnectionResetError("the provider is gone")

    steps: Any = words()
    assert next(steps) == "Hello"
    with pytest.raises(ConnectionResetError, match="the provider is gone"):
        next(steps)


@pytest.mark.parametrize("key", MALFORMED)
def test_a_malformed_variation(tracking: Tracking, records: list[RunRecord], key: str) -> None:
    """What the AI SDK raises on, or misreads, is served as the default; the request does not fail."""

    @track_ai(config_key=key, tracking=tracking)
    def ask() -> tuple[bool, list[Any]]:
        return current_run().config.enabled, current_run().messages()

    assert ask() == (False, [])
    assert [(record.outcome, record.default_served) for record in records] == [("discarded", True)]


def test_a_receive_that_is_cancelled(tracking: Tracking, records: list[RunRecord]) -> None:
    """An application may stop listening for its client: that is neither a lost client nor a failure."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert await receive() == REQUEST
        listening = asyncio.create_task(receive())
        await asyncio.sleep(0)
        listening.cancel()
        with pytest.raises(asyncio.CancelledError):
            await listening
        await send(start())
        await send(body(b"Hello"))

    sent = asyncio.run(acall(ASGITrackingMiddleware(app, tracking, config_key=always_chat), http_scope()))

    assert len(sent) == 2
    assert [record.outcome for record in records] == ["success"]
