"""Mistakes at set-up, which every integration reports in the same way."""

from __future__ import annotations

import asyncio
import logging
import re
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import flask
import pytest
import uvicorn
from fastapi import FastAPI
from ldai.models import AIAgentConfigDefault, AICompletionConfigDefault, LDMessage, ModelConfig
from ldclient import Context, LDClient
from starlette.applications import Starlette
from starlette.middleware.gzip import GZipMiddleware
from starlette.testclient import TestClient

from ldai_integrations import ConfigurationError, Settings, Tracking, TrackingNotConfiguredError, track_ai
from ldai_integrations.asgi import ASGITrackingMiddleware
from ldai_integrations.feedback import FeedbackSettings
from ldai_integrations.flask import AITracking
from ldai_integrations.starlette import TrackingMiddleware
from ldai_integrations.visitors import VisitorSettings
from ldai_integrations.wsgi import WSGITrackingMiddleware

from .asgi_calls import acall, app_that_sends, call, http_scope

Open = Callable[..., Any]

INTEGRATIONS: dict[str, Open] = {
    "decorator": lambda tracking, **options: track_ai(tracking=tracking, **{"config_key": "chat", **options}),
    "asgi": lambda tracking, **options: ASGITrackingMiddleware(app_that_sends(), tracking, **options),
    "wsgi": lambda tracking, **options: WSGITrackingMiddleware(lambda environ, start: [], tracking, **options),
    "flask": lambda tracking, **options: AITracking(flask.Flask("shop"), tracking, **options),
    "starlette": lambda tracking, **options: start_starlette(tracking, **options),
}


def start_starlette(tracking: Tracking | None, **options: Any) -> None:
    """Start an application, because Starlette creates its middlewares only then."""
    app = Starlette()
    app.add_middleware(TrackingMiddleware, tracking=tracking, **options)
    call(app, {"type": "lifespan"}, [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}])


async def _coroutine_function(request: Any) -> Any: ...


MISTAKES: dict[str, tuple[dict[str, Any], str]] = {
    "empty key": ({"config_key": " "}, "config_key is ' '; give the key of an AI Config"),
    "key of another type": ({"config_key": 7}, "config_key is 7; give the key of an AI Config"),
    "mode": ({"mode": "chat"}, "mode is 'chat'; use 'completion' or 'agent'"),
    "default of another mode": (
        {"default": AIAgentConfigDefault(enabled=True)},
        "default is of type AIAgentConfigDefault; for mode='completion' give a ldai.AICompletionConfigDefault",
    ),
    "default that JSON cannot hold": (
        {"default": AICompletionConfigDefault(enabled=True, model=ModelConfig("m", parameters={"stop": {1, 2}}))},
        "use JSON values only",
    ),
    "default with a broken template": (
        {"default": AICompletionConfigDefault(enabled=True, messages=[LDMessage("system", "{{#open")])},
        "messages[0].content is not a well-formed template",
    ),
    "variables": ({"variables": 7}, "variables is 7; give a mapping, or a callable that returns one"),
    "context": ({"ld_context": Context.create("ada")}, "ld_context is a Context; give a function that returns one"),
    "context of another type": ({"ld_context": "ada"}, "ld_context is 'ada'; give a function"),
    "context from a coroutine": ({"ld_context": _coroutine_function}, "where nothing can be awaited"),
}


# Options that a middleware has for its own runs, which it only opens with a ``config_key``.
OPTIONS_OF_RUNS: dict[str, Any] = {
    "mode": "agent",
    "default": AICompletionConfigDefault(enabled=True),
    "variables": {"shop": "Knits & Co"},
}


@pytest.mark.parametrize("integration", INTEGRATIONS)
@pytest.mark.parametrize("mistake", MISTAKES)
def test_the_error_names_the_value_and_the_remedy(tracking: Tracking, integration: str, mistake: str) -> None:
    """A value that cannot work raises ConfigurationError when the integration is created, not at the first request."""
    options, text = MISTAKES[mistake]

    with pytest.raises(ConfigurationError, match=re.escape(text)):
        INTEGRATIONS[integration](tracking, **options)


@pytest.mark.parametrize("integration", [name for name in INTEGRATIONS if name != "decorator"])
@pytest.mark.parametrize("option", OPTIONS_OF_RUNS)
def test_an_option_that_cannot_take_effect(tracking: Tracking, integration: str, option: str) -> None:
    """A middleware without a config key refuses the options of runs, and says where they belong."""
    options = {option: OPTIONS_OF_RUNS[option]}

    with pytest.raises(ConfigurationError, match=rf"without config_key cannot use {option}=, .* to track_ai\(…\), or "):
        INTEGRATIONS[integration](tracking, **options)
    INTEGRATIONS[integration](tracking, config_key="chat", **options)


@pytest.mark.parametrize("integration", [name for name in INTEGRATIONS if name != "decorator"])
@pytest.mark.parametrize("option", ["config_key", "variables", "ld_context"])
def test_a_function_that_does_not_take_the_request(tracking: Tracking, integration: str, option: str) -> None:
    """A middleware calls its functions with the request."""
    options: dict[str, Any] = {"config_key": "chat", option: lambda request, user: None}

    with pytest.raises(ConfigurationError, match=rf"{option} takes \(request, user\); it is called with the request"):
        INTEGRATIONS[integration](tracking, **options)


