"""Requests to the contract's applications without a network, thousands a second, with every ending that there is."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import suppress
from typing import Any
from wsgiref.util import setup_testing_defaults

#: Paths of the contract, in turns; the client leaves "slow" after its first chunk.
PATHS = ["ok", "stream", "raise", "slow", "observed", "stream-raises", "nested", "missing", "bad", "stream-error-event"]

_TOGETHER = 25


def send_wsgi(app: Any, requests: int) -> None:
    """Send requests one after the other, as one thread of a server does."""
    for path in _paths(requests):
        environ: dict[str, Any] = {"PATH_INFO": f"/{path}"}
        setup_testing_defaults(environ)
        body: Any = None
        with suppress(RuntimeError):  # the handler broke, or the stream
            body = app(environ, lambda status, headers, exc_info=None: lambda data: None)
            for _ in body:
                if path == "slow":
                    break
        if hasattr(body, "close"):
            body.close()


async def send_asgi(app: Any, requests: int, *, cancels: bool = True) -> None:
    """Send requests, some at a time, as the event loop of a server does.

    Args:
        app: The application.
        requests: How many.
        cancels: Whether every other client that leaves has the server cancel the task.
    """
    paths = _paths(requests)

    async def client() -> None:
        for number, path in enumerate(paths):
            await _send_one(app, path, cancels=cancels and number % 2 == 0)

    await asyncio.gather(*(client() for _ in range(_TOGETHER)))


async def _send_one(app: Any, path: str, *, cancels: bool) -> None:
    """Send one request; the client that leaves "slow" disconnects, or has the server cancel the task."""
    gone, asked = asyncio.Event(), False

    async def receive() -> Any:
        nonlocal asked
        if not asked:
            asked = True
            return {"type": "http.request", "body": b"", "more_body": False}
        await gone.wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        await asyncio.sleep(0)
        if path == "slow" and message.get("body"):
            if cancels:
                serving.cancel()
            else:
                gone.set()

    serving = asyncio.ensure_future(app(_scope(path), receive, send))
    with suppress(Exception, asyncio.CancelledError):  # RuntimeError, which an older Starlette puts in a group
        await serving


def _scope(path: str) -> dict[str, Any]:
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": f"/{path}",
        "raw_path": f"/{path}".encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [(b"host", b"testserver")],
        "client": ("127.0.0.1", 1),
        "server": ("testserver", 80),
    }


def _paths(requests: int) -> Iterator[str]:
    return (PATHS[number % len(PATHS)] for number in range(requests))
