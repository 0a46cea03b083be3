"""The ASGI middleware."""

from __future__ import annotations

import asyncio
import gzip
import json
import threading
import zlib
from collections.abc import AsyncIterator, Callable, Coroutine, Generator
from typing import Any

import pytest
from ldclient import Context

from ldai_integrations import RunRecord, Settings, Tracking, Usage, current_run, track_ai
from ldai_integrations.asgi import ASGITrackingMiddleware
from ldai_integrations.devserver import DevServer

from ..binding import in_run
from ..conftest import Clock, Events, always_chat
from .asgi_calls import DISCONNECT, REQUEST, acall, app_that_sends, body, call, http_scope, start

ANSWER = json.dumps(
    {
        "object": "chat.completion",
        "model": "gpt-4o-mini",
        "choices": [{"message": {"role": "assistant", "content": "Hello"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 5, "completion_tokens": 1, "total_tokens": 6},
    }
).encode()


@track_ai(config_key="chat")
async def ask() -> str:
    """Answer in a run."""
    return current_run().ld_context.key


def test_messages_pass_unchanged(tracking: Tracking) -> None:
    """The very messages of the application reach the server, tracked or not."""
    messages = [start(content_type="text/plain"), body(b"one", more=True), body(b"two")]
    app = app_that_sends(*messages)

    for middleware in (
        ASGITrackingMiddleware(app, tracking),
        ASGITrackingMiddleware(app, tracking, config_key=always_chat),
    ):
        assert all(sent is message for sent, message in zip(call(middleware), messages, strict=True))


def test_a_route_without_ai_costs_no_context_and_no_event(tracking: Tracking, events: Events) -> None:
    """Without a run, the LD context is not determined and nothing is evaluated."""

    def never(scope: Any) -> Context:
        raise AssertionError("asked for a context that nobody needs")

    before = len(events.custom)
    call(ASGITrackingMiddleware(app_that_sends(start(), body()), tracking, ld_context=never))

    assert len(events.custom) == before
    assert tracking.stats().diagnostics == {}
    assert not in_run()


def test_the_context_is_asked_for_once_per_request(tracking: Tracking, records: list[RunRecord]) -> None:
    """All runs of a request share the LD context that the callable returned for its scope."""
    asked = []

    def ld_context(scope: Any) -> Context:
        asked.append(scope["path"])
        return Context.create("ada")

    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert {await ask(), await ask()} == {"ada"}

    call(ASGITrackingMiddleware(app, tracking, ld_context=ld_context), http_scope("/chat"))

    assert asked == ["/chat"]
    assert [record.outcome for record in records] == ["success", "success"]


def test_without_a_context_the_key_is_anonymous_and_the_requests_own(tracking: Tracking) -> None:
    """Two runs of one request have one anonymous key, and two requests have two."""
    keys: list[set[str]] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        keys.append({await ask(), await ask()})

    middleware = ASGITrackingMiddleware(app, tracking)
    call(middleware)
    call(middleware)

    assert [len(pair) for pair in keys] == [1, 1]
    assert keys[0].isdisjoint(keys[1])


def test_nothing_stays_in_the_scope(tracking: Tracking) -> None:
    """After the request the scope has the keys that the server gave it."""
    scope = http_scope()
    call(ASGITrackingMiddleware(app_that_sends(start(), body()), tracking, config_key=always_chat), scope)

    assert scope.keys() == http_scope().keys()


@pytest.mark.parametrize("inner_key", ["chat", "summary"])
def test_mounted_twice(tracking: Tracking, records: list[RunRecord], inner_key: str) -> None:
    """Two middlewares with one key make one run; with two keys, two."""
    inner = ASGITrackingMiddleware(app_that_sends(start(), body(b"Hello")), tracking, config_key=inner_key)
    call(ASGITrackingMiddleware(inner, tracking, config_key=always_chat))

    assert {record.config_key for record in records} == {"chat", inner_key}
    assert len(records) == len({"chat", inner_key})


def test_two_middlewares_report_a_response_once(tracking: Tracking, records: list[RunRecord]) -> None:
    """The response of a provider is the call of the inner middleware, although the outer one reads it as well."""
    app = app_that_sends(start(content_type="application/json"), body(ANSWER))
    inner = ASGITrackingMiddleware(app, tracking, config_key="summary")
    call(ASGITrackingMiddleware(inner, tracking, config_key=always_chat))

    tokens = {record.config_key: record.usage and record.usage.total_tokens for record in records}
    assert tokens == {"summary": 6, "chat": None}


def test_the_key_may_depend_on_the_scope(tracking: Tracking, records: list[RunRecord]) -> None:
    """A callable names the AI Config of a request, or none."""
    keys = {"/chat": "chat", "/summary": "summary"}
    app = ASGITrackingMiddleware(
        app_that_sends(start(), body(b"Hello")), tracking, config_key=lambda scope: keys.get(scope["path"])
    )
    for path in ("/chat", "/health", "/summary"):
        call(app, http_scope(path))

    assert [record.config_key for record in records] == ["chat", "summary"]


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (RuntimeError("broken"), "raised RuntimeError at test_asgi.py:"),
        (7, "returned an object of type int, so "),
        (" ", "returned an empty text, so "),
    ],
)
def test_a_callable_that_gives_no_key_does_not_hurt(
    tracking: Tracking, records: list[RunRecord], answer: Any, problem: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A key callable that raises or returns an invalid key is logged and counted, and the request is served."""

    def key_of_page(scope: Any) -> str:
        if isinstance(answer, Exception):
            raise answer
        return answer  # type: ignore[no-any-return]

    sent = call(ASGITrackingMiddleware(app_that_sends(start(), body()), tracking, config_key=key_of_page))

    assert sent == [start(), body()]
    assert records == []
    assert tracking.stats().diagnostics == {"config_key": 1}
    assert f"The function config_key= of a middleware {problem}" in caplog.text
    assert "Fix the function key_of_page" in caplog.text
    assert "broken" not in caplog.text


def test_usage_from_a_json_body(tracking: Tracking, records: list[RunRecord]) -> None:
    """The usage in a body with a provider's format is exact, however the body is split."""
    whole = app_that_sends(start(content_type="application/json"), body(ANSWER))
    cut = app_that_sends(start(content_type="application/json"), body(ANSWER[:50], more=True), body(ANSWER[50:]))
    for app in (whole, cut):
        call(ASGITrackingMiddleware(app, tracking, config_key=always_chat))

    usages = [record.usage for record in records]
    assert [(usage.input_tokens, usage.output_tokens, usage.source) for usage in usages if usage] == [
        (5, 1, "provider"),
        (5, 1, "provider"),
    ]
    assert [record.time_to_first_token_ms for record in records] == [None, None]


def test_a_body_over_the_limit_is_not_kept(client: Any, records: list[RunRecord]) -> None:
    """A body larger than the setting allows passes through, and its tokens stay unknown."""
    tracking = Tracking(client, settings=Settings(max_body_bytes=100))
    app = app_that_sends(start(content_type="application/json"), body(ANSWER))
    sent = call(ASGITrackingMiddleware(app, tracking, config_key=always_chat))

    assert sent[1]["body"] == ANSWER
    assert (records[0].outcome, records[0].usage) == ("success", None)


@pytest.mark.parametrize(("encoding", "compress"), [("gzip", gzip.compress), ("deflate", zlib.compress)])
def test_a_compressed_body_is_decoded(
    tracking: Tracking, records: list[RunRecord], encoding: str, compress: Callable[[bytes], bytes]
) -> None:
    """The usage in a compressed body is exact, and the body passes unchanged."""
    data = compress(ANSWER)
    app = app_that_sends(start(content_type="application/json", content_encoding=encoding), body(data))
    sent = call(ASGITrackingMiddleware(app, tracking, config_key="chat"))

    tracking.flush()  # it is decoded on another thread

    assert sent[1]["body"] == data
    assert records[0].usage == Usage(input_tokens=5, output_tokens=1, total_tokens=6)


def test_a_body_that_cannot_be_decoded(tracking: Tracking, records: list[RunRecord]) -> None:
    """The usage in a body with an encoding that the standard library lacks is unknown, and a diagnostic says so."""
    app = app_that_sends(start(content_type="application/json", content_encoding="br"), body(b"\x0b\x02\x80{}\x03"))
    call(ASGITrackingMiddleware(app, tracking, config_key=always_chat))

    assert (records[0].outcome, records[0].usage) == ("success", None)
    assert tracking.stats().diagnostics == {"encoding": 1}


def test_time_to_first_token_is_the_first_text_of_a_stream(
    tracking: Tracking, records: list[RunRecord], clock: Clock
) -> None:
    """A role-only event does not stop the clock; the duration runs to the last byte, not to the background task."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send(start(content_type="text/event-stream"))
        clock.advance(100)
        await send(body(b'data: {"choices":[{"delta":{"role":"assistant","content":""}}]}\n\n', more=True))
        clock.advance(200)
        await send(body(b'data: {"choices":[{"delta":{"content":"Hi"}}]}\n\n', more=True))
        clock.advance(300)
        await send(body())
        clock.advance(5_000)

    call(ASGITrackingMiddleware(app, tracking, config_key=always_chat))

    assert records[0].time_to_first_token_ms == 300
    assert records[0].duration_ms == 600


def test_an_exception_is_the_applications(tracking: Tracking, records: list[RunRecord]) -> None:
    """The application's exception is raised unchanged, and the run is an error."""
    error = RuntimeError("broken")

    async def app(scope: Any, receive: Any, send: Any) -> None:
        raise error

    with pytest.raises(RuntimeError) as caught:
        call(ASGITrackingMiddleware(app, tracking, config_key=always_chat))

    assert caught.value is error
    assert (records[0].outcome, records[0].error) == ("error", error)


async def _receive() -> Any:
    return REQUEST


async def _send_to_nobody(message: Any) -> None:
    raise OSError("the client is gone")


def test_a_client_that_left_shows_in_send(tracking: Tracking, records: list[RunRecord]) -> None:
    """A failed send (ASGI 2.4) cancels the run, whatever the framework does with the exception."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        try:
            await send(start())
        except OSError as exc:
            raise RuntimeError("what a framework makes of it") from exc

    with pytest.raises(RuntimeError, match="what a framework makes of it"):
        asyncio.run(
            ASGITrackingMiddleware(app, tracking, config_key=always_chat)(http_scope(), _receive, _send_to_nobody)
        )

    assert records[0].outcome == "cancelled"


def test_a_client_that_left_shows_in_receive(tracking: Tracking, records: list[RunRecord]) -> None:
    """A disconnect that the application receives before the last byte cancels the run."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send(start())
        await send(body(b"Hello", more=True))
        while (await receive())["type"] != "http.disconnect":
            pass

    call(ASGITrackingMiddleware(app, tracking, config_key=always_chat), received=[REQUEST, DISCONNECT])

    assert records[0].outcome == "cancelled"


def test_a_disconnect_after_the_last_byte_is_no_cancellation(tracking: Tracking, records: list[RunRecord]) -> None:
    """A disconnect after the last byte does not cancel the run."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send(start())
        await send(body(b"Hello"))
        while (await receive())["type"] != "http.disconnect":
            pass

    call(ASGITrackingMiddleware(app, tracking, config_key=always_chat), received=[REQUEST, DISCONNECT])

    assert [record.outcome for record in records] == ["success"]


@pytest.mark.parametrize(
    "messages",
    [
        [{"type": "http.response.pathsend", "path": "/dev/null"}],
        [{"type": "http.response.zerocopysend", "file": 0}],
        [{"type": "http.response.zerocopysend", "file": 0, "more_body": True}, body()],
    ],
    ids=["path", "file", "file and body"],
)
def test_a_file_ends_the_run(messages: list[Any], tracking: Tracking, records: list[RunRecord]) -> None:
    """A response that the server sends from a path or an open file ends the run."""
    app = app_that_sends(start(), *messages)
    call(ASGITrackingMiddleware(app, tracking, config_key=always_chat))

    assert [record.outcome for record in records] == ["success"]


def test_a_run_left_open_ends_with_the_request(tracking: Tracking, records: list[RunRecord]) -> None:
    """A run that is still open ends when the application returns, without the garbage collector."""
    kept = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        kept.append(track_ai(config_key="chat").__enter__())

    call(ASGITrackingMiddleware(app, tracking))

    assert [record.outcome for record in records] == ["cancelled"]
    assert kept[0].finished


@track_ai(config_key="summary")
async def summarize(end: threading.Event) -> None:
    """Observe an answer after the end of the request."""
    while not end.is_set():
        await asyncio.sleep(0.001)
    current_run().observe(json.loads(ANSWER))


async def summarize_in_a_block(end: threading.Event) -> None:
    """Do the same in a block."""
    async with track_ai(config_key="summary") as run:
        while not end.is_set():
            await asyncio.sleep(0.001)
        run.observe(json.loads(ANSWER))


@track_ai(config_key="summary")
async def summaries(end: threading.Event) -> AsyncIterator[str]:
    """Do the same in a generator."""
    while not end.is_set():
        await asyncio.sleep(0.001)
        yield "Not yet"
    current_run().observe(json.loads(ANSWER))


async def read_summaries(end: threading.Event) -> None:
    """Read the generator to its end."""
    async for _ in summaries(end):
        pass


@track_ai(config_key="summary")
def summarize_on_a_thread(end: threading.Event) -> None:
    """Do the same on a thread."""
    end.wait()
    current_run().observe(json.loads(ANSWER))


@pytest.mark.parametrize(
    "work",
    [
        summarize,
        summarize_in_a_block,
        read_summaries,
        lambda end: asyncio.to_thread(summarize_on_a_thread, end),
    ],
    ids=["function", "block", "generator", "thread"],
)
@pytest.mark.parametrize("config_key", [None, "chat"])
def test_work_that_goes_on_after_its_request(
    work: Callable[[threading.Event], Coroutine[Any, Any, None]],
    config_key: str | None,
    tracking: Tracking,
    records: list[RunRecord],
) -> None:
    """A run of its own ends with the work, not with the request that has started it."""
    end, tasks = threading.Event(), []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        tasks.append(asyncio.create_task(work(end)))
        await asyncio.sleep(0.01)  # it opens its run
        await app_that_sends(start(), body())(scope, receive, send)

    async def main() -> None:
        await acall(ASGITrackingMiddleware(app, tracking, config_key=config_key), http_scope())
        end.set()
        await tasks[0]

    asyncio.run(main())
    [record] = [record for record in records if record.config_key == "summary"]
    assert (record.outcome, record.calls, record.usage) == ("success", 1, Usage(5, 1, 6))


def test_a_block_in_a_generator_that_is_stepped_on_threads(tracking: Tracking, records: list[RunRecord]) -> None:
    """Starlette takes each step of a generator on a thread, and does not close it. Its run ends with the request."""

    def stream() -> Generator[bytes, None, None]:
        with track_ai(config_key="summary") as run:
            run.observe(json.loads(ANSWER))
            yield b"Hello"
            yield b" there"

    steps = stream()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        first = await asyncio.to_thread(next, steps)
        await app_that_sends(start(), body(first))(scope, receive, send)

    call(ASGITrackingMiddleware(app, tracking), http_scope())
    assert [(record.outcome, record.calls) for record in records] == [("cancelled", 1)]
    steps.close()


def test_a_websocket_is_no_run_and_its_exchanges_are(tracking: Tracking, records: list[RunRecord]) -> None:
    """A connection has one LD context; each exchange in it is a run with its own duration."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await ask()
        await ask()

    call(ASGITrackingMiddleware(app, tracking, config_key="summary"), {**http_scope(), "type": "websocket"})

    assert [record.config_key for record in records] == ["chat", "chat"]
    assert records[0].run_id != records[1].run_id


def test_unknown_scopes_pass(tracking: Tracking) -> None:
    """Scopes that are neither requests nor lifespans pass unchanged."""
    seen = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append((scope["type"], in_run()))

    call(ASGITrackingMiddleware(app, tracking, config_key=always_chat), {"type": "something.new"})

    assert seen == [("something.new", False)]


LIFESPAN = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]


