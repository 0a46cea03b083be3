"""Mistakes of the first minutes are explained."""

from __future__ import annotations

import functools
import json
import subprocess
import sys
from collections.abc import Callable
from typing import Any, cast
from unittest.mock import Mock

import celery
import flask
import pytest
from asgiref.sync import sync_to_async
from fastapi import FastAPI
from fastapi.testclient import TestClient

from ldai_integrations import ConfigurationError, Run, RunRecord, Settings, Tracking, track_ai
from ldai_integrations.asgi import ASGITrackingMiddleware
from ldai_integrations.flask import AITracking
from ldai_integrations.starlette import TrackingMiddleware
from ldai_integrations.wsgi import WSGITrackingMiddleware

EXTRAS = [
    ("flask", "flask", "flask"),
    ("starlette", "starlette", "starlette"),
    ("django", "django", "django"),
    ("opentelemetry", "opentelemetry", "otel"),
    ("devserver", "pydantic", "dev"),
]


@pytest.mark.parametrize(("module", "package", "extra"), EXTRAS)
def test_a_missing_package_names_its_extra(module: str, package: str, extra: str) -> None:
    """The import of an integration without its package says what to install."""
    code = f"import sys; sys.modules[{package!r}] = None; import ldai_integrations.{module}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)

    assert done.returncode == 1
    assert f"{package} is not installed; run pip install 'ldai-integrations[{extra}]'" in done.stderr


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return the log lines about decorators in the wrong order."""
    return [record.getMessage() for record in caplog.records if record.__dict__.get("ldai_kind") == "track_ai"]


def test_track_ai_above_a_route_of_flask(
    tracking: Tracking, caplog: pytest.LogCaptureFixture, records: list[RunRecord]
) -> None:
    """One log line says that the route calls the function itself, and where ``track_ai`` belongs."""
    app = flask.Flask("shop")
    AITracking(app, tracking)

    @track_ai(config_key="chat")
    @app.get("/wrong")
    def wrong() -> str:
        return "Hello"

    @app.get("/right")
    @track_ai(config_key="chat")
    def right() -> str:
        return "Hello"

    client = app.test_client()
    assert [client.get(path).text for path in ("/right", "/wrong", "/wrong", "/none")][:3] == ["Hello"] * 3

    [line] = lines(caplog)
    assert "wrong'" in line
    assert "below the decorator of the route" in line
    assert tracking.stats().diagnostics["track_ai"] == 2
    assert len(records) == 1


def test_track_ai_above_a_route_of_fastapi(tracking: Tracking, caplog: pytest.LogCaptureFixture) -> None:
    """One log line says that the route calls the function itself, and where ``track_ai`` belongs."""
    app = FastAPI()
    app.add_middleware(TrackingMiddleware, tracking=tracking)

    @track_ai(config_key="chat")
    @app.get("/wrong")
    async def wrong() -> str:
        return "Hello"

    @app.get("/right")
    @track_ai(config_key="chat")
    async def right() -> str:
        return "Hello"

    with TestClient(app) as client:
        assert [client.get(path).status_code for path in ("/right", "/wrong", "/none")] == [200, 200, 404]

    [line] = lines(caplog)
    assert "wrong'" in line


def test_a_run_that_fastapi_wants_to_fill_in() -> None:
    """A parameter of type Run without ``track_ai`` below the route is explained when the route is made."""
    app = FastAPI()

    def make() -> Any:
        @track_ai(config_key="chat")
        @app.post("/chat")
        async def chat(question: str, run: Run) -> str:
            return question + run.model

        return chat

    with pytest.raises(ConfigurationError, match="Put @track_ai directly above the function"):
        make()


def answer(question: str, run: Run) -> str:
    """Answer a question."""
    return question + run.model


class Retrying:
    """A decorator that makes an object of a function, as libraries for retries do."""

    def __init__(self, func: Callable[..., Any]) -> None:
        functools.update_wrapper(self, func)
        self.func = func
        self.attempts = 0

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the function."""
        self.attempts += 1
        return self.func(*args, **kwargs)

    def reset(self) -> None:
        """Forget the attempts."""
        self.attempts = 0


