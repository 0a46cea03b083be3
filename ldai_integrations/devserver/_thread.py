"""Run an ASGI application on uvicorn in a separate thread."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, ParamSpec, TypeVar

import uvicorn

if TYPE_CHECKING:
    from starlette.types import ASGIApp

P = ParamSpec("P")
T = TypeVar("T")

# Open requests may take this long when the server stops.
GRACE_SECONDS = 1
KEEP_ALIVE_SECONDS = 300
POLL_SECONDS = 0.001


class ServerThread:
    """A server in a thread, ready as soon as :meth:`start` returns.

    Args:
        listener: A bound TCP socket; closed with the server.
        stop: Called in the event loop when the server stops; must end responses that have no end.
    """

    def __init__(self, listener: socket.socket, *, stop: Callable[[], None]) -> None:
        self._listener = listener
        self._stop = stop
        self._failure: BaseException | None = None

    def start(self, app: ASGIApp) -> None:
        """Serve the application.

        Raises:
            Exception: The error with which uvicorn failed to start.
        """
        config = uvicorn.Config(
            app,
            http="h11",
            ws="none",
            lifespan="off",
            # The application may use uvicorn, too. Do not change the configuration of uvicorn's loggers.
            log_config=None,
            proxy_headers=False,
            server_header=False,
            # An SDK posts every 5 s. With uvicorn's default of 5 s, a connection could close while it is used again.
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=GRACE_SECONDS,
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._run, name="ldai-devserver", daemon=True)
        self._thread.start()
        while not self._server.started and self._thread.is_alive():
            time.sleep(POLL_SECONDS)
        if self._failure is not None:
            raise self._failure

    def call(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call a function in the thread of the event loop and return its result."""

        async def call() -> T:
            return function(*args, **kwargs)

        return asyncio.run_coroutine_threadsafe(call(), self._loop).result()

    def abort(self, client: object) -> None:
        """Close the connection of a client at once. Call it in the thread of the event loop only."""
        for connection in self._server.server_state.connections:
            if getattr(connection, "client", None) == client:
                connection.transport.abort()

    def stop(self) -> None:
        """Stop the server and wait until it has stopped."""
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

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        await self._server.serve(sockets=[self._listener])
