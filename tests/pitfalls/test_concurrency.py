"""Pitfalls 38, 42 and 45: nobody sees another's run, whatever runs at once."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextvars
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import anyio
import flask
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from ldai_integrations import Run, RunRecord, Tracking, current_run, track_ai
from ldai_integrations.asgi import ASGITrackingMiddleware
from ldai_integrations.flask import AITracking
from ldai_integrations.starlette import TrackingMiddleware
from ldai_integrations.typing import Receive, Scope, Send

from ..conftest import Decorate, always_chat
from ..integrations.asgi_calls import acall, http_scope
from ..integrations.test_wsgi import consume, environ, start_response

_REQUESTS = 250


def test_an_executor_with_a_copy_of_the_context(track: Decorate, records: list[RunRecord]) -> None:
    """Threads have runs of their own; one that is given a copy of the context sees the run it was copied in.

    The standard library's ``contextvars.copy_context`` is all it takes, one copy for each task.
    """
    barrier = threading.Barrier(8)

    @track
    def ask() -> str:
        mine = current_run()
        barrier.wait(10)
        assert current_run() is mine
        with concurrent.futures.ThreadPoolExecutor(2) as executor:
            copies = [contextvars.copy_context() for _ in range(4)]
            assert {executor.submit(copy.run, current_run).result() for copy in copies} == {mine}
            assert executor.submit(current_run).result().config_key == "(no run)"
        return mine.id

    with concurrent.futures.ThreadPoolExecutor(8) as executor:
        ids = list(executor.map(lambda _: ask(), range(64)))

    assert len(set(ids)) == 64
    assert len(records) == 64


def test_tasks_of_a_group_share_their_run(track: Decorate, records: list[RunRecord]) -> None:
    """Tasks and threads that a handler starts with anyio or ``asyncio.to_thread`` are in its run."""

    @track
    async def ask(run: Run) -> None:
        seen: list[Run] = []

        async def child() -> None:
            await anyio.sleep(0)
            seen.append(current_run())
            seen.append(await anyio.to_thread.run_sync(current_run))
            seen.append(await asyncio.to_thread(current_run))
            current_run().add_usage(output_tokens=1)

        async with anyio.create_task_group() as group:
            for _ in range(10):
                group.start_soon(child)
        assert seen == [run] * 30

    async def together() -> None:
        async with anyio.create_task_group() as group:
            for _ in range(20):
                group.start_soon(ask)

    asyncio.run(together())

    assert [record.usage and record.usage.output_tokens for record in records] == [10] * 20


def test_one_block_entered_by_many_at_once(tracking: Tracking, records: list[RunRecord]) -> None:
    """A ``track_ai`` kept as an object holds no state of a run: tasks and threads may be in it together."""
    block = track_ai(config_key="chat", tracking=tracking)

    async def enter(number: int) -> str:
        async with block as run:
            await asyncio.sleep(0.001 * (number % 3))
            assert current_run() is run
            return run.id

    async def together() -> list[str]:
        return await asyncio.gather(*(enter(number) for number in range(50)))

    ids = asyncio.run(together())

    assert len(set(ids)) == 50
    assert sorted(ids) == sorted(record.run_id for record in records)


def test_tasks_never_see_each_others_run(track: Decorate, records: list[RunRecord]) -> None:
    """Interleaved tasks, each with its own run throughout."""

    @track
    async def ask() -> str:
        mine = current_run()
        for _ in range(3):
            await asyncio.sleep(0)
            assert current_run() is mine
        return mine.id

    async def together() -> list[Any]:
        return await asyncio.gather(*(ask() for _ in range(_REQUESTS)))

    assert len(set(asyncio.run(together()))) == len(records) == _REQUESTS


async def endpoint(request: Request) -> Response:
    """Tell which run it is in, before and after others had their turn."""
    before = current_run().id
    await asyncio.sleep(0)
    return PlainTextResponse(f"{before} {current_run().id}")


async def seen_by_requests(app: Any) -> tuple[int, int]:
    """Send interleaved requests; return how many runs they saw, and in how many responses there were two."""
    answers = await asyncio.gather(*(acall(app, http_scope()) for _ in range(_REQUESTS)))
    pairs = [messages[1]["body"].decode().split() for messages in answers]
    return len({run_id for pair in pairs for run_id in pair}), sum(first != second for first, second in pairs)


class OnTheInstance:
    """A planted mistake: a middleware that keeps the run of a request where the next request puts its own."""

    run: Run

    def __init__(self, tracking: Tracking) -> None:
        self.tracking = tracking

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer as :func:`endpoint` does, with what the instance says."""
        async with track_ai(config_key="chat", tracking=self.tracking) as self.run:
            before = self.run.id
            await asyncio.sleep(0)
            await PlainTextResponse(f"{before} {self.run.id}")(scope, receive, send)