@pytest.mark.parametrize("flush", ["auto", "shutdown", "never"])
def test_events_are_out_before_shutdown_completes(dev_server: DevServer, flush: Any) -> None:
    """The events arrive before the server learns that shutdown is complete, unless flushing is switched off."""
    dev_server.clear()
    settings = Settings(flush=flush)
    tracking = Tracking.from_env(environ={"LDAI_DEV_SERVER": dev_server.url}, settings=settings)
    arrived = []

    async def lifespan(scope: Any, receive: Any, send: Any) -> None:
        with track_ai(config_key="chat", tracking=tracking) as run:
            run.first_token()
        await _quiet_lifespan(scope, receive, send)

    async def serve() -> None:
        waiting = list(LIFESPAN)

        async def receive() -> Any:
            return waiting.pop(0)

        async def send(message: Any) -> None:
            if message["type"] == "lifespan.shutdown.complete":
                arrived.append({event["key"] for event in dev_server.events(config_key="chat")})

        await ASGITrackingMiddleware(lifespan, tracking)({"type": "lifespan"}, receive, send)

    asyncio.run(serve())
    tracking.close()

    assert bool(arrived[0]) == (flush != "never")


async def _quiet_lifespan(scope: Any, receive: Any, send: Any) -> None:
    await receive()
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await send({"type": "lifespan.shutdown.complete"})


