"""Pitfalls 1 to 14: streams and generators."""

from __future__ import annotations

import asyncio
import gc
import itertools
import threading
import tracemalloc
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from typing import Any, Protocol, cast

import anyio
import flask
import httpx
import openai
import pytest
from sse_starlette import EventSourceResponse
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from ldai_integrations import Run, RunRecord, Tracking, current_run, track_ai
from ldai_integrations.asgi import ASGITrackingMiddleware
from ldai_integrations.starlette import TrackingMiddleware

from ..binding import in_run
from ..conftest import Clock, Decorate, always_chat, complaints
from ..core.test_follow import sync_words_of, words_of
from ..integrations.asgi_calls import DISCONNECT, REQUEST, http_scope
from ..waiting import eventually


def endings(records: list[RunRecord]) -> list[tuple[str, int]]:
    """Return outcome and duration of each run."""
    return [(record.outcome, record.duration_ms) for record in records]


@pytest.mark.parametrize("leave", ["break", "close", "islice"])
def test_a_generator_left_early(track: Decorate, records: list[RunRecord], clock: Clock, leave: str) -> None:
    """The run ends once, with its last item and its partial usage, and the inner generator is closed."""
    closed = []

    @track
    def words() -> Iterator[str]:
        try:
            for _ in range(100):
                clock.advance(10)
                yield "word "
        finally:
            closed.append(True)

    steps: Any = words()
    if leave == "break":
        for _ in steps:
            break
    else:
        assert list(itertools.islice(steps, 1)) == ["word "]
    clock.advance(9_000)
    if leave == "close":
        steps.close()
        steps.close()
    del steps

    assert closed == [True]
    assert eventually(lambda: endings(records) == [("cancelled", 10)])
    assert records[0].usage is not None
    assert records[0].usage.output_tokens


