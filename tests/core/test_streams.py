"""Streams that are followed: how chunks wait to be read, and how steps pass through."""

from __future__ import annotations

import asyncio
import gc
import itertools
import json
import time
import weakref
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from werkzeug import Response

from ldai_integrations import Run, RunRecord, Tracking, current_run, track_ai
from ldai_integrations.records import Usage
from ldai_integrations.testing import OfflineLaunchDarkly, ai_config
from ldai_integrations.usage import count_tokens

from ..binding import in_run
from ..conftest import Clock, Decorate
from ..waiting import eventually

CHUNKS: dict[str, list[Any]] = {
    "text": ["a", *(str(number) + " " for number in range(200)), "z"],
    "bytes": [text.encode() for text in ("a", "ü", "日本", *["z "] * 200)],
    "a character in two chunks": [b"a", "日".encode()[:1], "日".encode()[1:], b"z"],
    "both by turns": ["a", b"b", "c", b"d", "e"],
    "long ones between short ones": ["a", "b" * 5_000, "c", "d" * 5_000, "e"],
    "an array": ["a", bytearray(b"b"), "c", memoryview(b"d"), "e"],
}


def output_tokens(records: list[RunRecord]) -> int | None:
    """Return the output tokens of the last run."""
    usage = records[-1].usage
    return usage.output_tokens if usage is not None else None


@pytest.mark.parametrize("kind", CHUNKS)
def test_all_chunks_are_counted_in_order(track: Decorate, records: list[RunRecord], kind: str) -> None:
    """The tokens of a stream are those of its whole text."""
    chunks = CHUNKS[kind]
    whole = b"".join(chunk.encode() if isinstance(chunk, str) else bytes(chunk) for chunk in chunks).decode()

    assert list(track(lambda: iter(chunks))()) == chunks
    assert output_tokens(records) == count_tokens(whole)