def test_a_failure_of_ours_does_not_stop_the_start(
    tracking: Tracking, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """An application starts although the library cannot start a thread; the failure is logged."""

    def refuse(**_options: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr("ldai_integrations.asgi.warm_up", refuse)
    sent = call(ASGITrackingMiddleware(_quiet_lifespan, tracking), {"type": "lifespan"}, LIFESPAN)

    assert [message["type"] for message in sent] == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
    assert any(line.startswith("start failed for 'lifespan'") for line in caplog.messages)


def test_an_application_without_lifespan_says_so_as_before(tracking: Tracking) -> None:
    """The exception by which an application refuses the lifespan reaches the server."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        raise NotImplementedError("no lifespan here")

    with pytest.raises(NotImplementedError, match="no lifespan here"):
        call(ASGITrackingMiddleware(app, tracking), {"type": "lifespan"}, LIFESPAN)


def test_flush_per_request(dev_server: DevServer) -> None:
    """With ``flush="request"``, the events of a request arrive before its application returns."""
    dev_server.clear()
    settings = Settings(flush="request")
    tracking = Tracking.from_env(environ={"LDAI_DEV_SERVER": dev_server.url}, settings=settings)
    call(ASGITrackingMiddleware(app_that_sends(start(), body(b"Hello")), tracking, config_key=always_chat))
    arrived = {event["key"] for event in dev_server.events(config_key="chat")}
    tracking.close()

    assert "$ld:ai:generation:success" in arrived