def test_an_abandoned_async_generator(
    track: Decorate, records: list[RunRecord], clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    """The event loop closes it in another task: the run ended with its last item, and nobody complains."""

    @track
    async def words() -> AsyncIterator[str]:
        while True:
            clock.advance(10)
            yield "word "

    async def abandon() -> None:
        async for _ in words():
            break
        clock.advance(9_000)

    asyncio.run(abandon())

    assert endings(records) == [("cancelled", 10)]
    assert complaints(caplog) == []


@pytest.mark.parametrize("returned", [True, False])
def test_a_generator_finalised_in_another_thread(track: Decorate, records: list[RunRecord], returned: bool) -> None:
    """A generator that was stepped in one thread and is closed in another ends its run without noise."""

    def words() -> Iterator[str]:
        while True:
            yield current_run().config_key

    steps: Any = track(lambda: words())() if returned else track(words)()
    assert next(steps) == "chat"
    thread = threading.Thread(target=steps.close)
    thread.start()
    thread.join()

    assert eventually(lambda: [record.outcome for record in records] == ["cancelled"])
    assert not in_run()


@pytest.mark.parametrize("returned", [True, False])
def test_an_async_generator_finalised_in_another_task(
    track: Decorate, records: list[RunRecord], caplog: pytest.LogCaptureFixture, returned: bool
) -> None:
    """Neither does an async generator that one task steps and another closes, with a Context of its own."""

    async def words() -> AsyncIterator[str]:
        while True:
            yield current_run().config_key

    async def consume() -> None:
        steps: Any = track(lambda: words())() if returned else track(words)()
        assert await asyncio.create_task(steps.__anext__()) == "chat"
        assert await asyncio.create_task(steps.__anext__()) == "chat"
        await asyncio.create_task(steps.aclose())
        assert not in_run()

    asyncio.run(consume())

    assert eventually(lambda: [record.outcome for record in records] == ["cancelled"])
    assert complaints(caplog) == []


@pytest.mark.parametrize("returned", [True, False])
def test_an_async_generator_is_stepped_in_the_consumers_task(track: Decorate, returned: bool) -> None:
    """A cancel scope that is entered in the generator may be left in it: no step runs in a task of its own."""
    tasks = set()

    async def words() -> AsyncIterator[str]:
        with anyio.CancelScope():
            for _ in range(3):
                tasks.add(asyncio.current_task())
                yield "word"

    async def consume() -> None:
        steps: Any = track(lambda: words())() if returned else track(words)()
        assert [word async for word in steps] == ["word"] * 3
        assert tasks == {asyncio.current_task()}

    asyncio.run(consume())


def test_cancellation(track: Decorate, records: list[RunRecord], clock: Clock) -> None:
    """A cancelled task raises CancelledError as before; the run has its time and tokens, and neither verdict."""

    seen: list[asyncio.CancelledError] = []

    @track
    async def ask(run: Run) -> None:
        run.add_usage(input_tokens=3, output_tokens=1)
        clock.advance(50)
        await asyncio.sleep(60)

    async def server() -> None:
        try:
            await ask()
        except asyncio.CancelledError as exc:
            seen.append(exc)
            raise

    async def cancel() -> None:
        task = asyncio.ensure_future(server())
        await asyncio.sleep(0)
        task.cancel("by the test")
        with pytest.raises(asyncio.CancelledError):
            await task
        assert task.cancelled()

    asyncio.run(cancel())

    assert [exc.args for exc in seen] == [("by the test",)]
    assert endings(records) == [("cancelled", 50)]
    assert records[0].usage is not None
    assert records[0].usage.total_tokens == 4


@pytest.mark.parametrize("returned", [True, False])
def test_a_cleanup_that_awaits(track: Decorate, records: list[RunRecord], returned: bool) -> None:
    """The handler's own shielded cleanup runs to its end inside a cancelled scope, in its run."""
    cleaned = []

    async def words() -> AsyncIterator[str]:
        try:
            while True:
                yield "word"
                await anyio.sleep(60)
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.sleep(0.001)
                cleaned.append(current_run().config_key)

    async def consume() -> None:
        with anyio.move_on_after(0.05):
            async for _ in track(lambda: words())() if returned else track(words)():
                pass

    asyncio.run(consume())

    assert cleaned == ["chat"]
    assert eventually(lambda: [record.outcome for record in records] == ["cancelled"])


class Provider(httpx.AsyncByteStream):
    """Stream a model's answer without end; knows whether it was told to stop."""

    def __init__(self) -> None:
        self.closed = asyncio.Event()
        wire = httpx.AsyncClient(transport=httpx.MockTransport(self._answer))
        self.client = openai.AsyncOpenAI(api_key="none", base_url="http://model/v1", http_client=cast(Any, wire))

    async def _answer(self, request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, headers={"content-type": "text/event-stream"}, stream=self)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while True:
            yield b'data: {"object":"chat.completion.chunk","choices":[{"index":0,"delta":{"content":"word "}}]}\n\n'
            await asyncio.sleep(0)

    async def aclose(self) -> None:
        """Hear that nobody reads on."""
        self.closed.set()


async def leave_after_first_chunk(app: Any, scope: dict[str, Any]) -> None:
    """Act as a server of ASGI before or after 2.4 whose client leaves in mid-stream."""
    gone, asked = asyncio.Event(), False
    after_24 = scope["asgi"]["spec_version"] >= "2.4"

    async def receive() -> Any:
        nonlocal asked
        if not asked:
            asked = True
            return REQUEST
        await gone.wait()
        return DISCONNECT

    async def send(message: Any) -> None:
        if gone.is_set() and after_24:
            raise OSError("the client has gone")
        if message.get("body"):
            gone.set()

    with suppress(Exception):  # what a framework makes of a client that has gone
        await app(scope, receive, send)


@pytest.mark.parametrize("spec_version", ["2.3", "2.4"])
@pytest.mark.parametrize("integration", ["decorator", "middleware"])
def test_the_client_disconnects(
    tracking: Tracking, records: list[RunRecord], integration: str, spec_version: str
) -> None:
    """The run is cancelled and no error, and the provider's stream is closed, so that it makes no more tokens."""

    async def serve() -> None:
        provider = Provider()
        model = provider.client

        async def words() -> AsyncIterator[str]:
            stream = await model.chat.completions.create(model="gpt-4o-mini", messages=[], stream=True)
            async with current_run().observe(stream) as chunks:
                async for chunk in chunks:
                    yield chunk.choices[0].delta.content or ""

        async def endpoint(request: Request) -> Response:
            return StreamingResponse(words(), media_type="text/plain")

        if integration == "decorator":
            app: Any = Starlette(routes=[Route("/", track_ai(config_key="chat", tracking=tracking)(endpoint))])
        else:
            app = ASGITrackingMiddleware(Starlette(routes=[Route("/", endpoint)]), tracking, config_key=always_chat)
        await leave_after_first_chunk(app, http_scope(asgi={"version": "3.0", "spec_version": spec_version}))
        assert eventually(lambda: [record.outcome for record in records] == ["cancelled"])
        await asyncio.wait_for(provider.closed.wait(), 10)
        await model.close()

    asyncio.run(serve())

    assert len(records) == 1
    assert records[0].usage is not None
    assert records[0].usage.source == "estimate"


@pytest.mark.parametrize("spec_version", ["2.3", "2.4"])
@pytest.mark.parametrize("integration", ["decorator", "middleware"])
def test_the_client_leaves_before_the_first_chunk(
    tracking: Tracking, records: list[RunRecord], clock: Clock, integration: str, spec_version: str
) -> None:
    """A stream that nobody began has no ``finally`` that could run; its run ends all the same, cancelled."""
    begun = []

    async def words() -> AsyncIterator[str]:
        begun.append(True)
        yield "word"

    async def endpoint(request: Request) -> Response:
        clock.advance(30)
        return StreamingResponse(words())

    async def receive() -> Any:
        return DISCONNECT

    async def send(message: Any) -> None:
        if spec_version == "2.4":
            raise OSError("the client has gone")
        await asyncio.sleep(10)

    if integration == "decorator":
        app: Any = Starlette(routes=[Route("/", track_ai(config_key="chat", tracking=tracking)(endpoint))])
    else:
        app = ASGITrackingMiddleware(Starlette(routes=[Route("/", endpoint)]), tracking, config_key=always_chat)

    async def serve() -> None:
        with suppress(Exception):
            await app(http_scope(asgi={"version": "3.0", "spec_version": spec_version}), receive, send)
        clock.advance(9_000)
        if integration == "decorator":  # Starlette leaves the response to the garbage collector
            gc.collect()

    asyncio.run(serve())

    assert begun == []
    assert eventually(lambda: endings(records) == [("cancelled", 30)])


@pytest.mark.parametrize("way", ["returned", "observed"])
def test_a_providers_stream_keeps_its_protocol(tracking: Tracking, way: str) -> None:
    """Attributes, type and methods are the stream's own, and there are no others."""
    wire = httpx.Client(transport=httpx.MockTransport(lambda request: httpx.Response(200, text="data: [DONE]\n\n")))
    model = openai.OpenAI(api_key="none", base_url="http://model/v1", http_client=cast(Any, wire))
    track = track_ai(config_key="chat", tracking=tracking)

    def ask() -> Any:
        return model.chat.completions.create(model="gpt-4o-mini", messages=[], stream=True)

    with track as run, ask() as stream:
        kept = run.observe(stream) if way == "observed" else track_ai("summary", tracking=tracking)(lambda: stream)()

        assert kept is not stream
        assert isinstance(kept, openai.Stream)
        assert isinstance(kept.response, httpx.Response)  # for an observed stream, it is a stand-in as well
        assert kept.response == stream.response
        assert [name for name in dir(stream) if not hasattr(kept, name)] == []
        for absent in ("aclose", "__aiter__", "__anext__", "__aenter__", "parse"):
            assert not hasattr(kept, absent)
        assert type(iter(kept)) is type(iter(stream))
        with kept as entered:
            assert entered is kept
            assert list(entered) == []
        assert stream.response.is_closed


class EitherWayStream:
    """A response that is iterated either way, as one of httpx."""

    def __iter__(self) -> Iterator[str]:
        return iter(["one ", "two"])

    async def __aiter__(self) -> AsyncIterator[str]:
        for word in self:
            yield word


@pytest.mark.parametrize("way", ["for", "async for"])
def test_a_stream_for_both_worlds(track: Decorate, records: list[RunRecord], way: str) -> None:
    """It may still be iterated either way, and ends its run either way."""
    kept = track(lambda: EitherWayStream())()

    async def consume() -> list[str]:
        return [word async for word in kept]

    assert (list(kept) if way == "for" else asyncio.run(consume())) == ["one ", "two"]
    assert [record.outcome for record in records] == ["success"]


class ManagedStream:
    """A stream with a block of its own."""

    def __init__(self, *, suppresses: bool) -> None:
        self._suppresses = suppresses
        self.left: list[BaseException | None] = []

    def __iter__(self) -> Iterator[str]:
        return iter(["one ", "two"])

    def __enter__(self) -> ManagedStream:
        return self

    def __exit__(self, kind: Any, exc: BaseException | None, traceback: Any) -> bool:
        self.left.append(exc)
        return self._suppresses

    async def __aenter__(self) -> ManagedStream:
        return self

    async def __aexit__(self, kind: Any, exc: BaseException | None, traceback: Any) -> bool:
        return self.__exit__(kind, exc, traceback)


class AsyncManagedStream:
    """The same for ``async with``."""

    def __init__(self, stream: ManagedStream) -> None:
        self._stream = stream

    async def __aenter__(self) -> ManagedStream:
        return self._stream

    async def __aexit__(self, *exc_info: Any) -> bool:
        return self._stream.__exit__(*exc_info)


ERROR = ValueError("broken")


@pytest.mark.parametrize("kind", ["with", "async with"])
@pytest.mark.parametrize(
    ("raises", "suppresses", "outcome"),
    [(None, False, "cancelled"), (ERROR, True, "success"), (ERROR, False, "error")],
)
def test_leaving_the_block_of_a_stream(
    track: Decorate, records: list[RunRecord], raises: Exception | None, suppresses: bool, outcome: str, kind: str
) -> None:
    """It leaves the stream's own block and ends the run; an exception that the stream suppresses is no error."""
    inner = ManagedStream(suppresses=suppresses)

    def body(_entered: Any) -> None:
        if raises is not None:
            raise raises

    async def leave() -> None:
        async with track(lambda: AsyncManagedStream(inner))() as entered:
            body(entered)

    def leave_sync() -> None:
        with track(lambda: inner)() as entered:
            body(entered)

    with suppress(ValueError):
        asyncio.run(leave()) if kind == "async with" else leave_sync()

    assert inner.left == [raises]
    assert [record.outcome for record in records] == [outcome]


class _RawResponse(Protocol):
    """A raw response of openai."""

    def parse(self) -> Any:
        """Return the stream, or an awaitable of it."""


@pytest.mark.parametrize("way", ["returned", "observed"])
def test_a_stream_that_is_parsed_later(tracking: Tracking, records: list[RunRecord], way: str) -> None:
    """What a coroutine such as a raw response's ``parse`` gives is a stream only once it was awaited."""

    async def consume() -> None:
        model = Provider().client
        raw = model.chat.completions.with_streaming_response

        @track_ai(config_key="chat", tracking=tracking)
        def returned(response: _RawResponse) -> Any:
            return response.parse()

        @track_ai(config_key="chat", tracking=tracking)
        async def observed(response: _RawResponse) -> str:
            stream = await current_run().observe(response.parse())
            return str([chunk.choices[0].delta.content async for chunk in _first(stream)])

        async with raw.create(model="gpt-4o-mini", messages=[], stream=True) as response:
            if way == "observed":
                assert await observed(response) == "['word ']"
            else:
                stream = await returned(response)
                assert isinstance(stream, openai.AsyncStream)
                assert records == []
                assert [chunk.choices[0].delta.content async for chunk in _first(stream)] == ["word "]
                await stream.close()
        await model.close()

    asyncio.run(consume())

    assert [record.outcome for record in records] == ["cancelled" if way == "returned" else "success"]
    assert records[0].time_to_first_token_ms is not None or way == "observed"
    assert records[0].usage is not None
    assert records[0].usage.output_tokens


async def _first(stream: Any) -> AsyncIterator[Any]:
    async for item in stream:
        yield item
        return


@pytest.mark.parametrize("returned", [True, False])
def test_send_and_throw_reach_the_generator(track: Decorate, records: list[RunRecord], returned: bool) -> None:
    """``send``, ``throw`` and the value of ``return`` work as on the bare generator."""

    def echo() -> Any:
        received = yield "ready"
        try:
            yield received.upper()
        except KeyError as exc:
            yield f"caught {exc.args[0]}"
        return "done"

    steps: Any = track(lambda: echo())() if returned else track(echo)()
    assert next(steps) == "ready"
    assert steps.send("hello") == "HELLO"
    assert steps.throw(KeyError("it")) == "caught it"
    with pytest.raises(StopIteration) as stopped:
        next(steps)

    assert stopped.value.value == "done"
    assert [record.outcome for record in records] == ["success"]


@pytest.mark.parametrize("returned", [True, False])
def test_asend_and_athrow_reach_the_async_generator(track: Decorate, records: list[RunRecord], returned: bool) -> None:
    """``asend``, ``athrow`` and ``aclose`` work as on the bare async generator, and all of it happens in the run."""
    closed = []

    async def echo() -> Any:
        try:
            received = yield "ready"
            try:
                yield received.upper()
            except KeyError as exc:
                yield f"caught {exc.args[0]}"
            yield "never asked for"
        finally:
            closed.append(current_run().config_key)

    async def consume() -> list[str]:
        steps: Any = track(lambda: echo())() if returned else track(echo)()
        seen = [await steps.__anext__(), await steps.asend("hello"), await steps.athrow(KeyError("it"))]
        await steps.aclose()
        return seen

    assert asyncio.run(consume()) == ["ready", "HELLO", "caught it"]
    assert closed == ["chat"]
    assert eventually(lambda: [record.outcome for record in records] == ["cancelled"])


CHUNKS: dict[str, Callable[[int], Any]] = {
    "text": lambda number: f"word {number:06} ".ljust(200, "x"),
    "events": lambda number: {
        "object": "chat.completion.chunk",
        "choices": [{"index": 0, "delta": {"content": f"word {number:06} ".ljust(200, "x")}}],
    },
}


@pytest.mark.parametrize("kind", CHUNKS)
def test_what_is_kept_of_a_long_stream_is_bounded(
    track: Decorate, tracking: Tracking, records: list[RunRecord], kind: str
) -> None:
    """Four megabytes of output are counted; less than a third is held meanwhile, and nothing when the run is over."""
    chunk = CHUNKS[kind]

    @track
    def words() -> Iterator[Any]:
        for number in range(20_000):
            yield chunk(number)

    steps: Any = words()
    for _ in itertools.islice(steps, 1_000):
        pass
    tracemalloc.start()
    try:
        for _ in steps:
            pass
        _, most = tracemalloc.get_traced_memory()
        tracking.flush(30)
        gc.collect()
        left, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert most < 1_200_000
    assert left < 200_000  # a twentieth: what other threads of the process allocate is counted as well
    assert records[0].usage is not None
    assert records[0].usage.output_tokens is not None
    assert records[0].usage.output_tokens > 100_000


class OwnStreamingResponse(StreamingResponse):
    """A subclass under another name."""


async def _events(clock: Clock) -> AsyncIterator[dict[str, str]]:
    async for word in words_of(clock):
        yield {"data": word}


STREAMED: dict[str, Callable[[Clock], Response]] = {
    "a streaming response": lambda clock: StreamingResponse(words_of(clock)),
    "a subclass of it": lambda clock: OwnStreamingResponse(words_of(clock)),
    "sse-starlette's": lambda clock: EventSourceResponse(_events(clock)),
}


@pytest.mark.parametrize("kind", STREAMED)
def test_a_streamed_response_is_timed_to_its_last_chunk(
    track: Decorate, records: list[RunRecord], clock: Clock, kind: str
) -> None:
    """Whatever the class of the response is called; those of other frameworks stand in ``tests/upstream_found``."""

    @track
    async def endpoint(request: Request) -> Response:
        return STREAMED[kind](clock)

    answer = TestClient(Starlette(routes=[Route("/", endpoint)])).get("/")

    assert "there" in answer.text
    assert endings(records) == [("success", 20)]
    assert records[0].time_to_first_token_ms == 10


FLASK_BODIES: dict[str, Callable[[Clock], Any]] = {
    "a response": lambda clock: flask.Response(sync_words_of(clock)),
    "a generator": sync_words_of,
    "with the request's context": lambda clock: flask.Response(flask.stream_with_context(sync_words_of(clock))),
}


@pytest.mark.parametrize("kind", FLASK_BODIES)
def test_a_streamed_flask_view_is_timed_to_its_last_chunk(
    track: Decorate, records: list[RunRecord], clock: Clock, kind: str
) -> None:
    """The same for everything that a Flask view may return to stream."""
    app = flask.Flask(__name__)
    app.add_url_rule("/", view_func=track(lambda: FLASK_BODIES[kind](clock)), endpoint="view")

    assert app.test_client().get("/").text == "Hello there"
    assert endings(records) == [("success", 20)]
    assert records[0].time_to_first_token_ms == 10


@pytest.mark.parametrize("integration", ["decorator", "middleware"])
def test_a_sync_generator_in_a_thread_pool(
    tracking: Tracking, records: list[RunRecord], clock: Clock, integration: str
) -> None:
    """Each step is in a thread and a Context of its own; the run is bound in every one."""
    seen = []

    def words() -> Iterator[str]:
        for word in ("Hello ", "there"):
            seen.append((current_run().config_key, threading.current_thread() is threading.main_thread()))
            clock.advance(10)
            yield word

    async def endpoint(request: Request) -> Response:
        return StreamingResponse(words(), media_type="text/plain")

    if integration == "decorator":
        app: Any = Starlette(routes=[Route("/", track_ai(config_key="chat", tracking=tracking)(endpoint))])
    else:
        app = Starlette(routes=[Route("/", endpoint)])
        app.add_middleware(TrackingMiddleware, tracking=tracking, config_key=always_chat)

    assert TestClient(app).get("/").text == "Hello there"
    assert seen == [("chat", False)] * 2
    assert endings(records) == [("success", 20)]
