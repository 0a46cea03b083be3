"""Run an ASGI application on uvicorn in a thread of its own."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any, TypeVar

import uvicorn

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from starlette.types import ASGIApp

T = TypeVar("T")

# What is still being answered when the server stops has this long.
GRACE_SECONDS = 1
KEEP_ALIVE_SECONDS = 300


class ServerThread:
    """Serve until stopped. Ready as soon as :meth:`start` returns."""

    def __init__(self, listener: socket.socket, *, stop: Callable[[], None]) -> None:
        """Prepare a server.

        Args:
            listener: A bound TCP socket; closed with the server.
            stop: Called in the event loop when the server is to end: ends what would go on forever.
        """
        self._listener = listener
        self._stop = stop
        self._ready = threading.Event()
        self._failure: BaseException | None = None

    def start(self, app: ASGIApp) -> None:
        """Serve the application.

        Raises:
            Exception: What kept the server from starting.
        """
        config = uvicorn.Config(
            app,
            http="h11",
            ws="none",
            lifespan="off",
            # The application's own uvicorn may log through the same loggers: leave them as they are.
            log_config=None,
            proxy_headers=False,
            server_header=False,
            # An SDK posts every 5 s: with uvicorn's own 5 s, connections would close just as they are used again.
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=GRACE_SECONDS,
        )
        self._server = _Server(config, on_ready=self._ready.set)
        self._thread = threading.Thread(target=self._run, name="ldai-devserver", daemon=True)
        self._thread.start()
        self._ready.wait()
        if self._failure is not None:
            raise self._failure

    def call(self, function: Callable[..., T], *args: Any) -> T:
        """Call a function in the event loop's thread and return its result."""

        async def call() -> T:
            return function(*args)

        return asyncio.run_coroutine_threadsafe(call(), self._loop).result()

    def abort(self, client: Any) -> None:
        """End the connection of a client at once. Belongs to the event loop's thread."""
        for connection in self._server.server_state.connections:
            if getattr(connection, "client", None) == client:
                connection.transport.abort()

    def stop(self) -> None:
        """End the server and wait for it."""
        self.call(self._stop)
        self._server.should_exit = True
        self._thread.join()

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as failure:
            self._failure = failure
        finally:
            self._listener.close()
            self._ready.set()

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        await self._server.serve(sockets=[self._listener])


class _Server(uvicorn.Server):
    """Tell when the socket is being served."""

    def __init__(self, config: uvicorn.Config, *, on_ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_ready = on_ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._on_ready()
