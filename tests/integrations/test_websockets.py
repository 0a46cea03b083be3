"""Websockets of every ASGI framework: one run for each exchange, however the connection or the exchange ends."""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from typing import Any, TypeVar

import pytest
import quart
from fastapi import FastAPI, WebSocket
from ldclient import Context
from litestar import Litestar
from litestar import WebSocket as LitestarWebSocket
from litestar import websocket as litestar_websocket
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect
from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, CloseConnection, Event, Request, TextMessage

from ldai_integrations import RunRecord, Tracking, current_run, track_ai
from ldai_integrations.asgi import ASGITrackingMiddleware
from ldai_integrations.testing import OfflineLaunchDarkly, ai_config

from ..conftest import Clock
from ..contract.servers import Address, serve_asgi
from ..waiting import eventually

E = TypeVar("E", bound=Event)
Send = Callable[[str], Awaitable[None]]
Exchange = Callable[[str, Send], Awaitable[None]]

_IDLE_MS, _WORD_MS = 1_000, 20


def exchange_on(clock: Clock) -> Exchange:
    """Return what every framework's handler does with one message: stream two words of an answer."""

    @track_ai(config_key="chat")
    async def answer(message: str) -> AsyncIterator[str]:
        for word in (message, current_run().ld_context.key):
            clock.advance(_WORD_MS)
            yield word
            if message == "fail":
                raise RuntimeError("the model broke")
        while message == "endless":
            await asyncio.sleep(0.01)
            yield "more"

    async def exchange(message: str, send: Send) -> None:
        clock.advance(_IDLE_MS)  # waiting for the user is nobody's run
        async for word in answer(message):
            await send(word)

    return exchange


def starlette_app(exchange: Exchange) -> Any:
    """Serve exchanges with Starlette."""
    return Starlette(routes=[WebSocketRoute("/chat", _endpoint(exchange))])


def fastapi_app(exchange: Exchange) -> Any:
    """Serve exchanges with FastAPI."""
    app = FastAPI()

    @app.websocket("/chat")
    async def chat(websocket: WebSocket) -> None:
        await _endpoint(exchange)(websocket)

    return app


def _endpoint(exchange: Exchange) -> Callable[[WebSocket], Awaitable[None]]:
    async def chat(websocket: WebSocket) -> None:
        await websocket.accept()
        while (message := await websocket.receive_text()) != "bye":
            await exchange(message, websocket.send_text)
        await websocket.close()

    return chat


def quart_app(exchange: Exchange) -> Any:
    """Serve exchanges with Quart, whose websocket is a global."""
    app = quart.Quart(__name__)

    @app.websocket("/chat")
    async def chat() -> None:
        while (message := str(await quart.websocket.receive())) != "bye":
            await exchange(message, quart.websocket.send)

    return app


def litestar_app(exchange: Exchange) -> Any:
    """Serve exchanges with Litestar."""

    @litestar_websocket("/chat")
    async def chat(socket: LitestarWebSocket[Any, Any, Any]) -> None:
        await socket.accept()
        while (message := await socket.receive_text()) != "bye":
            await exchange(message, socket.send_text)
        await socket.close()

    return Litestar([chat], logging_config=None, openapi_config=None)


@pytest.fixture(params=[starlette_app, fastapi_app, quart_app, litestar_app])
def app(request: pytest.FixtureRequest, tracking: Tracking, clock: Clock) -> Any:
    """Give each framework's application, below the middleware."""
    application = request.param(exchange_on(clock))
    return ASGITrackingMiddleware(
        application, tracking, config_key="summary", ld_context=lambda scope: Context.create("ada")
    )


def outcomes(records: list[RunRecord]) -> list[tuple[str, str, int]]:
    """Return what each run was, how it ended, and how long it took."""
    return [(record.config_key, record.outcome, record.duration_ms) for record in records]


def test_each_exchange_is_a_run(app: Any, records: list[RunRecord]) -> None:
    """Each message is a run of its own, timed without the waiting, for the connection's LaunchDarkly context."""
    with TestClient(app).websocket_connect("/chat") as connection:
        for message in ("one", "two"):
            connection.send_text(message)
            assert [connection.receive_text(), connection.receive_text()] == [message, "ada"]
        connection.send_text("bye")
        with suppress(WebSocketDisconnect):
            connection.receive_text()

    assert outcomes(records) == [("chat", "success", 2 * _WORD_MS)] * 2
    assert len({record.run_id for record in records}) == 2


