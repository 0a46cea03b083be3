"""A framework that looks at a decorated object before it calls it sees the object that it was."""

from __future__ import annotations

import copy
import functools
import inspect
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from ldai_integrations import RunRecord, Tracking, current_run, track_ai


class Assistant:
    """A callable object."""

    greeting = "Hello"

    def __call__(self, request: Any) -> PlainTextResponse:
        """Answer."""
        return PlainTextResponse(f"{self.greeting} {current_run().config_key}")


async def answer(greeting: str, request: Request) -> PlainTextResponse:
    """Answer with a greeting."""
    return PlainTextResponse(f"{greeting} {current_run().config_key}")


def test_an_asgi_application_stays_one(tracking: Tracking, records: list[RunRecord]) -> None:
    """Starlette takes a function for a handler of requests, and any other object for an ASGI application."""
    tracked = track_ai(config_key="chat", tracking=tracking)(PlainTextResponse("Hello"))

    with TestClient(Starlette(routes=[Route("/", tracked)])) as client:
        assert client.get("/").text == "Hello"
    assert [record.outcome for record in records] == ["success"]


def test_a_partial_stays_one(tracking: Tracking, records: list[RunRecord]) -> None:
    """Frameworks look for the coroutine function inside a partial."""
    tracked = track_ai(config_key="chat", tracking=tracking)(functools.partial(answer, "Hi"))

    assert isinstance(tracked, functools.partial)
    assert (tracked.func, tracked.args, tracked.keywords) == (answer, ("Hi",), {})
    with TestClient(Starlette(routes=[Route("/", tracked)])) as client:
        assert client.get("/").text == "Hi chat"
    assert [record.outcome for record in records] == ["success"]


@pytest.mark.parametrize("handler", [Assistant(), functools.partial(answer, "Hi")])
def test_what_inspect_says_is_kept(tracking: Tracking, handler: Any) -> None:
    """Type, name of the route, signature, text and kind are those of the object."""
    tracked = track_ai(config_key="chat", tracking=tracking)(handler)

    assert isinstance(tracked, type(handler))
    assert Route("/", tracked).name == Route("/", handler).name
    assert repr(tracked) == repr(handler)
    assert list(inspect.signature(tracked).parameters) == list(inspect.signature(handler).parameters)
    for question in (inspect.isroutine, inspect.isfunction, inspect.iscoroutinefunction, inspect.isgeneratorfunction):
        assert question(tracked) == question(handler)


def test_an_async_call_is_found(tracking: Tracking) -> None:
    """Frameworks look at ``__call__`` to learn that an object must be awaited."""
    tracked = track_ai(config_key="chat", tracking=tracking)(PlainTextResponse("Hello"))

    assert inspect.iscoroutinefunction(tracked.__call__)


def test_attributes_belong_to_the_object(tracking: Tracking) -> None:
    """What is set on the decorated object is seen in the object, and the other way round."""
    assistant = Assistant()
    tracked = track_ai(config_key="chat", tracking=tracking)(assistant)

    tracked.greeting = "Good morning"

    assert assistant.greeting == "Good morning"
    assert tracked(None).body == b"Good morning chat"
    assert not hasattr(tracked, "unknown")


def test_a_copy_is_tracked_too(tracking: Tracking, records: list[RunRecord]) -> None:
    """Frameworks copy handlers; a copy is as good as the first."""
    tracked = copy.copy(track_ai(config_key="chat", tracking=tracking)(Assistant()))

    assert tracked(None).body == b"Hello chat"
    assert len(records) == 1


def test_an_object_in_a_class_is_no_method(tracking: Tracking) -> None:
    """A callable object that a class holds is not given an instance, decorated or not."""

    class View:
        answer = track_ai(config_key="chat", tracking=tracking)(Assistant())

    assert View().answer("request").body == b"Hello chat"
