"""Two JSON APIs: LaunchDarkly's paths for AI Config metrics, and the server's own under ``/dev``.

Starlette runs endpoints that are plain functions in worker threads, so they may read the database.
"""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING

from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from ._checks import list_ai_configs
from ._events import FILTERS
from ._faults import Fault
from ._http import BodyTooLargeError, error
from ._json import parse_json
from ._metrics import compute_metrics, compute_metrics_by_variation, compute_percentiles

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.requests import Request

    from ._stores import Stores

logger = logging.getLogger("ldai_integrations.devserver")

PREFIX = "/api/v2/projects/{project}/ai-configs/{config}"
MAX_RANGE_MS = 100 * 24 * 3600 * 1000  # LaunchDarkly's own limit
MAX_INTEGER = 2**63 - 1  # SQLite's limit
# In milliseconds this is a day of 1973, and in seconds a year that nobody means.
SECONDS_BELOW = 10**11
MAX_EVENTS = 1000
MAX_FAULTS_BYTES = 2**20
MAX_WARNING_BYTES = 2**16

# The most keys of AI Configs that an error names.
MAX_KEYS = 20


class MetricsEndpoints:
    """The metrics of one AI Config, in total and by variation, for any project and environment."""

    def __init__(self, stores: Stores) -> None:
        """Connect the endpoints to the stores.

        Args:
            stores: Contain the AI Configs and the events.
        """
        self._stores = stores
        self._flags = stores.flags
        self._events = stores.events

    @property
    def routes(self) -> list[Route]:
        """Return LaunchDarkly's two paths, and one of this server for what they do not have."""
        return [
            Route(f"{PREFIX}/metrics", partial(self._answer, compute=compute_metrics)),
            Route(f"{PREFIX}/metrics-by-variation", partial(self._answer, compute=compute_metrics_by_variation)),
            Route("/dev/percentiles/{config}", partial(self._answer, compute=compute_percentiles)),
        ]

    def _answer(self, request: Request, *, compute: Callable[..., object]) -> Response:
        """Check the request as LaunchDarkly does, and compute the metrics."""
        query, key = request.query_params, request.path_params["config"]
        token = request.headers.get("authorization", "")
        if not token or token.startswith("sdk-"):
            return error(
                401, "unauthorized", "Send an API access token in Authorization; an SDK key does not work here."
            )
        if not query.get("env"):
            return error(400, "invalid_request", "env is required")
        if query.keys() & {"contextKind", "contextKey"}:
            return error(400, "invalid_request", "this server cannot select by context")
        try:
            since, until = int(query["from"]), int(query["to"])
        except (KeyError, ValueError):
            return error(400, "invalid_request", "from and to are required: milliseconds since the epoch")
        if 0 < until < SECONDS_BELOW:
            # Code that prints zeros for what is missing often shows the status only, so that it is logged, too.
            logger.warning(
                "A request for the metrics of %r gives its time range in seconds. Give milliseconds: multiply by 1000.",
                key,
            )
            return error(400, "invalid_request", "from and to are in seconds; give milliseconds: multiply by 1000")
        if not 0 <= since <= until <= min(since + MAX_RANGE_MS, MAX_INTEGER):
            return error(400, "invalid_request", "to must not be before from, or more than 100 days after it")
        flag = self._flags.payload["flags"].get(key)
        if flag is None and not self._events.count({"config_key": key}):
            known = ", ".join(config.key for config in list_ai_configs(self._flags.payload["flags"])[:MAX_KEYS])
            return error(404, "not_found", f"there is no AI Config with this key, and no event of one; known: {known}")
        return JSONResponse(
            compute(self._events, key, prices=self._stores.prices_of(flag), since_ms=since, until_ms=until)
        )


class InspectionEndpoints:
    """Paths that list, count and delete events, and set faults."""

    def __init__(self, stores: Stores) -> None:
        """Connect the endpoints to the stores.

        Args:
            stores: Contain the events and the faults.
        """
        self._stores = stores

    @property
    def routes(self) -> list[Route]:
        """Return the paths under ``/dev``."""
        return [
            Route("/dev/events", self._list_events, methods=["GET"]),
            Route("/dev/events", self._delete_events, methods=["DELETE"]),
            Route("/dev/totals", self._totals),
            Route("/dev/status", self._status),
            Route("/dev/faults", self._list_faults, methods=["GET"]),
            Route("/dev/faults", self._put_faults, methods=["PUT"]),
            Route("/dev/warnings", self._list_warnings, methods=["GET"]),
            Route("/dev/warnings", self._add_warning, methods=["POST"]),
        ]

    def _list_events(self, request: Request) -> Response:
        query = request.query_params
        try:
            since, limit = int(query.get("since", 0)), int(query.get("limit", MAX_EVENTS))
        except ValueError:
            since = limit = -1
        if not 0 <= since <= MAX_INTEGER:
            return error(400, "invalid_request", f"since and limit must be whole numbers up to {MAX_INTEGER}")
        filters = {name: query.get(name) for name in FILTERS}
        limit = max(0, min(limit, MAX_EVENTS))
        rows = self._stores.events.rows(filters, since=since, limit=limit)
        last = rows[-1][0] if rows else since
        body = f'{{"events":[{",".join(raw for _, raw in rows)}],"last":{last}}}'
        return Response(body, media_type="application/json")

    def _delete_events(self, _request: Request) -> Response:
        self._stores.events.clear()
        return Response(status_code=204)

    def _totals(self, _request: Request) -> Response:
        return JSONResponse({"totals": self._stores.events.totals()})

    def _status(self, _request: Request) -> Response:
        return JSONResponse(self._stores.status())

    def _list_faults(self, _request: Request) -> Response:
        return JSONResponse(self._stores.faults.to_json())

    async def _put_faults(self, request: Request) -> Response:
        try:
            async with self._stores.bodies.read(request, limit=MAX_FAULTS_BYTES) as body:
                faults = parse_json(body)
            if not isinstance(faults, list):
                raise ValueError("the body must be an array of faults")
            self._stores.faults.replace([Fault.from_json(fault) for fault in faults])
        except BodyTooLargeError:
            return error(400, "invalid_request", f"the body is larger than {MAX_FAULTS_BYTES} bytes")
        except ValueError as problem:
            return error(400, "invalid_request", str(problem))
        return self._list_faults(request)

    def _list_warnings(self, _request: Request) -> Response:
        return JSONResponse({"warnings": self._stores.warnings.to_json()})

    async def _add_warning(self, request: Request) -> Response:
        try:
            async with self._stores.bodies.read(request, limit=MAX_WARNING_BYTES) as body:
                self._stores.warnings.add(body)
        except BodyTooLargeError:
            return error(400, "invalid_request", f"the body is larger than {MAX_WARNING_BYTES} bytes")
        except (ValueError, RecursionError) as problem:
            return error(400, "invalid_request", str(problem))
        return Response(status_code=204)
