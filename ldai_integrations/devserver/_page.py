"""The page at ``/``, and what it is made of: figures over time and runs, as JSON and live."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from starlette.datastructures import MutableHeaders
from starlette.responses import FileResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

from ._events import Cursor
from ._figures import Span, cells, changed_buckets
from ._overview import overview
from ._responses import error
from ._runs import runs

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.requests import Request
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from ._stores import Stores

STATIC = Path(__file__).with_name("static")
LIVE_SECONDS = 0.5  # what comes within this time is told together
HEARTBEAT_SECONDS = 10.0  # a run becomes one without an outcome although nothing happens
RUNS = 50
MOST_RUNS = 500
MOST_BUCKETS = 200
MOST_STEP_MS = 7 * 24 * 3600 * 1000

_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self';"
    " connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none';"
    " require-trusted-types-for 'script'; trusted-types 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}


class PageEndpoints:
    """Serve the page and what it shows."""

    def __init__(self, stores: Stores, *, stopping: asyncio.Event) -> None:
        """Put the endpoints in front of the stores.

        Args:
            stores: What to show.
            stopping: Ends every live answer.
        """
        self._stores = stores
        self._stopping = stopping

    @property
    def routes(self) -> list[BaseRoute]:
        """List the page, its files, and what it reads."""
        return [
            Route("/", self._page),
            Mount("/static", StaticFiles(directory=STATIC)),
            Route("/dev/monitor", self._monitor),
            Route("/dev/monitor/live", self._live),
            Route("/dev/runs", self._runs),
        ]

    async def _page(self, _request: Request) -> Response:
        return FileResponse(STATIC / "index.html")

    async def _monitor(self, request: Request) -> Response:
        try:
            view = _View(self._stores, request)
        except ValueError as problem:
            return error(400, "invalid_request", str(problem))
        news = await asyncio.to_thread(view.since, request.query_params.get("since"))
        return Response(news.body, media_type="application/json")

    async def _live(self, request: Request) -> Response:
        try:
            view = _View(self._stores, request)
        except ValueError as problem:
            return error(400, "invalid_request", str(problem))
        known = request.headers.get("last-event-id", request.query_params.get("since"))
        return StreamingResponse(self._follow(view, known), media_type="text/event-stream")

    async def _follow(self, view: _View, known: str | None) -> AsyncIterator[bytes]:
        """Yield what the page does not know yet, and then what changes."""
        loop = asyncio.get_running_loop()
        seen, told = object(), 0.0
        while not self._stopping.is_set():
            state = self._stores.events.cursor, self._stores.flags.etag
            if state != seen or loop.time() - told > HEARTBEAT_SECONDS:
                seen, told = state, loop.time()
                news = await asyncio.to_thread(view.since, known)
                known = news.cursor
                yield b"id: %b\ndata: %b\n\n" % (known.encode(), news.body)
            await _wait(self._stopping, LIVE_SECONDS)

    async def _runs(self, request: Request) -> Response:
        query = request.query_params
        try:
            limit, before = _whole(query, "limit", RUNS, most=MOST_RUNS), _whole(query, "before", 2**62, most=2**62)
        except ValueError as problem:
            return error(400, "invalid_request", str(problem))
        found = await asyncio.to_thread(
            runs,
            self._stores.events,
            query.get("config_key", ""),
            before=before,
            limit=limit,
            to_warn_of="warnings" in query,
        )
        return JSONResponse({"runs": found})


class _News(NamedTuple):
    """Hold an answer, written as JSON already, and the cursor to go on from."""

    cursor: str
    body: bytes


class _View:
    """What one page looks at: an AI Config in a span of time; where none is named, the one heard of last."""

    def __init__(self, stores: Stores, request: Request) -> None:
        """Read the query.

        Raises:
            ValueError: A value in it is no number, or out of range.
        """
        query = request.query_params
        self._stores = stores
        self._config_key = query.get("config_key", "")
        self._span = Span(
            _whole(query, "step_ms", 60_000, least=1000, most=MOST_STEP_MS),
            _whole(query, "buckets", 60, most=MOST_BUCKETS),
        )

    def since(self, known: str | None) -> _News:
        """Return what has changed since a cursor, or everything where it is unknown; may take a second."""
        events, flags = self._stores.events, self._stores.flags.payload["flags"]
        now = events.cursor
        configs = overview(events, flags)
        since = _id_in(known, now) if self._config_key else 0
        self._config_key = self._config_key or _latest(configs)
        numbers = self._span.numbers()
        changed = changed_buckets(events, self._config_key, since=since, span=self._span) if since else numbers
        newest = runs(events, self._config_key, after=since, limit=RUNS)
        cursor = f"{now.era}.{now.id}"
        news = {
            "cursor": cursor,
            "complete": not since,
            "configKey": self._config_key,
            "stepMs": self._span.step_ms,
            "firstBucket": numbers.start,
            "buckets": len(numbers),
            "configs": configs,
            "cells": cells(events, self._config_key, step_ms=self._span.step_ms, buckets=changed),
            "runs": newest,
            "allRuns": len(newest) < RUNS,
        }
        return _News(cursor, json.dumps(news, separators=(",", ":"), allow_nan=False).encode())


class SafeHeaders:
    """Have browsers run nothing but the page's own scripts, and ask whether files have changed."""

    def __init__(self, app: ASGIApp) -> None:
        """Wrap an application.

        Args:
            app: Whose answers get the headers.
        """
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(_HEADERS)
                headers.setdefault("Cache-Control", "no-cache")
            await send(message)

        await self.app(scope, receive, with_headers)


def _latest(configs: list[dict[str, Any]]) -> str:
    latest = max(configs, key=lambda config: int(config["lastId"]), default={"configKey": ""})
    return str(latest["configKey"])


def _id_in(cursor: str | None, now: Cursor) -> int:
    """Return the event id that a cursor of this era names, else 0."""
    era, _, number = (cursor or "").partition(".")
    return int(number) if era == now.era and number.isdecimal() and int(number) <= now.id else 0


def _whole(query: Any, name: str, default: int, *, least: int = 1, most: int) -> int:
    text = query.get(name, str(default))
    if not text.isdecimal() or not least <= int(text[:20]) <= most:
        raise ValueError(f"{name} must be a whole number from {least} to {most}")
    return int(text)


async def _wait(event: asyncio.Event, seconds: float) -> None:
    try:
        await asyncio.wait_for(event.wait(), seconds)
    except asyncio.TimeoutError:
        return