class Queued:
    """A decorator that makes a task of a function, as task queues do."""

    def __init__(self, func: Callable[..., Any]) -> None:
        self.func = func

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the function."""
        return self.func(*args, **kwargs)

    def send(self, *args: Any, **kwargs: Any) -> Any:
        """Let a worker call the function."""
        return self.func(*args, **kwargs)


@pytest.mark.parametrize("make", [celery.Celery("shop", broker="memory://").task, Queued])
def test_track_ai_above_a_task(make: Callable[..., Any]) -> None:
    """It is refused when the module is imported: the worker would call the function without ``track_ai``."""
    with pytest.raises(ConfigurationError, match=r"method (delay|send)\(\) calls the function without track_ai. Put "):
        track_ai(config_key="chat")(make(answer))

    make(track_ai(config_key="chat")(answer))


@pytest.mark.parametrize(
    "make",
    [Retrying, sync_to_async, functools.partial, lambda func: Mock(side_effect=func)],
    ids=["class", "asgiref", "partial", "mock"],
)
def test_track_ai_above_another_decorator(make: Callable[..., Any]) -> None:
    """An object that calls its function only when it is called itself is tracked."""
    assert callable(track_ai(config_key="chat")(make(answer)))


def test_a_run_without_an_annotation(caplog: pytest.LogCaptureFixture) -> None:
    """A log line says that the parameter is not filled in, unless it is clear that it is not meant to be."""

    @track_ai(config_key="chat")
    def view(run):  # type: ignore[no-untyped-def]  # what this test is about
        pass

    @track_ai(config_key="chat")
    def show(run: str) -> None:
        pass

    @track_ai(config_key="chat")
    def again(run=None):  # type: ignore[no-untyped-def]
        pass

    @track_ai(config_key="chat")
    def misspelt(run: Rnu) -> None:  # type: ignore[name-defined]  # noqa: F821  # what this test is about
        pass

    first, second = lines(caplog)
    assert "view' has no annotation, or one whose name is not known, so track_ai does not fill it in. Write " in first
    assert "misspelt' has no annotation, or one whose name is not known" in second


def test_a_middleware_of_the_other_kind(tracking: Tracking) -> None:
    """It names the one that is meant."""
    with pytest.raises(ConfigurationError, match=r"use ldai_integrations\.asgi\.ASGITrackingMiddleware"):
        WSGITrackingMiddleware(FastAPI(), tracking)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("history", "message"),
    [
        ("x", "history is of type str; give a list of messages"),
        (["x"], "history has a message of type str; give dicts with role and content"),
        ([{"role": "user", "content": "Hi"}, None], "history has a message of type NoneType"),
    ],
)
def test_a_history_that_is_none(history: Any, message: str, tracking: Tracking) -> None:
    """What cannot be a conversation is refused before the call."""
    with track_ai("chat", tracking=tracking) as run:
        with pytest.raises(ConfigurationError, match=message):
            run.messages(history=history)
        run.discard()


def test_arguments_in_the_wrong_place() -> None:
    """What is not a Tracking, or not the settings, is refused by the code that gets it."""
    wrong: Any = Settings()
    with pytest.raises(ConfigurationError, match="tracking is of type Settings; give a Tracking"):
        track_ai("chat", tracking=wrong)
    with pytest.raises(ConfigurationError, match="tracking is of type Settings; give a Tracking"):
        ASGITrackingMiddleware(FastAPI(), wrong)
    with pytest.raises(ConfigurationError, match="settings is of type dict; give Settings"):
        Tracking.from_env(settings=cast(Any, {"flush": "never"}))


def test_a_middleware_that_sees_no_calls(tracking: Tracking, caplog: pytest.LogCaptureFixture) -> None:
    """After some requests that may call a model, one log line says how the library sees the calls of the handlers."""
    app = WSGITrackingMiddleware(lambda environ, start: [b"Hello!"], tracking, config_key="chat")

    def ask(method: str, times: int) -> None:
        for _ in range(times):
            list(app({"REQUEST_METHOD": method}, lambda *_args: lambda _data: None))

    ask("GET", 30)  # pages and health checks
    ask("POST", 20)
    assert caplog.messages == []
    ask("POST", 20)
    [line] = caplog.messages
    assert line.startswith("No provider call was seen in 20 requests of the middleware for 'chat'")
    assert tracking.stats().diagnostics["no_call"] == 1


def test_a_middleware_that_sees_responses_only(tracking: Tracking, caplog: pytest.LogCaptureFixture) -> None:
    """A gateway whose requests are reported from the responses of the provider needs no advice."""
    usage = {"prompt_tokens": 1013, "completion_tokens": 77}
    choice = {"index": 0, "message": {"role": "assistant", "content": "Hello!"}, "finish_reason": "stop"}

    def answer(_environ: Any, start: Any) -> list[bytes]:
        start("200 OK", [("Content-Type", "application/json")])
        return [json.dumps({"object": "chat.completion", "choices": [choice], "usage": usage}).encode()]

    app = WSGITrackingMiddleware(answer, tracking, config_key="chat")
    for _ in range(30):
        list(app({"REQUEST_METHOD": "POST"}, lambda *_args: lambda _data: None))
        tracking.flush()
    assert (tracking.stats().runs, caplog.messages) == (30, [])
