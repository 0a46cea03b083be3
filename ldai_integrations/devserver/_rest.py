"""LaunchDarkly's REST paths for AI Config metrics, answered from the events at hand."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from ._metrics import metrics, metrics_by_variation
from ._prices import token_prices
from ._responses import error

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.requests import Request

    from ._stores import Stores

PREFIX = "/api/v2/projects/{project}/ai-configs/{config}"
MAX_RANGE_MS = 100 * 24 * 3600 * 1000  # LaunchDarkly's own limit
MAX_TIME_MS = 2**63 - 1  # what SQLite can compare


class MetricsEndpoints:
    """Serve the metrics of one AI Config, in total and by variation. Any project and environment will do."""

    def __init__(self, stores: Stores) -> None:
        """Put the endpoints in front of the stores.

        Args:
            stores: Which AI Configs there are, and what to compute from.
        """
        self._flags = stores.flags
        self._events = stores.events

    @property
    def routes(self) -> list[Route]:
        """List the two paths."""
        return [
            Route(f"{PREFIX}/metrics", self._metrics),
            Route(f"{PREFIX}/metrics-by-variation", self._metrics_by_variation),
        ]

    async def _metrics(self, request: Request) -> Response:
        return await asyncio.to_thread(self._answer, request, metrics)

    async def _metrics_by_variation(self, request: Request) -> Response:
        return await asyncio.to_thread(self._answer, request, metrics_by_variation)

    def _answer(self, request: Request, compute: Callable[..., object]) -> Response:
        refusal = self._refusal(request)
        if refusal is not None:
            return refusal
        key = request.path_params["config"]
        prices = token_prices(self._flags.payload["flags"].get(key))
        return JSONResponse(compute(self._events, key, prices=prices, **_range(request)))

    def _refusal(self, request: Request) -> Response | None:
        """Return what LaunchDarkly would answer to a wrong request."""
        token = request.headers.get("authorization", "")
        if not token or token.startswith("sdk-"):
            return error(
                401, "unauthorized", "Send an API access token in Authorization; an SDK key does not work here."
            )
        if not request.query_params.get("env"):
            return error(400, "invalid_request", "env is required")
        if request.query_params.keys() & {"contextKind", "contextKey"}:
            return error(400, "invalid_request", "this server cannot select by context")
        try:
            span = _range(request)
        except (KeyError, ValueError):
            return error(400, "invalid_request", "from and to are required: milliseconds since the epoch")
        if not 0 <= span["since_ms"] <= span["until_ms"] <= min(span["since_ms"] + MAX_RANGE_MS, MAX_TIME_MS):
            return error(400, "invalid_request", "to must follow from by at most 100 days")
        key = request.path_params["config"]
        if key not in self._flags.payload["flags"] and not self._events.count({"config_key": key}):
            return error(404, "not_found", "no AI Config of this key is served, and no event names it")
        return None


def _range(request: Request) -> dict[str, int]:
    return {"since_ms": int(request.query_params["from"]), "until_ms": int(request.query_params["to"])}
