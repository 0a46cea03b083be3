"""Middleware for any WSGI application; imports no framework."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from ._core.door import Door
from ._core.wsgi import serve
from ._core.wsgi_feedback import WSGIFeedback

if TYPE_CHECKING:
    from ldclient import Context

    from ._core.resolver import AIConfigDefault
    from ._core.tracking import Tracking
    from .records import Mode
    from .typing import StartResponse, WSGIApp, WSGIEnviron

__all__ = ["WSGIFeedback", "WSGITrackingMiddleware"]


class WSGITrackingMiddleware:
    """Give each request a LaunchDarkly context for the runs in it, or track each request as a run.

    ::

        application = WSGITrackingMiddleware(application, tracking, config_key="support-bot")

    Without ``config_key`` it is lazy: decorated code below it opens runs, and other routes pay next to nothing. With
    it, an existing application is tracked as it is: timed to the last body byte, success or error by its status,
    tokens from a provider-shaped JSON or SSE body, else estimated.

    Args:
        app: The WSGI application.
        tracking: The application's :class:`~ldai_integrations.Tracking`; without one, that of the process.
        config_key: Key of the AI Config of every request, or a callable from the environ to a key or ``None``.
        mode: ``"completion"`` or ``"agent"``.
        default: Served where LaunchDarkly has nothing usable.
        variables: Values for the prompt's ``{{variables}}``: a mapping, or a callable that is given the environ.
        ld_context: Called with the environ when a run first needs the request's LaunchDarkly context.

    Raises:
        ConfigurationError: If a value cannot work.
        TrackingNotConfiguredError: If there is no tracking and nothing to make one of.
    """

    def __init__(
        self,
        app: WSGIApp,
        tracking: Tracking | None = None,
        *,
        config_key: str | Callable[[WSGIEnviron], str | None] | None = None,
        mode: Mode = "completion",
        default: AIConfigDefault | None = None,
        variables: Mapping[str, Any] | Callable[[WSGIEnviron], Mapping[str, Any]] | None = None,
        ld_context: Callable[[WSGIEnviron], Context | None] | None = None,
    ) -> None:
        self.app = app
        self._door = Door(
            tracking, config_key=config_key, mode=mode, default=default, variables=variables, ld_context=ld_context
        )

    def __call__(self, environ: WSGIEnviron, start_response: StartResponse) -> Iterable[bytes]:
        """Serve one request."""
        return serve(self.app, self._door, environ, start_response)
