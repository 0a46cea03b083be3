"""Conveniences for Starlette and FastAPI."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING, Any

from starlette.requests import HTTPConnection
from starlette.routing import Route

from ._core.asgi import Served
from ._core.asgi_feedback import ASGIFeedback
from ._core.contexts import check_context_callable
from ._core.door import Door
from ._core.idle import current_run
from ._core.run import Run
from ._core.tail import flush_at_shutdown

if TYPE_CHECKING:
    from ldclient import Context

    from ._core.resolver import AIConfigDefault
    from ._core.tracking import Tracking
    from .records import Mode
    from .typing import ASGIApp, Scope

__all__ = ["TrackingMiddleware", "feedback_routes", "lifespan", "run_dependency"]


class TrackingMiddleware(Served):
    """Do what :class:`~ldai_integrations.asgi.ASGITrackingMiddleware` does, with callables that are given the request.

    ::

        app.add_middleware(TrackingMiddleware, tracking=tracking, ld_context=lambda request: Context.create(…))

    Args:
        app: The ASGI application.
        tracking: The application's :class:`~ldai_integrations.Tracking`; without one, that of the process.
        config_key: Key of the AI Config of every request, or a callable from the request to a key or ``None``.
        mode: ``"completion"`` or ``"agent"``.
        default: Served where LaunchDarkly has nothing usable.
        variables: Values for the prompt's ``{{variables}}``: a mapping, or a callable that is given the request.
        ld_context: Called with the request (an ``HTTPConnection``: headers, cookies, query, state, but no body) when a
            run first needs its LaunchDarkly context.

    Raises:
        ConfigurationError: If a value cannot work.
        TrackingNotConfiguredError: If there is no tracking and nothing to make one of.
    """

    def __init__(
        self,
        app: ASGIApp,
        tracking: Tracking | None = None,
        *,
        config_key: str | Callable[[HTTPConnection], str | None] | None = None,
        mode: Mode = "completion",
        default: AIConfigDefault | None = None,
        variables: Mapping[str, Any] | Callable[[HTTPConnection], Mapping[str, Any]] | None = None,
        ld_context: Callable[[HTTPConnection], Context | None] | None = None,
    ) -> None:
        check_context_callable(ld_context)
        door = Door(
            tracking,
            config_key=_of_request(config_key),
            mode=mode,
            default=default,
            variables=_of_request(variables),
            ld_context=_of_request(ld_context),
        )
        super().__init__(app, door)


def lifespan(
    tracking: Tracking, inner: Callable[[Any], AbstractAsyncContextManager[Any]] | None = None
) -> Callable[[Any], AbstractAsyncContextManager[Any]]:
    """Return a lifespan that flushes at shutdown, after the application's own.

    ::

        app = FastAPI(lifespan=lifespan(tracking, own_lifespan))

    Needed only where no middleware of ours is on the application.

    Args:
        tracking: The application's :class:`~ldai_integrations.Tracking`.
        inner: The application's own lifespan; its state is passed on.
    """

    @asynccontextmanager
    async def flushing(app: Any) -> AsyncIterator[Any]:
        try:
            if inner is None:
                yield
            else:
                async with inner(app) as state:
                    yield state
        finally:
            await flush_at_shutdown(tracking)

    return flushing


def feedback_routes(
    tracking: Tracking,
    path: str = "/feedback",
    *,
    ld_context: Callable[[HTTPConnection], Context | None] | None = None,
) -> list[Route]:
    """Return the routes that take votes and serve the widget.

    ::

        app = Starlette(routes=[…, *feedback_routes(tracking)])
        app.router.routes.extend(feedback_routes(tracking))  # FastAPI

    Args:
        tracking: The application's :class:`~ldai_integrations.Tracking`, with ``Settings.feedback``.
        path: Where votes are posted; the widget is at ``path`` + ``/widget.js``.
        ld_context: Called with the request, returns the LaunchDarkly context of whoever votes; without it the one
            that the middleware has for the request.

    Raises:
        ConfigurationError: If feedback is not asked for, has no secret, or ``ld_context`` cannot work.
    """
    check_context_callable(ld_context)
    app = ASGIFeedback(tracking, ld_context=_of_request(ld_context))
    return [Route(path, app), Route(f"{path}/widget.js", app)]


def run_dependency() -> Run:
    """Return the run that is under way, as a FastAPI dependency: ``run: Annotated[Run, Depends(run_dependency)]``."""
    return current_run()


def _of_request(func: Any) -> Any:
    """Turn a callable of the request into one of the scope; leave anything else for the door to judge."""
    if not callable(func):
        return func

    def of_scope(scope: Scope) -> Any:
        return func(HTTPConnection(scope))

    return functools.update_wrapper(of_scope, func)
