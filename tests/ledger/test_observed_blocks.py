"""Requests of a library such as aiohttp, whose body the application reads in an ``async with`` block."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Coroutine, Generator
from contextlib import suppress
from typing import Any, ClassVar

import pytest

from ldai_integrations import Run, track_ai
from ldai_integrations.records import RunRecord
from ldai_integrations.testing import OfflineLaunchDarkly, RecordingSink

from .provider import COMPLETION, IN, OUT

Handler = Callable[[Run], Coroutine[Any, Any, object]]
HEAD = {"id": "c1", "object": "chat.completion.chunk", "model": "m"}
LINES = [
    b": the answer follows",
    b"data: " + json.dumps({**HEAD, "choices": [{"index": 0, "delta": {"content": "Hello"}}]}).encode(),
    b"data: " + json.dumps({**HEAD, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}).encode(),
]


class BrokenError(Exception):
    """A body that has broken off. Its name does not say so."""


class Response:
    """A response of aiohttp: its body is JSON, or lines, and may break off."""

    status = 200
    headers: ClassVar[dict[str, str]] = {}

    def __init__(self, name: str, status: int, error: BaseException | None, lines: int) -> None:
        self.name, self.status, self.error = name, status, error
        self.content = self._read_lines(lines)

    def raise_for_status(self) -> None:
        """Raise an exception if the status is that of an error."""
        if self.status >= 400:
            raise BrokenError

    async def json(self) -> dict[str, Any]:
        """Return the body."""
        await asyncio.sleep(0)
        if self.error is not None:
            raise self.error
        if self.status >= 400:
            return {"error": {"message": "Slow down.", "type": "rate_limit_error", "code": "rate_limit_exceeded"}}
        choice = {"index": 0, "message": {"content": "Hi"}, "finish_reason": "stop"}
        usage = {"prompt_tokens": IN, "completion_tokens": OUT, "total_tokens": IN + OUT}
        return {"id": self.name, "object": "chat.completion", "model": "m", "choices": [choice], "usage": usage}

    async def _read_lines(self, count: int) -> AsyncIterator[bytes]:
        for line in LINES[:count]:
            yield line
        if self.error is not None:
            raise self.error


class Post:
    """A request, which may be awaited or entered."""

    def __init__(self, error: BaseException | None = None, *, name: str = "c1", status: int = 200, lines: int = 2):
        self.response = Response(name, status, error, lines)

    def __await__(self) -> Generator[Any, None, Response]:
        return self.__aenter__().__await__()

    async def __aenter__(self) -> Response:
        await asyncio.sleep(0)
        return self.response

    async def __aexit__(self, *exc_info: object) -> None:
        pass


async def ask(run: Run, post: Post) -> None:
    """Observe a request and its JSON."""
    async with run.observe(post) as response:
        run.observe(await response.json())


async def stream(run: Run, post: Post) -> None:
    """Observe a request and the lines of its body."""
    async with run.observe(post) as response:
        async for line in response.content:
            run.observe(line)


async def stream_content(run: Run, post: Post) -> None:
    """Observe a request and its whole stream."""
    async with run.observe(post) as response:
        async for _line in run.observe(response.content):
            pass


@pytest.fixture
def record_of(launchdarkly: OfflineLaunchDarkly, runs: RecordingSink) -> Callable[[Handler], RunRecord]:
    """Return a function that returns the record of a run in which a handler was called."""

    async def call(handler: Handler) -> None:
        with track_ai(config_key="chat") as run, suppress(BrokenError, asyncio.CancelledError):
            await handler(run)

    def record_of(handler: Handler) -> RunRecord:
        asyncio.run(call(handler))
        return runs.wait()[0]

    return record_of


def counts(record: RunRecord) -> tuple[object, ...]:
    """Return the outcome and the numbers of the calls."""
    return record.outcome, record.calls, record.failed_calls


def tokens(record: RunRecord) -> tuple[int | None, int | None, bool]:
    """Return the tokens, and whether they are a lower bound."""
    assert record.usage is not None
    return record.usage.input_tokens, record.usage.output_tokens, record.usage.lower_bound


def test_body(record_of: Any, caplog: pytest.LogCaptureFixture) -> None:
    """A request and its body are one call, about which there is nothing to say."""
    record = record_of(lambda run: ask(run, Post()))
    assert counts(record) == ("success", 1, 0)
    assert tokens(record) == (IN, OUT, False)
    assert not caplog.records


def test_awaitable_body(record_of: Any, caplog: pytest.LogCaptureFixture) -> None:
    """The body may be observed as an awaitable."""

    async def handler(run: Run) -> None:
        async with run.observe(Post()) as response:
            await run.observe(response.json())

    record = record_of(handler)
    assert counts(record) == ("success", 1, 0)
    assert not caplog.records


@pytest.mark.parametrize("read", [ask, stream, stream_content])
def test_broken_body(read: Callable[[Run, Post], Any], record_of: Any) -> None:
    """If the body breaks off, the call has failed, and the provider may bill it."""

    async def handler(run: Run) -> None:
        await ask(run, Post(name="c0"))
        await read(run, Post(BrokenError()))

    record = record_of(handler)
    assert counts(record) == ("error", 2, 1)
    assert tokens(record)[2]


def test_broken_awaitable_body(record_of: Any) -> None:
    """A body that was observed as an awaitable fails once."""

    async def handler(run: Run) -> None:
        async with run.observe(Post(BrokenError())) as response:
            await run.observe(response.json())

    assert counts(record_of(handler)) == ("error", 1, 1)


def test_lines_without_an_answer(record_of: Any) -> None:
    """A comment before the answer is no response."""

    async def handler(run: Run) -> None:
        await ask(run, Post(name="c0"))
        await stream(run, Post(BrokenError(), lines=1))

    record = record_of(handler)
    assert counts(record) == ("error", 2, 1)
    assert tokens(record) == (IN, OUT, True)


@pytest.mark.parametrize("is_inside", [False, True])
@pytest.mark.parametrize("lines", [0, 2])
def test_passed_exceptions(is_inside: bool, lines: int, record_of: Any) -> None:
    """An exception that the application passes as well counts once."""

    async def handler(run: Run) -> None:
        try:
            async with run.observe(Post(BrokenError(), lines=lines)) as response:
                try:
                    async for line in response.content:
                        run.observe(line)
                except BrokenError as exc:
                    if is_inside:
                        run.observe(exc)
                    raise
        except BrokenError as exc:
            run.observe(exc)

    assert counts(record_of(handler)) == ("error", 1, 1)


def test_exception_of_a_refusal(record_of: Any) -> None:
    """A refusal counts once if the application passes its exception as well."""

    async def handler(run: Run) -> None:
        try:
            async with run.observe(Post(status=429)) as response:
                response.raise_for_status()
        except BrokenError as exc:
            run.observe(exc)

    assert counts(record_of(handler)) == ("error", 1, 1)


def test_body_of_a_refusal(record_of: Any) -> None:
    """A refusal and the JSON that says why are one failed call, which is not billed."""
    record = record_of(lambda run: ask(run, Post(status=429)))
    assert counts(record) == ("error", 1, 1)
    assert record.usage is None


def test_exception_in_the_block_of_a_refusal(record_of: Any) -> None:
    """So are a refusal and an exception that the application passes inside the block."""

    async def handler(run: Run) -> None:
        async with run.observe(Post(status=429)) as response:
            try:
                response.raise_for_status()
            except BrokenError as exc:
                run.observe(exc)

    assert counts(record_of(handler)) == ("error", 1, 1)


@pytest.mark.parametrize("refused_first", [False, True])
def test_refusal_beside_an_answer(refused_first: bool, record_of: Any) -> None:
    """If a task has entered two requests, of which one was refused, each body belongs to its own."""
    good, refused = Post(name="c1"), Post(name="c2", status=429)

    async def handler(run: Run) -> None:
        posts = (refused, good) if refused_first else (good, refused)
        async with run.observe(posts[0]) as first, run.observe(posts[1]) as second:
            run.observe(await first.json())
            run.observe(await second.json())

    record = record_of(handler)
    assert counts(record)[1:] == (2, 1)
    assert tokens(record) == (IN, OUT, False)


def test_response_that_cannot_be_read(record_of: Any) -> None:
    """If a response does not give its status, the application gets the response nevertheless."""

    class Odd(Response):
        @property
        def status(self) -> int:
            raise RuntimeError("closed")

        @status.setter
        def status(self, status: int) -> None:
            pass

    async def handler(run: Run) -> None:
        post = Post()
        post.response = Odd("c1", 200, None, 2)
        async with run.observe(post) as response:
            assert response is post.response
            run.observe(COMPLETION)

    assert counts(record_of(handler)) == ("success", 1, 0)


def test_exception_after_the_body(record_of: Any) -> None:
    """An exception of the application after the answer is not one of the call."""

    async def handler(run: Run) -> None:
        async with run.observe(Post()) as response:
            run.observe(await response.json())
            raise BrokenError

    record = record_of(handler)
    assert counts(record) == ("success", 1, 0)
    assert tokens(record) == (IN, OUT, False)


def test_exception_after_the_stream(record_of: Any) -> None:
    """An exception of the application after the finish reason is not one of the call."""

    async def handler(run: Run) -> None:
        await stream(run, Post(BrokenError(), lines=3))

    assert counts(record_of(handler)) == ("success", 1, 0)


def test_exception_in_another_block(record_of: Any) -> None:
    """An exception does not end a stream that was left open before the block."""

    async def handler(run: Run) -> None:
        await stream(run, Post(name="c0"))
        async with run.observe(Post(name="c2")) as response:
            run.observe(await response.json())
            raise BrokenError

    assert counts(record_of(handler)) == ("success", 2, 0)


def test_unread_body(record_of: Any, caplog: pytest.LogCaptureFixture) -> None:
    """A request whose body nobody observes does not count, which the log says."""

    async def handler(run: Run) -> None:
        async with run.observe(Post(BrokenError())) as response:
            with suppress(BrokenError):
                run.observe(await response.json())

    assert record_of(handler).calls == 0
    assert "of type Response that is not in the format of any provider" in caplog.text


def test_requests_at_the_same_time(record_of: Any, caplog: pytest.LogCaptureFixture) -> None:
    """A body belongs to the request of its own task."""

    async def handler(run: Run) -> None:
        posts = (Post(BrokenError() if number == 1 else None, name=f"c{number}") for number in range(4))
        await asyncio.gather(*(ask(run, post) for post in posts), return_exceptions=True)

    record = record_of(handler)
    assert counts(record)[1:] == (4, 1)
    assert tokens(record) == (3 * IN, 3 * OUT, True)
    assert "not in the format" not in caplog.text


def test_requests_in_one_task(record_of: Any) -> None:
    """If a task has entered two requests, both bodies count, and a third one that breaks off."""

    async def handler(run: Run) -> None:
        async with run.observe(Post(name="c1")) as first, run.observe(Post(name="c2")) as second:
            run.observe(await first.json())
            run.observe(await second.json())
            await ask(run, Post(BrokenError(), name="c3"))

    record = record_of(handler)
    assert counts(record)[1:] == (3, 1)
    assert tokens(record) == (2 * IN, 2 * OUT, True)


def test_body_in_another_task(record_of: Any) -> None:
    """A body that another task observes counts once, although its block is left with an exception."""

    async def handler(run: Run) -> None:
        async with run.observe(Post()) as response:

            async def read() -> None:
                run.observe(await response.json())

            await asyncio.create_task(read())
            raise BrokenError

    record = record_of(handler)
    assert counts(record) == ("success", 1, 0)
    assert tokens(record) == (IN, OUT, False)


@pytest.mark.parametrize("read", [ask, stream, stream_content])
def test_cancelled_body(read: Callable[[Run, Post], Any], record_of: Any) -> None:
    """A handler that is cancelled while it reads the body has no failed call, and its tokens are a lower bound."""

    async def handler(run: Run) -> None:
        await ask(run, Post(name="c0"))
        try:
            await read(run, Post(asyncio.CancelledError()))
        except asyncio.CancelledError as exc:
            run.fail(exc)
            raise

    record = record_of(handler)
    assert counts(record) == ("cancelled", 2, 0)
    assert tokens(record)[2]


def test_timeout_of_the_application(record_of: Any) -> None:
    """If a timeout of the application cancels the request, its answer is missing."""

    async def handler(run: Run) -> None:
        with suppress(asyncio.CancelledError):
            await ask(run, Post(asyncio.CancelledError()))

    assert counts(record_of(handler)) == ("error", 1, 0)
