"""A framework that looks at a decorated object before it calls it sees the object that it was."""

from __future__ import annotations

import copy
import functools
import inspect
from collections.abc import Callable
from typing import Any, get_type_hints

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from ldai_integrations import Run, RunRecord, Tracking, current_run, track_ai

_REQUEST = Request({"type": "http"})


class Assistant:
    """A callable object."""

    greeting = "Hello"

    def __call__(self, request: Request) -> PlainTextResponse:
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
    for question in (inspect.isfunction, inspect.iscoroutinefunction, inspect.isgeneratorfunction):
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
    assert tracked(_REQUEST).body == b"Good morning chat"
    assert not hasattr(tracked, "unknown")


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy])
def test_a_copy_is_a_copy_of_the_object(
    tracking: Tracking, records: list[RunRecord], copied: Callable[[Any], Any]
) -> None:
    """Litestar copies handlers; a copy is tracked and calls what it is a copy of."""
    first = track_ai(config_key="chat", tracking=tracking)(Assistant())
    second = copied(first)

    second.greeting = "Good morning"

    assert (first(_REQUEST).body, second(_REQUEST).body) == (b"Hello chat", b"Good morning chat")
    assert len(records) == 2


class Asked:
    """A callable object that wants its run."""

    def __call__(self, question: str, run: Run) -> str:
        """Answer."""
        return f"{question} {run.config_key}"


def test_type_hints_are_found(tracking: Tracking) -> None:
    """Hints that were written as text are evaluated where they were written, and the run is filled in and hidden."""
    tracked = track_ai(config_key="chat", tracking=tracking)(Asked())

    assert get_type_hints(tracked) == {"question": str, "return": str}
    assert list(inspect.signature(tracked).parameters) == ["question"]
    assert tracked("Who?") == "Who? chat"


def test_an_object_in_a_class_is_no_method(tracking: Tracking) -> None:
    """A callable object that a class holds is not given an instance, decorated or not."""

    class View:
        answer = track_ai(config_key="chat", tracking=tracking)(Assistant())

    assert View().answer(_REQUEST).body == b"Hello chat"
