"""What is decorated, followed or watched by one run already is to the next what it was to the first."""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from ldai_integrations import RunRecord, Tracking, track_ai

Decorator = Callable[[Any], Any]


@pytest.fixture(params=["chat", "summary"])
def twice(request: pytest.FixtureRequest, tracking: Tracking) -> Decorator:
    """Decorate with one AI Config, and with the same or another one above it."""

    def decorate(func: Any) -> Any:
        inner = track_ai(config_key="chat", tracking=tracking)(func)
        return track_ai(config_key=request.param, tracking=tracking)(inner)

    return decorate


async def greet(greeting: str, request: Request) -> PlainTextResponse:
    """Answer with a greeting."""
    return PlainTextResponse(f"{greeting} {request.query_params['name']}")


class Assistant:
    """A callable object."""

    async def __call__(self, request: Request) -> PlainTextResponse:
        """Answer."""
        return await greet("Hello", request)


def words() -> Iterator[str]:
    """Yield an answer."""
    yield "Hello"


async def awords() -> AsyncIterator[str]:
    """Yield an answer."""
    yield "Hello"


def test_a_partial_stays_an_endpoint(twice: Decorator, records: list[RunRecord]) -> None:
    """Starlette takes a partial for a handler of requests, however often it is decorated."""
    tracked = twice(functools.partial(greet, "Hi"))

    assert isinstance(tracked, functools.partial)
    with TestClient(Starlette(routes=[Route("/", tracked)])) as client:
        assert client.get("/", params={"name": "Ada"}).text == "Hi Ada"
    assert {record.outcome for record in records} == {"success"}


def test_an_object_keeps_its_class(twice: Decorator) -> None:
    """Type, route name and kind are those of the object."""
    tracked = twice(Assistant())

    assert isinstance(tracked, Assistant)
    assert Route("/", tracked).name == "Assistant"
    assert inspect.iscoroutinefunction(tracked.__call__)


def test_generators_stay_generators(twice: Decorator, records: list[RunRecord]) -> None:
    """A generator that a function returns is one to whoever asks, and gives every item."""
    steps, asteps = twice(lambda: words())(), twice(lambda: awords())()

    async def collected() -> list[str]:
        return [item async for item in asteps]

    assert inspect.isgenerator(steps)
    assert inspect.isasyncgen(asteps)
    assert list(steps) == asyncio.run(collected()) == ["Hello"]
    assert {record.outcome for record in records} == {"success"}


class Stream:
    """What a provider's client returns for a streamed answer."""

    def __init__(self) -> None:
        self._steps = words()

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        return next(self._steps)


def test_a_provider_stream_keeps_its_class(twice: Decorator, records: list[RunRecord]) -> None:
    """A provider's stream is an instance of the provider's class to whoever asks, and gives every item."""
    stream = twice(lambda: Stream())()

    assert isinstance(stream, Stream)
    assert list(stream) == ["Hello"]
    assert {record.outcome for record in records} == {"success"}
