"""Middleware, lifespan and routes for Starlette and FastAPI."""

from __future__ import annotations

import functools
import inspect
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

from ldclient import Context

from ._extras import needs_extra
from ._launchdarkly.configs import AIConfigDefault
from ._run.current import current_run
from ._run.run import Run
from .asgi import ASGIFeedback, ASGITrackingMiddleware
from .exceptions import LDAIIntegrationError
from .records import Mode
from .tracking import Tracking, services_of
from .typing import ASGIApp, Receive, Scope, Send

with needs_extra("starlette"):
    from starlette.requests import HTTPConnection, Request
    from starlette.routing import Route

__all__ = ["TrackingMiddleware", "feedback_routes", "lifespan", "run_dependency"]


class TrackingMiddleware(ASGITrackingMiddleware):
    """An :class:`~ldai_integrations.asgi.ASGITrackingMiddleware` whose callables are called with the request.

    ::

        app.add_middleware(TrackingMiddleware, tracking=tracking, ld_context=lambda request: Context.create(…))

    The request has no body. For a websocket, it is an ``HTTPConnection``.

    Starlette creates its middlewares when the server starts the application. So a mistake in the arguments raises no
    exception here: it makes the start fail, and the server shows it.
    """

    def __init__(
        self,
        app: ASGIApp,
        tracking: Tracking | None = None,
        *,
        config_key: str | Callable[[Request], str | None] | None = None,
        mode: Mode = "completion",
        default: AIConfigDefault | None = None,
        variables: Mapping[str, object] | Callable[[Request], Mapping[str, object]] | None = None,
        ld_context: Callable[[Request], Context | None] | None = None,
    ) -> None:
        self._mistake: LDAIIntegrationError | None = None
        try:
            super().__init__(
                app,
                tracking,
                config_key=_of_request(config_key),
                mode=mode,
                default=default,
                variables=_of_request(variables),
                ld_context=_of_request(ld_context),
            )
        except LDAIIntegrationError as exc:
            self._mistake = exc

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, websocket or lifespan."""
        if self._mistake is None:
            return await super().__call__(scope, receive, send)
        if scope["type"] == "lifespan":  # a server takes an exception for an application without a lifespan
            await receive()
            message = f"{type(self._mistake).__name__}: {self._mistake}"
            await send({"type": "lifespan.startup.failed", "message": message})
        raise self._mistake.with_traceback(None)


def lifespan(
    tracking: Tracking, inner: Callable[[Any], AbstractAsyncContextManager[object]] | None = None
) -> Callable[[Any], AbstractAsyncContextManager[Any]]:
    """Return a lifespan that flushes at shutdown, after the application's own.

    ::

        app = FastAPI(lifespan=lifespan(tracking, own_lifespan))

    Needed only if the application has no middleware of this library.

    Args:
        tracking: The application's :class:`~ldai_integrations.Tracking`.
        inner: The application's own lifespan; its state is passed on.
    """

    @asynccontextmanager
    async def flushing(app: object) -> AsyncIterator[Any]:
        try:
            if inner is None:
                yield
            else:
                async with inner(app) as state:
                    yield state
        finally:
            await services_of(tracking).flushing.aflush_at_shutdown()

    return flushing


def feedback_routes(
    tracking: Tracking, path: str = "/feedback", *, ld_context: Callable[[Request], Context | None] | None = None
) -> list[Route]:
    """Return the routes that take votes and serve the widget.

    ::

        app = Starlette(routes=[…, *feedback_routes(tracking)])
        app.router.routes.extend(feedback_routes(tracking))  # FastAPI

    Args:
        tracking: The application's :class:`~ldai_integrations.Tracking`, with ``Settings.feedback``.
        path: Where votes are posted; the widget is at ``path`` + ``/widget.js``.
        ld_context: Called with the request, returns the LD context of the voter. Without it, the LD context that
            the middleware determined for the request is used.

    Raises:
        ConfigurationError: If the settings have no feedback, there is no secret, or ``ld_context`` cannot work.
    """
    app = ASGIFeedback(tracking, ld_context=_of_request(ld_context))
    return [Route(path, app), Route(f"{path}/widget.js", app)]


def run_dependency() -> Run:
    """Return the run that is in progress, as a FastAPI dependency: ``run: Annotated[Run, Depends(run_dependency)]``."""
    return current_run()


def _of_request(func: object) -> Any:
    """Turn a function that takes the request into one that takes the scope.

    Other values and coroutine functions are returned unchanged, so that the check of the options refuses them.
    """
    if not callable(func) or any(map(inspect.iscoroutinefunction, (func, type(func).__call__))):
        return func

    def of_scope(scope: Scope) -> Any:
        return func(Request(scope) if scope["type"] == "http" else HTTPConnection(scope))

    return functools.update_wrapper(of_scope, func)
