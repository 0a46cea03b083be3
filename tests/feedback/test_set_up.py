"""Mistakes in the set-up are errors at set-up."""

from __future__ import annotations

import logging
from typing import Any

import django.urls
import flask
import pytest
from django.core.wsgi import get_wsgi_application
from django.test import override_settings
from ldai import AICompletionConfigDefault
from ldclient import LDClient

from ldai_integrations import ConfigurationError, Settings, Tracking, TrackingNotConfiguredError, current_run, track_ai
from ldai_integrations.asgi import ASGIFeedback, ASGITrackingMiddleware
from ldai_integrations.django import feedback_urls
from ldai_integrations.feedback import FeedbackSettings
from ldai_integrations.flask import AITracking, feedback_blueprint
from ldai_integrations.starlette import feedback_routes
from ldai_integrations.wsgi import WSGIFeedback, WSGITrackingMiddleware

from ..contract.drivers.django import application
from .cases import SECRET


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"config_keys": "chat"}, "config_keys is 'chat'"),
        ({"config_keys": ()}, "config_keys is ()"),
        ({"config_keys": [""]}, "config_keys is ['']"),
        ({"config_keys": [7]}, "config_keys is [7]"),
        ({"secret": ""}, "secret is empty, shorter"),
        ({"secret": "hunter2"}, "secret is empty, shorter"),
        ({"secret": 20_000_000_000_000_000}, "secret is empty, shorter"),
        ({"secret": []}, "secret is empty, shorter"),
        ({"secret": [SECRET, None]}, "secret is empty, shorter"),
        ({"max_age": 0}, "max_age is 0"),
        ({"max_age": 91 * 24 * 3600}, "max_age is 7862400"),
        ({"max_age": True}, "max_age is True"),
        ({"max_age": 1.5}, "max_age is 1.5"),
        ({"requests_per_minute": -1}, "requests_per_minute is -1"),
        ({"header": "X Token"}, "header is 'X Token'"),
        ({"header": "X-Token\r\nSet-Cookie"}, "header is"),
        ({"header": ""}, "header is ''"),
        ({"header": "X-\N{KELVIN SIGN}"}, "header is"),
        *(
            (
                {"header": name},
                f"header is '{name}'; use letters, digits and hyphens, but not the name of a header of HTTP",
            )
            for name in ("Content-Length", "transfer-encoding", "Set-Cookie", "LOCATION", "Connection")
        ),
        ({"event": "a\nb"}, "event is"),
        ({"store": {}}, "store is of type dict"),
        ({"store": "hunter2.db"}, "store is not the address of a store"),
        ({"store": "sqlite:///"}, "store is not the address of a store"),
        ({"store": "sqlite:/// "}, "store is not the address of a store"),
        ({"store": "sqlite:///:memory:"}, "in memory, which counts nothing"),
        ({"store": "sqlite:///file:votes.db"}, "or a URI of SQLite"),
    ],
)
def test_settings_that_cannot_work_are_refused(options: dict[str, Any], said: str) -> None:
    """The error names the option and its value, but never the secret."""
    with pytest.raises(ConfigurationError) as raised:
        FeedbackSettings(**{"config_keys": {"chat"}, **options})
    assert said in str(raised.value)
    assert "hunter2" not in str(raised.value)


def test_the_secret_is_in_no_repr() -> None:
    """The text of the settings does not contain the secret."""
    assert SECRET not in repr(Settings(feedback=FeedbackSettings(config_keys={"chat"}, secret=SECRET)))


def test_feedback_is_asked_for_with_feedback_settings() -> None:
    """A value that is no FeedbackSettings is an error."""
    with pytest.raises(ConfigurationError, match="type bool; give a"):
        Settings(feedback=True)  # type: ignore[arg-type]


@pytest.fixture
def without_secret(client: LDClient) -> Tracking:
    """Give a Tracking with feedback and without a secret."""
    return Tracking(client, settings=Settings(feedback=FeedbackSettings(config_keys={"chat"})))


@pytest.mark.parametrize(
    "application",
    [
        ASGIFeedback,
        WSGIFeedback,
        feedback_routes,
        lambda tracking: ASGITrackingMiddleware(object(), tracking),  # type: ignore[arg-type]
        lambda tracking: WSGITrackingMiddleware(object(), tracking),  # type: ignore[arg-type]
        lambda tracking: AITracking(flask.Flask(__name__), tracking),
    ],
)
def test_a_missing_secret_shows_at_set_up(without_secret: Tracking, application: Any) -> None:
    """An integration that cannot sign tokens is an error, which says how to give a secret."""
    with pytest.raises(ConfigurationError, match=r"FeedbackSettings\(secret=…\).*SECRET_KEY"):
        application(without_secret)


