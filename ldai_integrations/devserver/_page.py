"""The page at ``/`` and its data: figures over time and runs, as JSON and as a live stream."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

from fastapi import APIRouter, Depends, Header, Query
from fastapi.responses import FileResponse, HTMLResponse, JSONResponse, Response
from pydantic import BaseModel, Field

from ._events import Cursor
from ._figures import current_buckets, find_changed_buckets, read_cells
from ._http import ERRORS, EventStream, error
from ._runs import list_configs, list_runs, list_tree
from ._stores import ServerStores, Stores

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

STATIC = Path(__file__).with_name("static")
LIVE_SECONDS = 0.5  # changes within this time are sent together
HEARTBEAT_SECONDS = 10.0  # a run without an outcome is counted although no event comes
MAX_LIVE = 100  # pages that are open at the same time; each of them reads the database after a change
RUNS = 50
MAX_RUNS = 500
MAX_BUCKETS = 200
MAX_STEP_MS = 7 * 24 * 3600 * 1000


@dataclass
class View:
    """The part of the data that one page shows: an AI Config, and a range of time that is divided into buckets.

    Attributes:
        stores: Contain the data.
        config_key: Key of the AI Config; empty if the page names none. Then it gets the one with the newest event.
        step_ms: Length of a bucket.
        bucket_count: Number of buckets; the last one contains the present.
    """

    stores: Stores
    config_key: str
    step_ms: int
    bucket_count: int

    def read_update(self, known: str | None) -> tuple[str, bytes]:
        """Return the changes since a cursor, or all data if the cursor is unknown. This may take a second.

        Returns:
            The cursor from which the next update continues, and the data as JSON.
        """
        events, flags = self.stores.events, self.stores.flags.payload["flags"]
        now = events.cursor
        configs = list_configs(events, flags, self.stores.list_prices)
        since = _read_id(known, now) if self.config_key else 0
        newest = max(configs, key=lambda config: int(config["lastId"]), default={"configKey": ""})
        config_key = self.config_key or str(newest["configKey"])
        if any(config["runs"] for config in configs):  # before the first run, the page may change its AI Config
            self.config_key = config_key
        buckets = current_buckets(self.step_ms, self.bucket_count)
        changed: Sequence[int] = buckets
        if since:
            changed = find_changed_buckets(events, config_key, step_ms=self.step_ms, buckets=buckets, since=since)
        runs = list_runs(events, config_key, after=since, limit=RUNS)
        cursor = f"{now.era}.{now.id}"
        data = {
            "cursor": cursor,
            "complete": not since,
            "configKey": config_key,
            "stepMs": self.step_ms,
            "firstBucket": buckets.start,
            "buckets": len(buckets),
            "configs": configs,
            "warnings": self.stores.warnings.to_json(),
            "cells": read_cells(events, config_key, step_ms=self.step_ms, buckets=changed),
            "runs": runs,
            "allRuns": len(runs) < RUNS,
        }
        return cursor, json.dumps(data, separators=(",", ":"), allow_nan=False).encode()


def _read_id(cursor: str | None, now: Cursor) -> int:
    """Return the event id in a cursor of the current era; 0 for any other cursor."""
    era, _, number = (cursor or "").partition(".")
    return int(number) if era == now.era and number.isdecimal() and len(number) < 20 and int(number) <= now.id else 0


async def _make_view(
    stores: ServerStores,
    config_key: Annotated[str, Query(description="The AI Config; by default the one with the newest event.")] = "",
    step_ms: Annotated[
        int, Query(ge=1000, le=MAX_STEP_MS, description="The length of a step of time, in milliseconds.")
    ] = 60_000,
    buckets: Annotated[
        int, Query(ge=1, le=MAX_BUCKETS, description="The number of steps; the last one contains the present.")
    ] = 60,
) -> View:
    return View(stores, config_key, step_ms, buckets)


RequestedView: TypeAlias = Annotated[View, Depends(_make_view)]
Since: TypeAlias = Annotated[
    str | None, Query(description="The `cursor` of an answer: return only what came after it.")
]
page = APIRouter(responses=ERRORS)


@page.get("/", response_class=HTMLResponse)
def show_page() -> FileResponse:
    """Show the page."""
    return FileResponse(STATIC / "index.html")


@page.get("/dev/monitor")
def read_monitor(view: RequestedView, since: Since = None) -> Response:
    """Return the data of the page."""
    _, body = view.read_update(since)
    return Response(body, media_type="application/json")


@page.get("/dev/monitor/live", response_class=EventStream)
async def follow_monitor(
    view: RequestedView,
    since: Since = None,
    last_event_id: Annotated[str | None, Header(description="The cursor of the last event of this stream.")] = None,
) -> EventStream:
    """Send the data of the page, and then each change."""
    return _LiveStream(view.stores, _stream_updates(view, since if last_event_id is None else last_event_id))


class _LiveStream(EventStream):
    """A stream for an open page, of which there is a limited number."""

    def __init__(self, stores: Stores, updates: AsyncIterator[bytes]) -> None:
        super().__init__(updates)
        self._stores = stores

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the updates. No other page can be opened between the check and the count."""
        if self._stores.live_pages >= MAX_LIVE:
            await error(503, f"{MAX_LIVE} pages are open, which is the limit; close some.")(scope, receive, send)
            return
        self._stores.live_pages += 1
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._stores.live_pages -= 1


async def _stream_updates(view: View, known: str | None) -> AsyncIterator[bytes]:
    """Yield what the page does not have yet, and then each change."""
    stores, loop = view.stores, asyncio.get_running_loop()
    seen, sent = object(), 0.0
    while not stores.stopping.is_set():
        state = stores.events.cursor, stores.flags.etag, stores.warnings.to_json()
        if state != seen or loop.time() - sent > HEARTBEAT_SECONDS:
            async with stores.page_turn:
                seen, sent = state, loop.time()
                cursor, body = await asyncio.to_thread(view.read_update, known)
            known = cursor
            yield b"id: %b\ndata: %b\n\n" % (cursor.encode(), body)
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(stores.stopping.wait(), LIVE_SECONDS)


class RunsQuery(BaseModel, extra="forbid"):
    """The runs that a page asks for."""

    config_key: str = Field(description="The key of the AI Config.")
    warnings: str | None = Field(None, description="With any value, only runs that got a default.")
    limit: int = Field(RUNS, ge=1, le=MAX_RUNS, description="The most runs to return.")
    before: int = Field(2**62, ge=1, le=2**62, description="Only runs whose `lastId` is smaller.")


@page.get("/dev/runs")
def read_runs(stores: ServerStores, query: Annotated[RunsQuery, Query()]) -> JSONResponse:
    """List runs of an AI Config; with ``warnings``, those that got a default."""
    only_warnings = query.warnings is not None
    runs = list_runs(
        stores.events, query.config_key, before=query.before, limit=query.limit, only_warnings=only_warnings
    )
    return JSONResponse({"runs": runs})


@page.get("/dev/runs/tree")
def read_tree(
    stores: ServerStores, run_id: Annotated[str, Query(description="The id of the run.")] = ""
) -> JSONResponse:
    """List a run with those around it and in it."""
    return JSONResponse({"runs": list_tree(stores.events, run_id)})
