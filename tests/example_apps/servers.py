"""Servers on loopback ports, in threads of the test process."""

from __future__ import annotations

import socket
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import uvicorn
import waitress.server

from ..waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def serving_asgi(app: Any) -> Iterator[str]:
    """Serve an ASGI application with uvicorn, and yield its ``host:port``."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, ws="none", log_config=None, timeout_graceful_shutdown=1))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    assert eventually(lambda: server.started)
    try:
        yield _address(listener)
    finally:
        server.should_exit = True
        thread.join()


@contextmanager
def serving_wsgi(app: Any) -> Iterator[str]:
    """Serve a WSGI application with waitress, and yield its ``host:port``."""
    listener = socket.create_server(("127.0.0.1", 0))
    server: Any = waitress.server.create_server(app, sockets=[listener], threads=8, clear_untrusted_proxy_headers=True)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        yield _address(listener)
    finally:
        # A closed server still waits for its connections, and a browser keeps an idle one open for a minute.
        server.trigger.pull_trigger(lambda: [channel.handle_close() for channel in [*server.active_channels.values()]])
        server.trigger.pull_trigger(server.close)
        thread.join()


def _address(listener: socket.socket) -> str:
    host, port = listener.getsockname()
    return f"{host}:{port}"
