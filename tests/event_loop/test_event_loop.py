"""Nothing of the library uses or blocks an event loop for more than 5 ms."""

from __future__ import annotations

import asyncio
import json
import threading
import time
import zlib
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import pytest
from openai import AsyncOpenAI

from ldai_integrations import RunRecord, Settings, Tracking, current_run, track_ai, wrap_client
from ldai_integrations.asgi import ASGITrackingMiddleware
from ldai_integrations.devserver import DevServer
from ldai_integrations.judges import JudgeSettings
from ldai_integrations.typing import Message, Receive, Scope, Send
from ldai_integrations.usage import warm_up
from ldai_integrations.usage._encoding_files import O200K
from ldai_integrations.usage._encodings import encodings

from ..conftest import Decorate, EndProcess, always_chat
from ..flags import FLAGS
from .conftest import Measure
from .responses import MB, TEXT, USAGE, completion
from .watchdog import MOST, watch


def chunk(text: str) -> bytes:
    """Build an event of a provider's stream."""
    choices = [{"index": 0, "delta": {"content": text}}]
    event = {"id": "x", "object": "chat.completion.chunk", "model": "gpt-4o", "choices": choices}
    return b"data: " + json.dumps(event, ensure_ascii=False).encode() + b"\n\n"


USAGE_CHUNK = {"id": "x", "object": "chat.completion.chunk", "model": "gpt-4o", "choices": [], "usage": USAGE}
LAST = b"data: " + json.dumps(USAGE_CHUNK).encode() + b"\n\ndata: [DONE]\n\n"


def gzip(data: bytes) -> bytes:
    """Compress a body."""
    compress = zlib.compressobj(wbits=31)
    return compress.compress(data) + compress.flush()


def cut(data: bytes, size: int = 65_536) -> list[bytes]:
    """Cut a body into parts."""
    return [data[start : start + size] for start in range(0, len(data), size)]


