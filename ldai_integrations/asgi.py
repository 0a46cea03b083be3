"""Middleware for any ASGI application; imports no framework."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from ._core.asgi import Served
from ._core.asgi_feedback import ASGIFeedback
from ._core.door import Door

if TYPE_CHECKING:
    from ldclient import Context

    from ._core.resolver import AIConfigDefault
    from ._core.tracking import Tracking
    from .records import Mode
    from .typing import ASGIApp, Scope

__all__ = ["ASGIFeedback", "ASGITrackingMiddleware"]


class ASGITrackingMiddleware(Served):
    """Give each request a LaunchDarkly context for the runs in it, or track each request as a run.

    ::

        app.add_middleware(ASGITrackingMiddleware, tracking=tracking, ld_context=context_of_scope)
        app.add_middleware(ASGITrackingMiddleware, tracking=tracking, config_key="support-bot")

    Without ``config_key`` it is lazy: decorated code below it opens runs, and other routes pay next to nothing. With
    it, an existing application is tracked as it is: timed to the last body byte, success or error by its status,
    tokens from a provider-shaped JSON or SSE body, else estimated. Events are flushed before shutdown completes.

    Args:
        app: The ASGI application.
        tracking: The application's :class:`~ldai_integrations.Tracking`; without one, that of the process.
        config_key: Key of the AI Config of every request, or a callable from the scope to a key or ``None``.
        mode: ``"completion"`` or ``"agent"``.
        default: Served where LaunchDarkly has nothing usable.
        variables: Values for the prompt's ``{{variables}}``: a mapping, or a callable that is given the scope.
        ld_context: Called with the scope when a run first needs the request's LaunchDarkly context.

    Raises:
        ConfigurationError: If a value cannot work.
        TrackingNotConfiguredError: If there is no tracking and nothing to make one of.
    """

    def __init__(
        self,
        app: ASGIApp,
        tracking: Tracking | None = None,
        *,
        config_key: str | Callable[[Scope], str | None] | None = None,
        mode: Mode = "completion",
        default: AIConfigDefault | None = None,
        variables: Mapping[str, Any] | Callable[[Scope], Mapping[str, Any]] | None = None,
        ld_context: Callable[[Scope], Context | None] | None = None,
    ) -> None:
        door = Door(
            tracking, config_key=config_key, mode=mode, default=default, variables=variables, ld_context=ld_context
        )
        super().__init__(app, door)
