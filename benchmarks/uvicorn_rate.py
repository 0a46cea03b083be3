"""The rate of requests without AI that uvicorn serves with a middleware, against the rate without one."""

from __future__ import annotations

import asyncio
import multiprocessing
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import uvicorn
from starlette.middleware import Middleware

from ldai_integrations import Tracking
from ldai_integrations.asgi import ASGITrackingMiddleware

from ._launchdarkly import local_client
from ._measure import Contestant, Figure, interleaved, ratio
from .asgi_overhead import application, peers

_CONNECTIONS, _REQUESTS, _ROUNDS = 8, 400, 60
_REQUEST = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"
_SECONDS_TO_START = 30.0


def figures() -> list[Figure]:
    """Measure servers that take turns, each in its own process, through connections that always have a request."""
    names = ["bare", "ours", *peers()]
    with ExitStack() as servers:
        contestants = {name: _contestant(servers.enter_context(_served(name))) for name in names}
        times = interleaved(contestants, rounds=_ROUNDS)
    rest = ", ".join(f"{name} {ratio(times, 'bare', name):.2f}" for name in names[2:])
    return [
        Figure(
            what="the same under uvicorn, rate / bare",
            value=ratio(times, "bare", "ours"),
            at_least=0.97,
            note=f"others: {rest}",
        )
    ]


@contextmanager
def _served(name: str) -> Iterator[int]:
    """Serve an application until the block is left; yield the port."""
    # asyncio sets TCP_NODELAY only on sockets whose protocol is named.
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        server = multiprocessing.get_context("spawn").Process(target=_serve, args=(name, listener), daemon=True)
        server.start()
        port = listener.getsockname()[1]
    try:
        _wait_for(port)
        yield port
    finally:
        server.terminate()
        server.join()


def _serve(name: str, listener: socket.socket) -> None:
    with local_client() as (client, _events):
        ours = Middleware(ASGITrackingMiddleware, tracking=Tracking(client))
        stack = {"bare": [], "ours": [ours]}[name] if name in {"bare", "ours"} else [peers()[name]]
        server = uvicorn.Server(uvicorn.Config(application(stack), log_level="critical", access_log=False))
        server.run(sockets=[listener])


def _wait_for(port: int) -> None:
    deadline = time.monotonic() + _SECONDS_TO_START
    while True:
        with socket.create_connection(("127.0.0.1", port), timeout=_SECONDS_TO_START) as connection:
            connection.sendall(_REQUEST)
            if connection.recv(1) or time.monotonic() > deadline:
                return


class _Client(asyncio.Protocol):
    """A client that sends the next request as soon as the answer has arrived."""

    def __init__(self, requests: int, done: asyncio.Future[None]) -> None:
        self._left = requests
        self._done = done

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.write(_REQUEST)

    def data_received(self, data: bytes) -> None:
        """Count an answer when its body has arrived; uvicorn may send head and body separately."""
        if not data.endswith(b"ok"):
            return
        self._left -= 1
        if self._left:
            self._transport.write(_REQUEST)
        else:
            self._transport.close()
            self._done.set_result(None)


def _contestant(port: int) -> Contestant:
    async def ask() -> float:
        loop = asyncio.get_running_loop()
        done = [loop.create_future() for _ in range(_CONNECTIONS)]
        begun = time.perf_counter()
        for future in done:
            client = _Client(_REQUESTS // _CONNECTIONS, future)
            await loop.create_connection(lambda client=client: client, "127.0.0.1", port)  # type: ignore[misc]  # bound now
        await asyncio.gather(*done)
        return (time.perf_counter() - begun) / _REQUESTS

    return lambda: asyncio.run(ask())
