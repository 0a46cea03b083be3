"""The ASGI application: every endpoint, behind the checks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.exceptions import HTTPException

from ._faults import FaultInjector
from ._guard import LoopbackGuard
from ._inspection import InspectionEndpoints
from ._page import PageEndpoints, SafeHeaders
from ._responses import error
from ._rest import MetricsEndpoints
from ._sdk import SDKEndpoints

if TYPE_CHECKING:
    import asyncio

    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.types import ASGIApp

    from ._responses import HangUp
    from ._stores import Stores


def application(stores: Stores, *, hang_up: HangUp, stopping: asyncio.Event, sdk_key: str | None) -> ASGIApp:
    """Put the endpoints together, the outermost check first.

    Args:
        stores: What the endpoints work on.
        hang_up: The answer that is none.
        stopping: Set when the server is to end.
        sdk_key: The only SDK key to accept; ``None`` accepts any.
    """
    router = Starlette(
        routes=[
            *SDKEndpoints(stores, hang_up=hang_up, sdk_key=sdk_key).routes,
            *MetricsEndpoints(stores).routes,
            *InspectionEndpoints(stores).routes,
            *PageEndpoints(stores, stopping=stopping).routes,
        ],
        exception_handlers={HTTPException: _http_error},
    )
    return LoopbackGuard(FaultInjector(SafeHeaders(router), faults=stores.faults, hang_up=hang_up, stopping=stopping))


def _http_error(request: Request, failure: Exception) -> Response:
    """Word Starlette's own errors, such as an unknown path, as LaunchDarkly does."""
    assert isinstance(failure, HTTPException)
    code = failure.detail.lower().replace(" ", "_")
    return error(failure.status_code, code, f"{failure.detail}: {request.method} {request.url.path}")
