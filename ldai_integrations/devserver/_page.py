"""The page at ``/``, and what it is made of: figures over time and runs, as JSON and live."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

from starlette.datastructures import MutableHeaders
from starlette.responses import FileResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

from ._responses import error
from ._runs import runs
from ._view import RUNS, View, whole

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.requests import Request
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from ._stores import Stores

STATIC = Path(__file__).with_name("static")
LIVE_SECONDS = 0.5  # what comes within this time is told together
HEARTBEAT_SECONDS = 10.0  # a run becomes one without an outcome although nothing happens
MOST_RUNS = 500

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
            view = View(self._stores, request.query_params)
        except ValueError as problem:
            return error(400, "invalid_request", str(problem))
        news = await asyncio.to_thread(view.since, request.query_params.get("since"))
        return Response(news.body, media_type="application/json")

    async def _live(self, request: Request) -> Response:
        try:
            view = View(self._stores, request.query_params)
        except ValueError as problem:
            return error(400, "invalid_request", str(problem))
        known = request.headers.get("last-event-id", request.query_params.get("since"))
        return StreamingResponse(self._follow(view, known), media_type="text/event-stream")

    async def _follow(self, view: View, known: str | None) -> AsyncIterator[bytes]:
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
            limit, before = whole(query, "limit", RUNS, most=MOST_RUNS), whole(query, "before", 2**62, most=2**62)
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


async def _wait(event: asyncio.Event, seconds: float) -> None:
    try:
        await asyncio.wait_for(event.wait(), seconds)
    except asyncio.TimeoutError:
        return