@pytest.mark.parametrize("endpoint", [ASGIFeedback, WSGIFeedback, feedback_routes])
def test_an_endpoint_needs_feedback_to_be_asked_for(tracking: Tracking, endpoint: Any) -> None:
    """An endpoint on a Tracking without feedback says what to add."""
    with pytest.raises(ConfigurationError, match=r"settings=Settings\(feedback=FeedbackSettings"):
        endpoint(tracking)


@pytest.mark.parametrize("endpoint", [ASGIFeedback, WSGIFeedback, feedback_routes, None])
def test_an_endpoint_needs_a_callable_for_the_context(without_secret: Tracking, endpoint: Any) -> None:
    """A coroutine function for the LD context is an error."""

    async def ld_context(_request: object) -> None:
        return None

    with pytest.raises(ConfigurationError, match="coroutine function"):
        feedback_blueprint(ld_context=ld_context) if endpoint is None else endpoint(  # type: ignore[arg-type]
            without_secret, ld_context=ld_context
        )


def token(tracking: Tracking) -> str:
    """Return the token of a run."""
    with track_ai(config_key="chat", tracking=tracking) as run:
        return run.feedback_token


def test_flask_gives_its_secret_key(without_secret: Tracking) -> None:
    """Flask's SECRET_KEY signs, also if it is set after the Tracking is made, and its fallbacks are accepted."""
    app = flask.Flask(__name__)
    app.secret_key = "of Flask"
    AITracking(app, without_secret)
    app.register_blueprint(feedback_blueprint())
    old = token(without_secret)
    renewed = flask.Flask(__name__)
    renewed.config.update(SECRET_KEY="of Flask, newer", SECRET_KEY_FALLBACKS=["of Flask", "older yet"])
    tracking = Tracking(without_secret.client, settings=without_secret.settings)
    AITracking(renewed, tracking)
    renewed.register_blueprint(feedback_blueprint())

    for good in (old, token(tracking)):
        assert renewed.test_client().post("/feedback", json={"token": good, "kind": "positive"}).status_code == 204
    assert WSGIFeedback(without_secret)
    with pytest.raises(ConfigurationError, match="different SECRET_KEYs share one Tracking"):
        AITracking(renewed_again(), without_secret)


def renewed_again() -> flask.Flask:
    """Make another application with another secret."""
    app = flask.Flask(__name__)
    app.secret_key = "of another Flask"
    return app


def test_the_blueprint_comes_after_the_extension() -> None:
    """In the other order, registering the blueprint is an error that says what is missing."""
    with pytest.raises(TrackingNotConfiguredError, match="has no AITracking"):
        renewed_again().register_blueprint(feedback_blueprint())


def test_django_gives_its_secret_key(without_secret: Tracking) -> None:
    """Middleware and endpoint sign and verify with the project's own secret."""
    app = application({}, get_wsgi_application, urls=feedback_urls, tracking=without_secret)
    assert app is not None
    assert token(without_secret).count(".") == 3


def test_django_needs_a_tracking(fresh_process: None) -> None:
    """Without a Tracking the URL patterns are an error that says what to set."""
    with override_settings(LDAI={}), pytest.raises(TrackingNotConfiguredError, match="LAUNCHDARKLY_SDK_KEY"):
        django.urls.include(feedback_urls())


def test_a_decorator_without_a_secret_is_logged_once(
    without_secret: Tracking, caplog: pytest.LogCaptureFixture
) -> None:
    """With the decorator alone and no secret, the run has no token, and the log says why once."""
    with caplog.at_level(logging.WARNING, "ldai_integrations"):
        assert [token(without_secret) for _ in range(3)] == ["", "", ""]
    assert [record.getMessage() for record in caplog.records] == [
        "Runs have no feedback_token, because there is no secret. Give FeedbackSettings(secret=…), or set the variable "
        "LDAI_FEEDBACK_SECRET."
    ]
    assert without_secret.stats().diagnostics["feedback"] == 3


def test_a_token_without_votes_is_logged_once(client: LDClient, caplog: pytest.LogCaptureFixture) -> None:
    """Without Settings.feedback, the run has no token, and the log says what to set. The idle run logs nothing."""
    tracking = Tracking(client)
    with caplog.at_level(logging.WARNING, "ldai_integrations"):
        assert [token(tracking), token(tracking), current_run().feedback_token] == ["", "", ""]
    assert [record.getMessage() for record in caplog.records] == [
        "Runs have no feedback_token, because votes are off. Give Settings(feedback=FeedbackSettings("
        "config_keys={'chat'})), or leave out run.feedback_token."
    ]


def test_a_token_that_would_be_too_long_is_left_out(client: LDClient, caplog: pytest.LogCaptureFixture) -> None:
    """A config key that makes the token too long leaves its runs without one, which is logged."""
    key = "k" * 2_000
    settings = Settings(feedback=FeedbackSettings(config_keys={key}, secret=SECRET))
    default = AICompletionConfigDefault(enabled=True)
    with track_ai(config_key=key, tracking=Tracking(client, settings=settings), default=default) as run:
        assert run.feedback_token == ""
    assert "too long" in caplog.text
