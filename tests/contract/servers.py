"""Real servers on loopback, each in a thread of its own."""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import Any

import uvicorn
import waitress.server

#: Host and port of a running server.
Address = tuple[str, int]


@contextmanager
def serve_wsgi(app: Any, **options: Any) -> Iterator[Address]:
    """Serve a WSGI application with waitress."""
    logging.getLogger("waitress").setLevel(logging.CRITICAL)  # applications that raise are the point here
    server: Any = waitress.server.create_server(app, host="127.0.0.1", port=0, threads=4, **options)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        yield "127.0.0.1", int(server.effective_port)
    finally:
        with suppress(OSError):  # a request may have woken the server, which is closed then before we can wake it
            server.trigger.pull_trigger(server.close)  # in its own thread: it may be waiting for the socket
        thread.join(5)
        server.task_dispatcher.shutdown()


@contextmanager
def serve_asgi(app: Any, *, lifespan: str = "on", ws: str = "none", **options: Any) -> Iterator[Address]:
    """Serve an ASGI application with uvicorn; ``ws`` says what speaks websockets."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen()  # clients may connect before the server accepts
    server = uvicorn.Server(
        uvicorn.Config(
            app,
            ws=ws,  # not "auto": an older uvicorn would import what a newer websockets warns of
            lifespan=lifespan,  # type: ignore[arg-type]
            log_level="critical",
            timeout_graceful_shutdown=2,
            **options,
        )
    )
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    try:
        yield "127.0.0.1", int(listener.getsockname()[1])
    finally:
        server.should_exit = True
        thread.join(10)
        listener.close()


def serve_asgi_without_lifespan(app: Any, **options: Any) -> AbstractContextManager[Address]:
    """Serve an ASGI application that knows no lifespan."""
    return serve_asgi(app, lifespan="off", **options)