@pytest.mark.parametrize("integration", ["asgi", "starlette"])
def test_a_key_from_a_coroutine_function(tracking: Tracking, integration: str) -> None:
    """A middleware cannot await its key."""
    with pytest.raises(ConfigurationError, match="config_key is a coroutine function; give a plain function"):
        INTEGRATIONS[integration](tracking, config_key=_coroutine_function)


@pytest.mark.parametrize("framework", [Starlette, FastAPI])
@pytest.mark.parametrize(
    ("settings", "options", "text"),
    [
        (Settings(visitors=VisitorSettings()), {}, r"VisitorSettings\(secret=…\).* LDAI_VISITORS_SECRET"),
        (
            Settings(feedback=FeedbackSettings(config_keys={"chat"})),
            {},
            r"FeedbackSettings\(secret=…\).* LDAI_FEEDBACK_SECRET",
        ),
        (Settings(), {"ld_context": _coroutine_function}, "ld_context is the coroutine function"),
        (Settings(), {"config_key": _coroutine_function}, "config_key is a coroutine function"),
        (None, {}, "LAUNCHDARKLY_SDK_KEY"),
    ],
    ids=["visitors", "feedback", "ld_context", "config_key", "LaunchDarkly"],
)
def test_a_server_does_not_start_with_a_mistake(
    framework: Any,
    settings: Settings | None,
    options: dict[str, Any],
    text: str,
    client: LDClient,
    fresh_process: None,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Starlette creates its middlewares while the server starts. The server shows the error and stops."""
    for name in ("uvicorn", "uvicorn.error"):  # another test may have started uvicorn with its own logging
        monkeypatch.setattr(logging.getLogger(name), "propagate", True)
        monkeypatch.setattr(logging.getLogger(name), "disabled", False)
        caplog.set_level(logging.INFO, name)
    tracking = Tracking(client, settings=settings) if settings is not None else None
    app = framework()
    app.add_middleware(TrackingMiddleware, tracking=tracking, **options)
    app.add_middleware(GZipMiddleware)
    server = uvicorn.Server(uvicorn.Config(app, port=0, ws="none", log_config=None))
    timer = threading.Timer(20, setattr, (server, "should_exit", True))
    timer.start()
    with suppress(SystemExit):  # an older uvicorn returns
        server.run()
    assert timer.is_alive()
    timer.cancel()
    assert not server.started
    assert re.search(rf"Error: .*{text}", caplog.text)
    assert "Application startup failed" in caplog.text


def test_a_request_shows_a_mistake(tracking: Tracking) -> None:
    """The same without a lifespan: each request is an error that says what to do."""
    app = Starlette()
    app.add_middleware(TrackingMiddleware, tracking=tracking, mode="agent")
    for _ in range(2):
        with pytest.raises(ConfigurationError, match="without config_key cannot use mode="):
            TestClient(app).get("/")


def test_a_server_that_goes_on_after_a_mistake(tracking: Tracking) -> None:
    """A server that serves requests although the start failed shows the error in each of them."""
    app = Starlette()
    app.add_middleware(TrackingMiddleware, tracking=tracking, mode="agent")
    for scope in ({"type": "lifespan"}, http_scope(), http_scope()):
        with pytest.raises(ConfigurationError, match="without config_key cannot use mode="):
            asyncio.run(acall(app, scope, [{"type": "lifespan.startup"}]))


@pytest.mark.parametrize("integration", [name for name in INTEGRATIONS if name != "decorator"])
def test_an_integration_without_launchdarkly(fresh_process: None, integration: str) -> None:
    """Without a Tracking, and without one of the process, the error names the ways to provide one."""
    with pytest.raises(TrackingNotConfiguredError, match=r"LAUNCHDARKLY_SDK_KEY.*LDAI_DEV_SERVER.*LDAI_CONFIG_FILE"):
        INTEGRATIONS[integration](None)


@pytest.mark.parametrize("name", ["LDAI_DEVSERVER", "LDAI_DEV_SERVER_URL"])
def test_a_misspelled_variable(fresh_process: None, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """The error names a variable that looks like the one that is missing."""
    monkeypatch.setenv(name, "http://127.0.0.1:8765")
    with pytest.raises(TrackingNotConfiguredError, match=f"{name} is set; did you mean LDAI_DEV_SERVER?"):
        INTEGRATIONS["asgi"](None)


@pytest.mark.parametrize("integration", [name for name in INTEGRATIONS if name != "decorator"])
def test_an_integration_creates_the_tracking_of_the_process(
    fresh_process: None, monkeypatch: pytest.MonkeyPatch, flag_file: Any, integration: str
) -> None:
    """An integration without a Tracking creates one from the environment, and the next integration uses the same."""
    monkeypatch.setenv("LDAI_CONFIG_FILE", str(flag_file))
    INTEGRATIONS[integration](None)
    monkeypatch.delenv("LDAI_CONFIG_FILE")

    ASGITrackingMiddleware(app_that_sends())
    with track_ai("chat") as run:
        assert run.config.enabled