def test_the_first_token_on_a_busy_machine(
    track: Decorate, records: list[RunRecord], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first token of a stream that arrives in one piece is seen, although other threads take the processor."""
    chunk = {"id": "c", "object": "chat.completion.chunk", "model": "m", "choices": [{"index": 0, "delta": {}}]}
    texts = ({**chunk, "choices": [{"index": 0, "delta": {"content": text}}]} for text in ("", "Hello", " there"))
    body = b"".join(b"data: %b\n\n" % json.dumps({**text, "padding": "." * 500}).encode() for text in texts)
    monkeypatch.setattr(time, "perf_counter", itertools.count().__next__)

    @track
    def handler(run: Run) -> None:
        for _ in run.observe(iter([body])):
            pass

    handler()
    assert records[0].time_to_first_token_ms is not None


def test_what_may_change_is_read_at_once(track: Decorate, records: list[RunRecord]) -> None:
    """A reused buffer and an emptied dict are counted with their content at the time they passed."""

    @track
    def buffers() -> Iterator[bytearray]:
        buffer = bytearray(4)
        for word in ("one ", "two ", "six "):
            buffer[:] = word.encode()
            yield buffer

    @track
    def events() -> Iterator[dict[str, Any]]:
        event: dict[str, Any] = {}
        for word in ("one ", "two ", "six "):
            event.update(object="chat.completion.chunk", model="m", id="c", choices=[{"delta": {"content": word}}])
            yield event
            event.clear()

    for stream in (buffers, events):
        for _ in stream():
            pass
        assert output_tokens(records) == count_tokens("one two six ")


@pytest.mark.parametrize("kind", ["generator", "async generator"])
def test_all_of_a_decorated_stream_counts(track: Decorate, records: list[RunRecord], clock: Clock, kind: str) -> None:
    """The first chunk stops the time to the first token, and the last chunk is counted and timed as well."""
    words = [f"word{number} " for number in range(150)]

    def steps() -> Iterator[str]:
        for word in words:
            clock.advance(10)
            yield word

    async def asteps() -> AsyncIterator[str]:
        for word in steps():
            yield word

    if kind == "generator":
        stream = track(steps)()
        for _ in words:
            next(stream)
        clock.advance(9_000)
        stream.close()
    else:
        stream = track(asteps)()
        for _ in words:
            stepped(stream.__anext__())
        clock.advance(9_000)
        stepped(stream.aclose())

    assert eventually(lambda: bool(records))
    record = records[0]
    assert record.usage is not None
    assert record.usage.output_tokens == count_tokens("".join(words))
    assert (record.outcome, record.time_to_first_token_ms, record.duration_ms) == ("cancelled", 10, 1_500)


def stepped(awaitable: Any) -> Any:
    """Take a step that waits for nothing, without an event loop."""
    with pytest.raises(StopIteration) as stopped:
        awaitable.__await__().send(None)
    return stopped.value.value


@pytest.mark.parametrize("returned", [True, False])
def test_an_async_generator_that_no_loop_closes(track: Decorate, records: list[RunRecord], returned: bool) -> None:
    """The run of a dropped generator ends, even if no event loop closes the generator."""

    async def words() -> AsyncIterator[str]:
        yield current_run().config_key

    stream = track(lambda: words())() if returned else track(words)()
    assert stepped(stream.__anext__()) == "chat"
    del stream
    gc.collect()

    assert eventually(lambda: [record.outcome for record in records] == ["cancelled"])
    assert not in_run()


@pytest.mark.parametrize("begin", ["close", "throw", "drop"])
def test_a_returned_generator_that_nobody_begins(track: Decorate, records: list[RunRecord], begin: str) -> None:
    """A generator that nobody starts ends its run and is closed as without the decorator."""

    def words() -> Iterator[str]:
        yield "never"

    inner = words()
    stream = track(lambda: inner)()
    if begin == "close":
        stream.close()
    elif begin == "throw":
        with pytest.raises(KeyError):
            stream.throw(KeyError("it"))
    del stream

    outcomes = ["error" if begin == "throw" else "cancelled"]
    assert eventually(lambda: [record.outcome for record in records] == outcomes)
    assert begin == "drop" or list(inner) == []


def test_what_is_raised_knows_nothing_of_what_was_thrown(track: Decorate) -> None:
    """A raised exception has the same ``__context__`` as without the decorator."""

    def words() -> Any:
        try:
            yield "one"
        except KeyError:
            pass
        raise ValueError("of its own")

    stream: Any = track(lambda: words())()
    next(stream)
    with pytest.raises(ValueError, match="of its own") as raised:
        stream.throw(KeyError("dealt with"))

    assert raised.value.__context__ is None


class Ends(Iterator[str]):
    """The body of a response: an iterator that can be closed, and nothing can be thrown into it."""

    def __init__(self, *, broken: bool) -> None:
        self.closed = 0
        self._broken = broken

    def __next__(self) -> str:
        return "word"

    def close(self) -> None:
        """Hear that nobody reads on."""
        self.closed += 1
        if self._broken:
            raise OSError("cannot be closed")


@pytest.mark.parametrize(("broken", "outcome"), [(False, "cancelled"), (True, "error")])
def test_a_body_is_closed(track: Decorate, records: list[RunRecord], broken: bool, outcome: str) -> None:
    """An iterable body is closed once, in its run, and its exceptions are raised unchanged."""
    body = Ends(broken=broken)

    stream: Any = track(lambda: Response(body))().response
    assert next(stream) == "word"
    if broken:
        with pytest.raises(OSError, match="cannot be closed"):
            stream.close()
    else:
        stream.close()
    stream.close()

    assert body.closed == 1
    assert [record.outcome for record in records] == [outcome]


class ClosedIterator(Iterator[str]):
    """An iterator that counts how often it is closed."""

    def __init__(self) -> None:
        self._items = iter(["one"])
        self.closed = 0

    def __next__(self) -> str:
        """Give the next item."""
        return next(self._items)

    def close(self) -> None:
        """Count it."""
        self.closed += 1


def test_an_iterator_is_closed_after_its_end(track: Decorate) -> None:
    """An iterator that a framework closes after the last item is closed once; it may hold a file."""
    inner = ClosedIterator()
    stream = track(lambda: Response(inner))().response

    assert list(stream) == ["one"]
    stream.close()
    stream.close()
    assert inner.closed == 1


@pytest.mark.parametrize("kind", ["decorated", "returned"])
def test_the_clean_up_of_a_generator_belongs_to_its_run(track: Decorate, records: list[RunRecord], kind: str) -> None:
    """A generator that is closed early may report usage in its ``finally``, however long that takes."""

    def words() -> Iterator[str]:
        run = current_run()
        try:
            yield "one"
        finally:
            time.sleep(0.05)  # longer than another thread needs to report a run that has ended
            run.add_usage(input_tokens=70_001, output_tokens=9_007)

    stream: Any = track(words)() if kind == "decorated" else track(lambda: words())()
    next(stream)
    stream.close()

    assert eventually(lambda: bool(records))
    assert records[0].outcome == "cancelled"
    assert records[0].usage == Usage(70_001, 9_007, 79_008)


def test_a_stream_that_is_closed_early_leaves_no_garbage(tracking: Tracking) -> None:
    """The run of a stream that is closed early is freed without the garbage collector."""
    runs = []

    @track_ai(config_key="chat", tracking=tracking)
    def words() -> Iterator[str]:
        runs.append(weakref.ref(current_run()))
        yield "one"

    gc.disable()
    try:
        for make in (words, track_ai(config_key="chat", tracking=tracking)(lambda: words())):
            stream: Any = make()
            next(stream)
            stream.close()
        del stream, make
        tracking.flush()
        assert [reference() for reference in runs] == [None] * 2
    finally:
        gc.enable()


async def _later(_question: str) -> str:
    return "off"


def _iterate(_question: str) -> Iterator[str]:
    yield from ("o", "ff")


async def _aiterate(_question: str) -> AsyncIterator[str]:
    yield "o"
    yield "ff"


@pytest.mark.parametrize(
    ("on_disabled", "items"),
    [(lambda _question: "off", ["off"]), (lambda _question: ["off"], [["off"]]), (_iterate, ["o", "ff"])],
    ids=["text", "list", "generator"],
)
@pytest.mark.parametrize("is_async", [False, True])
def test_what_takes_the_place_of_a_generator(on_disabled: Any, items: list[Any], is_async: bool) -> None:
    """``on_disabled`` of a generator returns an iterator, or a value that is the only item."""

    def words(_question: str) -> Iterator[str]:
        yield "on"

    async def awords(_question: str) -> AsyncIterator[str]:
        yield "on"

    async def collect(stream: AsyncIterator[Any]) -> list[Any]:
        return [item async for item in stream]

    with OfflineLaunchDarkly({"chat": ai_config(enabled=False)}):
        track = track_ai(config_key="chat", on_disabled=on_disabled)
        stream: Any = track(awords if is_async else words)("open?")
        assert (asyncio.run(collect(stream)) if is_async else list(stream)) == items


@pytest.mark.parametrize(("on_disabled", "items"), [(_later, ["off"]), (_aiterate, ["o", "ff"])])
def test_what_takes_the_place_of_an_asynchronous_generator(on_disabled: Any, items: list[str]) -> None:
    """``on_disabled`` of an async generator may be a coroutine function or an async generator itself."""

    @track_ai(config_key="chat", on_disabled=on_disabled)
    async def words(_question: str) -> AsyncIterator[str]:
        yield "on"

    async def collect() -> list[str]:
        return [item async for item in words("open?")]

    with OfflineLaunchDarkly({"chat": ai_config(enabled=False)}):
        assert asyncio.run(collect()) == items