def test_requests_never_see_each_others_run(tracking: Tracking, records: list[RunRecord]) -> None:
    """Interleaved requests see a run each, and the check sees a middleware that keeps state on itself."""
    app = Starlette(routes=[Route("/", endpoint)])

    for integration in (ASGITrackingMiddleware, TrackingMiddleware):
        assert asyncio.run(seen_by_requests(integration(app, tracking, config_key=always_chat))) == (_REQUESTS, 0)
    assert len(records) == 2 * _REQUESTS
    assert asyncio.run(seen_by_requests(OnTheInstance(tracking)))[1] > 0


def test_requests_in_threads_never_see_each_others_run(tracking: Tracking, records: list[RunRecord]) -> None:
    """The same for the threads of a WSGI server."""
    app = flask.Flask(__name__)
    AITracking(app, tracking, config_key=always_chat)
    together = threading.Barrier(8)

    @app.get("/")
    def view() -> str:
        before = current_run().id
        together.wait(10)
        return f"{before} {current_run().id}"

    def ask(_number: int) -> list[bytes]:
        return consume(app.wsgi_app(environ(), start_response)).split()

    with concurrent.futures.ThreadPoolExecutor(8) as executor:
        pairs = list(executor.map(ask, range(160)))

    assert all(first == second for first, second in pairs)
    assert len({first for first, _ in pairs}) == len(records) == 160


def test_streams_never_see_each_others_runs(tracking: Tracking, records: list[RunRecord]) -> None:
    """Interleaved streams through a middleware and a decorator see the same two runs at each step."""

    @track_ai(config_key="chat")
    async def words() -> AsyncIterator[str]:
        for _ in range(3):
            yield current_run().id
            await asyncio.sleep(0)

    async def stream(request: Request) -> Response:
        async def lines() -> AsyncIterator[str]:
            async for word in words():
                yield f"{word} {current_run().id}\n"

        return StreamingResponse(lines())

    app = TrackingMiddleware(Starlette(routes=[Route("/", stream)]), tracking, config_key="summary")

    async def together() -> list[str]:
        answers = await asyncio.gather(*(acall(app, http_scope()) for _ in range(_REQUESTS)))
        return ["".join(message.get("body", b"").decode() for message in answer) for answer in answers]

    _seen_alone([text.splitlines() for text in asyncio.run(together())], records)


def test_streams_in_threads_never_see_each_others_runs(tracking: Tracking, records: list[RunRecord]) -> None:
    """The same for Flask's streams, of which eight threads take each step together."""
    app = flask.Flask(__name__)
    AITracking(app, tracking, config_key="summary")
    together = threading.Barrier(8)

    @track_ai(config_key="chat")
    def words() -> Iterator[str]:
        for _ in range(3):
            together.wait(10)
            yield current_run().id

    @app.get("/")
    def view() -> flask.Response:
        return flask.Response(f"{word} {current_run().id}\n" for word in words())

    def ask(_number: int) -> list[str]:
        return consume(app.wsgi_app(environ(), start_response)).decode().splitlines()

    with concurrent.futures.ThreadPoolExecutor(8) as executor:
        _seen_alone(list(executor.map(ask, range(160))), records)


def test_steps_on_threads_with_copies_of_the_context(track: Decorate, records: list[RunRecord]) -> None:
    """A stream whose steps are taken on threads, each in a copy of a context of its own, is in its one run."""

    @track
    def words() -> Iterator[str]:
        for _ in range(5):
            yield current_run().id

    def rest(stream: Iterator[str]) -> list[str]:
        return list(stream)

    def outside() -> bool:
        return current_run().config_key == "(no run)"

    streams: list[Any] = [words() for _ in range(50)]
    with concurrent.futures.ThreadPoolExecutor(4) as executor:
        for _ in range(5):
            steps = [executor.submit(contextvars.copy_context().run, next, stream) for stream in streams]
            ids = [step.result() for step in steps]
            assert len(set(ids)) == 50
            assert executor.submit(outside).result()
        ends = [executor.submit(contextvars.copy_context().run, rest, stream) for stream in streams]
        assert [end.result() for end in ends] == [[]] * 50

    assert sorted(ids) == sorted(record.run_id for record in records)


def _seen_alone(answers: list[list[str]], records: list[RunRecord]) -> None:
    """Check that each answer, of three lines, saw two runs of its own, and nothing of the others'."""
    seen = [set(lines) for lines in answers]
    runs = [run for lines in seen for line in lines for run in line.split()]
    assert {len(lines) for lines in answers} == {3}
    assert {len(lines) for lines in seen} == {1}
    assert len(runs) == len(set(runs)) == 2 * len(answers)
    assert sorted(runs) == sorted(record.run_id for record in records)


@pytest.mark.timeout(200)
def test_greenlets_never_see_each_others_run() -> None:
    """Under gevent's patches, interleaved greenlets have a run each, decorated and below a middleware.

    With both of these each has two runs, and sees the same two at each turn.
    """
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "tests.pitfalls.greenlets"],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )

    told = "decorated 250 250 0\nmiddleware 250 250 0\nboth 250 500 0\n"
    assert (done.returncode, done.stdout) == (0, told), done.stderr