#: 200 bytes that become 64 MB.
BOMB = gzip(gzip(gzip(bytes(64 * MB))))
SSE, JSON = {"content-type": "text/event-stream"}, {"content-type": "application/json"}
LONG_LINE = chunk(TEXT * 10)
#: Headers and parts of a response, and whether it has usage that must be found.
BODIES: dict[str, tuple[dict[str, str], list[bytes], bool]] = {
    "document": (JSON, [json.dumps(completion(TEXT[: 800 * 1024], usage=USAGE), ensure_ascii=False).encode()], True),
    "document without usage": (JSON, [json.dumps(completion(TEXT)).encode()], False),
    "other document": (JSON, [json.dumps([[number, str(number)] for number in range(60_000)]).encode()], False),
    "nested document": (JSON, [b"[" * (MB // 2) + b"]" * (MB // 2)], False),
    "compressed document": (
        {**JSON, "content-encoding": "gzip"},
        [gzip(json.dumps(completion(TEXT[: 800 * 1024], usage=USAGE), ensure_ascii=False).encode())],
        True,
    ),
    "document of 30 MB": (JSON, [b'{"a":"' + TEXT.encode() * 30 + b'"}'], False),
    "text": ({"content-type": "text/plain"}, [TEXT.encode()], False),
    "text of 10 MB": ({"content-type": "text/plain"}, [TEXT.encode() * 10], False),
    "event of 1 MB": (SSE, [chunk(TEXT), LAST], True),
    "event of 3 MB in parts": (SSE, [*cut(chunk(TEXT * 2)), LAST], True),
    "line of 10 MB": (SSE, [LONG_LINE, LAST], True),
    "line of 10 MB in parts": (SSE, [*cut(LONG_LINE), LAST], True),
    "10,000 events at once": (SSE, [chunk("word ") * 10_000 + LAST], True),
    "10,000 events": (SSE, [*[chunk("word ")] * 10_000, LAST], True),
    "plain line of 10 MB": (SSE, [b"data: " + TEXT.encode() * 10 + b"\n\n"], False),
    "compressed events": ({**SSE, "content-encoding": "gzip"}, [gzip(chunk(TEXT) * 3 + LAST)], True),
    "document compressed three times": ({**JSON, "content-encoding": "gzip, gzip, gzip"}, [BOMB], False),
    "events compressed three times": ({**SSE, "content-encoding": "gzip, gzip, gzip"}, [BOMB], False),
}


async def request(app: Any) -> None:
    """Send a request to an ASGI application."""

    async def receive() -> Message:
        return {"type": "http.request", "body": b""}

    async def send(_message: Message) -> None:
        pass

    await app({"type": "http", "method": "GET", "path": "/", "headers": []}, receive, send)


def application(headers: dict[str, str], parts: list[bytes]) -> Any:
    """Build an ASGI application that does nothing but send a response."""
    encoded = [(name.encode(), value.encode()) for name, value in headers.items()]

    async def app(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": encoded})
        for part in parts:
            await send({"type": "http.response.body", "body": part, "more_body": True})
            await asyncio.sleep(0)
        await send({"type": "http.response.body", "body": b""})

    return app


@pytest.mark.parametrize("name", BODIES)
def test_bodies(measure: Measure, tracking: Tracking, events: Any, name: str) -> None:
    """A large body of a request that a middleware tracks takes no time, and its usage is found."""
    headers, parts, has_usage = BODIES[name]
    app = ASGITrackingMiddleware(application(headers, parts), tracking, config_key=always_chat)
    loop = measure(lambda: request(app))

    assert loop.longest < MOST
    if has_usage:
        assert [event.metric_value for event in events.named("tokens:input")] == [USAGE["prompt_tokens"]] * 2


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("application/x-ndjson", b'{"id":1,"name":"alice"}\n' * 5_000),
        ("application/json", b"[" + b'{"id":1,"name":"alice"},' * 5_000 + b"{}]"),
        ("text/event-stream", b"\r" * 1_000_000),
    ],
    ids=["rows", "document", "empty lines"],
)
def test_bodies_under_one_key(
    measure: Measure, tracking: Tracking, events: Any, content_type: str, body: bytes
) -> None:
    """A large body that contains no answer of a model takes no time under one key for all requests."""
    app = ASGITrackingMiddleware(application({"content-type": content_type}, [body]), tracking, config_key="chat")
    loop = measure(lambda: request(app))

    assert loop.longest < MOST
    assert events.named("generation:success") == []


ITEMS: dict[str, list[Any]] = {
    "text of 10 MB": [TEXT * 10],
    "line of 10 MB": [LONG_LINE, LAST],
    "line of 10 MB as text": [LONG_LINE.decode(), LAST.decode()],
    "10,000 words": ["word "] * 10_000,
    "10,000 events at once": [chunk("word ") * 10_000, LAST],
}


@pytest.mark.parametrize("name", ITEMS)
def test_streams(measure: Measure, track: Decorate, name: str) -> None:
    """Large items that a decorated async generator yields take no time."""

    @track
    async def handler() -> AsyncIterator[Any]:
        for item in ITEMS[name]:
            await asyncio.sleep(0)
            yield item

    async def consume() -> None:
        async for _ in handler():
            pass

    assert measure(consume).longest < MOST


RESPONSES: dict[str, list[Any]] = {
    "response": [completion(TEXT, usage=USAGE)],
    "response without usage": [completion(TEXT)],
    "line of 10 MB": [LONG_LINE],
    "line of 10 MB as text": [LONG_LINE.decode()],
    "10,000 lines": [chunk("word ").strip()] * 10_000,
}


@pytest.mark.parametrize("name", RESPONSES)
def test_responses(measure: Measure, track: Decorate, name: str) -> None:
    """Large responses of a provider that are observed take no time."""

    @track
    async def handler() -> str:
        for response in RESPONSES[name]:
            await asyncio.sleep(0)
            current_run().observe(response)
        return TEXT

    assert measure(handler).longest < MOST


@pytest.mark.parametrize("name", ["response", "response without usage"])
def test_records_with_receivers(measure: Measure, track: Decorate, records: list[RunRecord], name: str) -> None:
    """A receiver of the records changes nothing about that: long texts are counted elsewhere."""

    @track
    async def handler() -> str:
        await asyncio.sleep(0)
        current_run().messages(user=TEXT)
        current_run().observe(RESPONSES[name][0])
        return "done"

    assert measure(handler).longest < MOST
    assert len(records) == 2


def test_a_record_of_many_calls(measure: Measure, track: Decorate, records: list[RunRecord]) -> None:
    """Nor does it for many short answers."""

    @track
    async def handler() -> str:
        for number in range(300):
            await asyncio.sleep(0)
            current_run().observe({**completion("Hi", usage=USAGE), "id": f"c{number}"})
        return "done"

    assert measure(handler).longest < MOST
    assert [record.calls for record in records] == [300, 300]


@pytest.mark.parametrize("is_wrapped", [False, True])
@pytest.mark.parametrize("texts", [["word "] * 20_000, [TEXT]], ids=["20,000 chunks", "chunk of 1 MB"])
def test_streams_with_receivers(
    measure: Measure, track: Decorate, records: list[RunRecord], texts: list[str], is_wrapped: bool
) -> None:
    """Nor does it for the chunks of a stream, which are objects."""
    ends: list[float] = []

    async def chunks() -> AsyncIterator[dict[str, Any]]:
        for text in texts:
            yield {"id": "x", "object": "chat.completion.chunk", "choices": [{"index": 0, "delta": {"content": text}}]}
            await asyncio.sleep(0)

    async def create(**_arguments: object) -> AsyncIterator[dict[str, Any]]:
        return chunks()

    client: Any = SimpleNamespace(chat=SimpleNamespace(completions=SimpleNamespace(create=create)))
    create = wrap_client(client).chat.completions.create

    @track
    async def handler() -> str:
        async for _chunk in await create(stream=True) if is_wrapped else current_run().observe(chunks()):
            pass
        ends.append(time.thread_time())
        return "done"

    async def main() -> None:
        await handler()
        ends.append(time.thread_time())

    measure(main)
    assert ends[3] - ends[2] < MOST
    assert len(records) == 2


class Broken:
    """An object whose attributes raise an exception, such as a proxy for something that was closed."""

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError("closed")


def test_attributes_that_raise(measure: Measure, track: Decorate) -> None:
    """It takes little time to find out whether a signal handler has raised the exception."""
    response = {**completion("Hi"), "choices": [Broken() for _ in range(10)]}

    @track
    async def handler() -> str:
        await asyncio.sleep(0)
        current_run().observe(response)
        return "done"

    assert measure(handler).longest < MOST


def test_the_first_request_starts_no_thread(tracking: Tracking) -> None:
    """An application that is served has its threads: under load, the start of one takes long."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            with track_ai("chat", tracking=tracking):
                pass
        threads.append(set(threading.enumerate()))

    async def serve() -> None:
        middleware = ASGITrackingMiddleware(app, tracking)
        await middleware({"type": "lifespan"}, None, None)  # type: ignore[arg-type]
        await request(middleware)

    threads: list[set[threading.Thread]] = []
    asyncio.run(serve())
    assert threads[1] <= threads[0]


@pytest.mark.parametrize("receiver", [None, "records"])
def test_loading_an_encoding(tracking: Tracking, request: pytest.FixtureRequest, receiver: str | None) -> None:
    """The first run that needs an encoding does not load it on the event loop, even if its record is built there."""
    if receiver is not None:
        request.getfixturevalue(receiver)

    @track_ai(config_key="chat", tracking=tracking)
    async def handler() -> str:
        return "some words that must be counted"

    watch(handler())
    tracking.flush(30)
    encodings.forget()
    try:
        loop = watch(handler())
        tracking.flush(30)
    finally:
        warm_up(timeout=30)
    assert loop.longest < MOST


def test_the_start_of_an_application(tracking: Tracking) -> None:
    """An application that is served has its encoding: nothing is loaded while requests are served."""
    loaded: list[bool] = []

    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        loaded.append(encodings.get(O200K) is not None)
        await send({"type": "lifespan.startup.complete"})

    async def start() -> None:
        async def exchange(*_: object) -> Any:
            return {"type": "lifespan.startup"}

        await ASGITrackingMiddleware(app, tracking)({"type": "lifespan"}, exchange, exchange)

    encodings.forget()
    try:
        asyncio.run(start())
        assert loaded == [True]
    finally:
        warm_up(timeout=30)


@pytest.mark.parametrize("receiver", [None, "records"])
def test_building_a_judge(
    client: Any,
    o200k: None,
    provider: Any,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
    receiver: str | None,
) -> None:
    """The client of a judge's provider is built and used on another thread, also if the record is built on the loop."""
    if receiver is not None:
        request.getfixturevalue(receiver)
    build = AsyncOpenAI.__init__

    def build_slowly(self: AsyncOpenAI, **options: Any) -> None:
        built.append(threading.current_thread())
        until = time.thread_time() + 4 * MOST  # as the first client of a process does
        while time.thread_time() < until:
            pass
        build(self, **options)

    built: list[threading.Thread] = []
    monkeypatch.setattr(AsyncOpenAI, "__init__", build_slowly)
    tracking = Tracking(client, settings=Settings(judges=JudgeSettings(), flush="never"))

    async def handle(config_key: str) -> None:
        with track_ai(config_key, tracking=tracking) as run:
            run.messages(user="Hi?")
            run.observe(completion("Hello", usage=USAGE))

    async def serve() -> None:
        await handle("judged")
        while not provider.asked:
            await asyncio.sleep(0.001)

    watch(handle("chat"))
    tracking.flush(30)
    loop = watch(serve())
    tracking.close()
    assert loop.longest < MOST
    assert len(built) == 1


# A LaunchDarkly that hangs at the start


@pytest.fixture
def hanging(fresh_process: EndProcess, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Serve a LaunchDarkly that does not answer, for a process that has no Tracking yet."""
    with DevServer(FLAGS) as server:
        server.inject("/all", delay=60, count=None)
        monkeypatch.setenv("LDAI_DEV_SERVER", server.url)
        monkeypatch.setenv("LDAI_START_WAIT", "0.7")
        monkeypatch.setenv("LDAI_FLUSH_TIMEOUT", "1")
        yield server
        fresh_process()


def test_the_first_request_gets_the_default(hanging: DevServer) -> None:
    """Where LaunchDarkly hangs, the first requests get the default after the limit, and later ones at once."""

    @track_ai(config_key="chat")
    async def handler() -> bool:
        return bool(current_run().config.enabled)

    async def serve() -> None:
        begun = time.monotonic()
        assert await asyncio.gather(*(handler() for _ in range(100))) == [False] * 100
        took.append(time.monotonic() - begun)
        begun = time.monotonic()
        assert not await handler()
        took.append(time.monotonic() - begun)

    took: list[float] = []
    loop = watch(serve())
    assert 0.6 < took[0] < 4
    assert took[1] < 0.6
    assert loop.longest_wait < 0.5


def test_the_application_starts(hanging: DevServer) -> None:
    """A lifespan waits for AI Configs before it starts, and not longer than the limit; requests then do not wait."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        started.append(time.monotonic())
        if scope["type"] == "http":
            current_run().messages()

    async def serve() -> None:
        middleware = ASGITrackingMiddleware(app, config_key=always_chat)
        begun.append(time.monotonic())
        await middleware({"type": "lifespan"}, None, None)  # type: ignore[arg-type]
        await request(middleware)

    begun: list[float] = []
    started: list[float] = []
    loop = watch(serve())
    assert 0.5 < started[0] - begun[0] < 10
    assert started[1] - started[0] < 0.5
    assert loop.longest_wait < 0.5


def test_a_plain_function_on_the_event_loop_does_not_wait(hanging: DevServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A function that cannot wait without blocking the event loop gets the default at once."""
    monkeypatch.setenv("LDAI_START_WAIT", "10")

    @track_ai(config_key="chat")
    def handler() -> bool:
        return bool(current_run().config.enabled)

    async def serve() -> None:
        assert not handler()

    assert watch(serve()).longest_wait < 3


def test_threads_wait_for_ai_configs(hanging: DevServer) -> None:
    """Where LaunchDarkly answers within the limit, the first requests get its AI Config, on every thread."""
    hanging.clear()
    hanging.inject("/all", delay=0.3)

    @track_ai(config_key="chat")
    def handler() -> bool:
        return bool(current_run().config.enabled)

    async def serve() -> None:
        assert all(await asyncio.gather(*(asyncio.to_thread(handler) for _ in range(8))))

    watch(serve())
