"""Applications for servers with a process of their own, which import them by name."""

from __future__ import annotations

from typing import Any

from ldai_integrations import Tracking

from .drivers import flask, starlette


def wsgi() -> Any:
    """Make the Flask application, reporting where the environment says."""
    return flask.extension_and_decorator(Tracking.from_env())


def asgi() -> Any:
    """Make the Starlette application, reporting where the environment says."""
    return starlette.middleware_and_decorator(Tracking.from_env())
