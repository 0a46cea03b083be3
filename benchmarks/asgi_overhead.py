"""What a middleware adds to a request without AI, in a Starlette application that is called in this process."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from typing import Any

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from ldai_integrations import Tracking
from ldai_integrations.asgi import ASGITrackingMiddleware
from ldai_integrations.typing import ASGIApp, Receive, Scope, Send

from ._launchdarkly import local_client
from ._measure import Contestant, Figure, added_us, interleaved

_REQUESTS, _ROUNDS = 1_000, 25

# Other middlewares, measured if they are installed.
_INSTALLABLE = {
    "asgi-correlation-id": ("asgi_correlation_id", "CorrelationIdMiddleware"),
    "sentry": ("sentry_sdk.integrations.asgi", "SentryAsgiMiddleware"),
    "opentelemetry": ("opentelemetry.instrumentation.asgi", "OpenTelemetryMiddleware"),
}


class NoOpMiddleware:
    """A middleware that only calls the application."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Call the application."""
        await self.app(scope, receive, send)


def figures() -> list[Figure]:
    """Measure our middleware beside those of other libraries."""
    with local_client() as (client, _events):
        others = peers()
        stacks = {
            "bare": [],
            "ours": [Middleware(ASGITrackingMiddleware, tracking=Tracking(client))],
            **{name: [middleware] for name, middleware in others.items()},
        }
        times = interleaved({name: _contestant(application(stack)) for name, stack in stacks.items()}, rounds=_ROUNDS)
    rest = ", ".join(f"{name} {added_us(times, name, 'bare'):.1f}" for name in others)
    return [
        Figure(
            what="ASGI middleware, request without AI",
            value=added_us(times, "ours", "bare"),
            unit="µs",
            at_most=2.5,
            note=f"others: {rest}",
        )
    ]


def peers() -> dict[str, Middleware]:
    """Return the middlewares that are measured beside ours."""

    async def dispatch(_request: Request, call_next: Callable[..., Any]) -> Any:
        return await call_next(_request)

    found = {
        "no-op": Middleware(NoOpMiddleware),
        "BaseHTTPMiddleware": Middleware(BaseHTTPMiddleware, dispatch=dispatch),
    }
    for name, (module, middleware) in _INSTALLABLE.items():
        with suppress(ImportError):
            found[name] = Middleware(getattr(import_module(module), middleware))
    return found


def application(middleware: list[Middleware]) -> Starlette:
    """Return an application with one route."""

    async def health(_request: Request) -> PlainTextResponse:
        return PlainTextResponse("ok")

    return Starlette(routes=[Route("/health", health)], middleware=middleware)


def _contestant(app: Starlette) -> Contestant:
    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        pass

    async def serve() -> float:
        begun = time.thread_time()  # nothing waits: other work on the machine does not count
        for _ in range(_REQUESTS):
            scope = {"type": "http", "method": "GET", "path": "/health", "headers": [], "query_string": b""}
            await app(scope, receive, send)
        return (time.thread_time() - begun) / _REQUESTS

    return lambda: asyncio.run(serve())
