"""The server's own small API under ``/dev``: look at events, count them, forget them, ask for faults."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from ._bodies import BodyTooLargeError, BodyUnreadableError, read_body
from ._events import FILTERS
from ._faults import Fault
from ._responses import error

if TYPE_CHECKING:
    from starlette.requests import Request

    from ._stores import Stores


PAGE = 1000


class InspectionEndpoints:
    """Show what has arrived, and steer the faults."""

    def __init__(self, stores: Stores) -> None:
        """Put the endpoints in front of the stores.

        Args:
            stores: What to show, and the faults to steer.
        """
        self._stores = stores

    @property
    def routes(self) -> list[Route]:
        """List the paths under ``/dev``."""
        return [
            Route("/dev/events", self._list_events, methods=["GET"]),
            Route("/dev/events", self._delete_events, methods=["DELETE"]),
            Route("/dev/totals", self._totals),
            Route("/dev/status", self._status),
            Route("/dev/faults", self._list_faults, methods=["GET"]),
            Route("/dev/faults", self._put_faults, methods=["PUT"]),
        ]

    async def _list_events(self, request: Request) -> Response:
        query = request.query_params
        try:
            since, limit = int(query.get("since", 0)), int(query.get("limit", PAGE))
        except ValueError:
            return error(400, "invalid_request", "since and limit must be whole numbers")
        filters = {name: query.get(name) for name in FILTERS}
        rows = await asyncio.to_thread(self._stores.events.rows, filters, since=since, limit=max(0, min(limit, PAGE)))
        last = rows[-1][0] if rows else since
        body = f'{{"events":[{",".join(raw for _, raw in rows)}],"last":{last}}}'
        return Response(body, media_type="application/json")

    async def _delete_events(self, _request: Request) -> Response:
        await asyncio.to_thread(self._stores.events.clear)
        return Response(status_code=204)

    async def _totals(self, _request: Request) -> Response:
        return JSONResponse({"totals": await asyncio.to_thread(self._stores.events.totals)})

    async def _status(self, _request: Request) -> Response:
        return JSONResponse(await asyncio.to_thread(self._stores.status))

    async def _list_faults(self, _request: Request) -> Response:
        return JSONResponse(self._stores.faults.to_json())

    async def _put_faults(self, request: Request) -> Response:
        try:
            faults: Any = json.loads(await read_body(request, limit=2**20))
            if not isinstance(faults, list):
                raise ValueError("the body must be an array of faults")
            self._stores.faults.replace([Fault.from_json(fault) for fault in faults])
        except (BodyTooLargeError, BodyUnreadableError, ValueError) as problem:
            return error(400, "invalid_request", str(problem))
        return await self._list_faults(request)