def test_an_edit_reaches_an_open_connection(no_leaks: None) -> None:
    """Each turn has the AI Config as it is then, so that one that is turned off is not served any longer."""
    seen = []

    async def talk(socket: WebSocket) -> None:
        await socket.accept()
        async for _ in socket.iter_text():
            async with track_ai(config_key="chat") as run:
                seen.append(run.config.enabled)
            await socket.send_text("done")

    with OfflineLaunchDarkly({"chat": ai_config()}) as launchdarkly:
        app = ASGITrackingMiddleware(Starlette(routes=[WebSocketRoute("/chat", talk)]), launchdarkly.tracking)
        with TestClient(app).websocket_connect("/chat") as connection:
            for enabled in (True, False, True):
                launchdarkly.serve("chat", ai_config(enabled=enabled))
                connection.send_text("Hi")
                assert connection.receive_text() == "done"
    assert seen == [True, False, True]


def test_an_exchange_that_raises_is_an_error(app: Any, records: list[RunRecord]) -> None:
    """The run of the exchange is an error, earlier runs are unchanged, and the server receives the exception."""
    with suppress(RuntimeError, WebSocketDisconnect), TestClient(app).websocket_connect("/chat") as connection:
        for message in ("one", "fail"):
            connection.send_text(message)
            connection.receive_text()
        connection.receive_text()
        connection.receive_text()

    assert outcomes(records) == [("chat", "success", 2 * _WORD_MS), ("chat", "error", _WORD_MS)]


def test_a_client_that_leaves_cancels_the_exchange(app: Any, records: list[RunRecord]) -> None:
    """Closing the connection during an answer cancels its run, with a real server."""
    with serve_asgi(app, lifespan="off", ws="wsproto") as address, Client(address) as connection:
        connection.send(TextMessage("endless"))
        assert connection.receive(TextMessage).data == "endless"
        connection.leave()
        assert eventually(lambda: len(records) == 1)

    assert outcomes(records) == [("chat", "cancelled", 2 * _WORD_MS)]


def test_an_apology_to_a_client_that_has_left(tracking: Tracking, records: list[RunRecord]) -> None:
    """An exception that is raised because the client has left cancels the exchange, like the disconnect itself."""

    async def exchange() -> None:
        async with track_ai(config_key="chat", tracking=tracking):
            try:
                raise WebSocketDisconnect(1006)
            except Exception:
                # What Starlette raises if the handler then sends a message about the error.
                raise RuntimeError('Cannot call "send" once a close message has been sent.')  # noqa: B904

    with pytest.raises(RuntimeError, match="close message"):
        asyncio.run(exchange())
    assert [record.outcome for record in records] == ["cancelled"]


class Client:
    """Speak to a websocket."""

    def __init__(self, address: Address) -> None:
        self._socket = socket.create_connection(address, timeout=10)
        self._protocol = WSConnection(ConnectionType.CLIENT)

    def __enter__(self) -> Client:
        self.send(Request(host="127.0.0.1", target="/chat"))
        self.receive(AcceptConnection)
        return self

    def __exit__(self, *_exc: object) -> None:
        self._socket.close()

    def send(self, event: Event) -> None:
        """Send an event."""
        self._socket.sendall(self._protocol.send(event))

    def receive(self, kind: type[E]) -> E:
        """Wait for an event of one kind."""
        while True:
            for event in self._protocol.events():
                assert isinstance(event, kind), event
                return event
            self._protocol.receive_data(self._socket.recv(65_536))

    def leave(self) -> None:
        """Close the connection, as a browser does that goes to another page."""
        self.send(CloseConnection(code=1001))
        self._socket.close()


@pytest.mark.skipif(sys.version_info < (3, 11), reason="Python 3.10 has no task groups")
@pytest.mark.parametrize("apologizes", [False, True])
def test_a_task_group_whose_client_has_left(apologizes: bool, tracking: Tracking, records: list[RunRecord]) -> None:
    """A task group raises a group of exceptions: the run is cancelled if one of them says that the client has left."""

    async def receive() -> None:
        raise WebSocketDisconnect(1006)

    async def apologize() -> None:
        try:
            await asyncio.sleep(1)
        finally:
            if apologizes:
                raise RuntimeError('Cannot call "send" once a close message has been sent.')

    @track_ai(config_key="chat", tracking=tracking)
    async def exchange() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(apologize())
            group.create_task(receive())

    with pytest.raises(Exception, match="TaskGroup"):
        asyncio.run(exchange())
    assert [(record.outcome, record.error) for record in records] == [("cancelled", None)]


@pytest.mark.skipif(sys.version_info < (3, 11), reason="Python 3.10 has no task groups")
def test_an_exception_that_is_taken_out_of_its_group(tracking: Tracking, records: list[RunRecord]) -> None:
    """An exception that a framework takes out of the group that it is in is the error of the run."""

    async def fail() -> None:
        raise KeyError

    @track_ai(config_key="chat", tracking=tracking)
    async def exchange() -> None:
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(fail())
        except Exception as exc:
            raise exc.exceptions[0]  # type: ignore[attr-defined]  # noqa: B904

    with pytest.raises(KeyError):
        asyncio.run(exchange())
    assert [(record.outcome, type(record.error)) for record in records] == [("error", KeyError)]
