"""The page at ``/`` and its data: figures over time and runs, as JSON and as a live stream."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from starlette.responses import FileResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

from ._figures import Span, find_changed_buckets, read_cells
from ._http import error, read_number
from ._runs import list_configs, list_runs, list_tree

if TYPE_CHECKING:
    from starlette.requests import Request

    from ._events import Cursor
    from ._stores import Stores

STATIC = Path(__file__).with_name("static")
LIVE_SECONDS = 0.5  # changes within this time are sent together
HEARTBEAT_SECONDS = 10.0  # a run without an outcome is counted although no event comes
RUNS = 50
RUNS_QUERY = ("config_key", "warnings", "limit", "before")
MAX_RUNS = 500
MAX_BUCKETS = 200
MAX_STEP_MS = 7 * 24 * 3600 * 1000


class Update(NamedTuple):
    """Data for one page.

    Attributes:
        cursor: The position from which the next update continues.
        body: The data as JSON.
    """

    cursor: str
    body: bytes


class View:
    """The part of the data that one page shows: an AI Config and a range of time.

    If the page names no AI Config, it gets the one with the newest event.
    """

    def __init__(self, stores: Stores, query: Mapping[str, str]) -> None:
        """Read the query.

        Args:
            stores: Contain the data.
            query: ``config_key``, ``step_ms`` and ``buckets``.

        Raises:
            ValueError: A value is not a number, or out of range.
        """
        self._stores = stores
        self._config_key = query.get("config_key", "")
        self._span = Span(
            read_number(query, "step_ms", 60_000, least=1000, most=MAX_STEP_MS),
            read_number(query, "buckets", 60, most=MAX_BUCKETS),
        )

    def read_update(self, known: str | None) -> Update:
        """Return the changes since a cursor, or all data if the cursor is unknown. This may take a second."""
        events, flags = self._stores.events, self._stores.flags.payload["flags"]
        now = events.cursor
        configs = list_configs(events, flags, self._stores.list_prices)
        since = _read_id(known, now) if self._config_key else 0
        newest = max(configs, key=lambda config: int(config["lastId"]), default={"configKey": ""})
        config_key = self._config_key or str(newest["configKey"])
        if any(config["runs"] for config in configs):  # before the first run, the page may change its AI Config
            self._config_key = config_key
        numbers = self._span.numbers()
        changed = find_changed_buckets(events, config_key, since=since, span=self._span) if since else numbers
        runs = list_runs(events, config_key, after=since, limit=RUNS)
        cursor = f"{now.era}.{now.id}"
        data = {
            "cursor": cursor,
            "complete": not since,
            "configKey": config_key,
            "stepMs": self._span.step_ms,
            "firstBucket": numbers.start,
            "buckets": len(numbers),
            "configs": configs,
            "warnings": self._stores.warnings.to_json(),
            "cells": read_cells(events, config_key, step_ms=self._span.step_ms, buckets=changed),
            "runs": runs,
            "allRuns": len(runs) < RUNS,
        }
        return Update(cursor, json.dumps(data, separators=(",", ":"), allow_nan=False).encode())


def _read_id(cursor: str | None, now: Cursor) -> int:
    """Return the event id in a cursor of the current era; 0 for any other cursor."""
    era, _, number = (cursor or "").partition(".")
    return int(number) if era == now.era and number.isdecimal() and len(number) < 20 and int(number) <= now.id else 0


class PageEndpoints:
    """The page, its files, and the data that it reads."""

    def __init__(self, stores: Stores, *, stopping: asyncio.Event) -> None:
        """Connect the endpoints to the stores.

        Args:
            stores: Contain the data.
            stopping: Ends every live stream.
        """
        self._stores = stores
        self._stopping = stopping

    @property
    def routes(self) -> list[BaseRoute]:
        """Return the paths."""
        return [
            Route("/", self._page),
            Mount("/static", StaticFiles(directory=STATIC)),
            Route("/dev/monitor", self._monitor),
            Route("/dev/monitor/live", self._live),
            Route("/dev/runs", self._runs),
            Route("/dev/runs/tree", self._tree),
        ]

    def _page(self, _request: Request) -> Response:
        return FileResponse(STATIC / "index.html")

    def _monitor(self, request: Request) -> Response:
        try:
            view = View(self._stores, request.query_params)
        except ValueError as problem:
            return error(400, "invalid_request", str(problem))
        update = view.read_update(request.query_params.get("since"))
        return Response(update.body, media_type="application/json")

    async def _live(self, request: Request) -> Response:
        try:
            view = View(self._stores, request.query_params)
        except ValueError as problem:
            return error(400, "invalid_request", str(problem))
        known = request.headers.get("last-event-id", request.query_params.get("since"))
        return StreamingResponse(self._stream_updates(view, known), media_type="text/event-stream")

    async def _stream_updates(self, view: View, known: str | None) -> AsyncIterator[bytes]:
        """Yield what the page does not have yet, and then each change."""
        loop = asyncio.get_running_loop()
        seen, sent = object(), 0.0
        while not self._stopping.is_set():
            state = self._stores.events.cursor, self._stores.flags.etag, self._stores.warnings.version
            if state != seen or loop.time() - sent > HEARTBEAT_SECONDS:
                seen, sent = state, loop.time()
                update = await asyncio.to_thread(view.read_update, known)
                known = update.cursor
                yield b"id: %b\ndata: %b\n\n" % (known.encode(), update.body)
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), LIVE_SECONDS)

    def _runs(self, request: Request) -> Response:
        query = request.query_params
        if unknown := sorted(query.keys() - RUNS_QUERY):
            return error(400, "invalid_request", f"{unknown[0]!r:.100} is unknown; use {', '.join(RUNS_QUERY)}")
        if "config_key" not in query:
            return error(400, "invalid_request", "config_key is required: the key of an AI Config")
        try:
            limit = read_number(query, "limit", RUNS, most=MAX_RUNS)
            before = read_number(query, "before", 2**62, most=2**62)
        except ValueError as problem:
            return error(400, "invalid_request", str(problem))
        config_key, only_warnings = query["config_key"], "warnings" in query
        runs = list_runs(self._stores.events, config_key, before=before, limit=limit, only_warnings=only_warnings)
        return JSONResponse({"runs": runs})

    def _tree(self, request: Request) -> Response:
        return JSONResponse({"runs": list_tree(self._stores.events, request.query_params.get("run_id", ""))})
