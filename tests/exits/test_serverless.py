"""Where a platform stops the CPU between requests, events have arrived when a request is over."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from ldai_integrations import Settings, Tracking, track_ai
from ldai_integrations.asgi import ASGITrackingMiddleware
from ldai_integrations.delivery import is_serverless
from ldai_integrations.devserver import DevServer
from ldai_integrations.tracking import services_of
from ldai_integrations.wsgi import WSGITrackingMiddleware

from .process import arrived

_PLATFORMS = {
    "AWS_LAMBDA_FUNCTION_NAME": "support",
    "K_SERVICE": "support",
    "FUNCTIONS_WORKER_RUNTIME": "python",
    "VERCEL": "1",
}


@pytest.fixture
def tracking(http_tracking: Tracking, monkeypatch: pytest.MonkeyPatch) -> Tracking:
    """Give a tracking that was made in a Lambda function."""
    monkeypatch.setenv("AWS_LAMBDA_FUNCTION_NAME", "support")
    return Tracking(http_tracking.client, settings=Settings(flush_timeout=5))


def _make_run(tracking: Tracking) -> None:
    with track_ai(config_key="chat", tracking=tracking) as run:
        run.add_usage(input_tokens=3, output_tokens=2)


def test_platforms_are_known_by_their_variables() -> None:
    """Each platform's own variable tells; an ordinary machine has none."""
    assert not is_serverless({"PATH": "/usr/bin", "VERCEL": ""})
    assert all(is_serverless({name: value}) for name, value in _PLATFORMS.items())


@pytest.mark.parametrize("when", ["shutdown", "never"])
def test_what_the_settings_say_wins(http_tracking: Tracking, monkeypatch: pytest.MonkeyPatch, when: Any) -> None:
    """A platform decides only where the settings leave it open."""
    monkeypatch.setenv("VERCEL", "1")
    assert not services_of(Tracking(http_tracking.client, settings=Settings(flush=when))).flushing.follows_requests


def test_a_function_without_an_integration(tracking: Tracking, dev_server: DevServer) -> None:
    """A decorated function's events are there when it returns, a failed one's too."""

    @track_ai(config_key="chat", tracking=tracking)
    def handler(event: dict[str, Any], _context: None) -> str:
        return str(event["text"])

    assert handler({"text": "Hello."}, None) == "Hello."
    assert len(arrived(dev_server)) == 1
    with pytest.raises(KeyError):
        handler({}, None)
    assert any(event.get("key") == "$ld:ai:generation:error" for event in dev_server.events())


def test_a_coroutine_without_an_integration(tracking: Tracking, dev_server: DevServer) -> None:
    """The same for what is awaited, a block, and what is iterated."""

    @track_ai(config_key="chat", tracking=tracking)
    async def handler() -> str:
        return "Hello."

    @track_ai(config_key="chat", tracking=tracking)
    async def words() -> Any:
        yield "Hello."

    async def main() -> list[int]:
        counts = []
        await handler()
        counts.append(len(arrived(dev_server)))
        async with track_ai(config_key="chat", tracking=tracking):
            pass
        counts.append(len(arrived(dev_server)))
        assert [word async for word in words()] == ["Hello."]
        counts.append(len(arrived(dev_server)))
        return counts

    assert asyncio.run(main()) == [1, 2, 3]


def test_a_coroutine_that_is_closed(tracking: Tracking) -> None:
    """Closing it is never answered by waiting, which Python forbids."""

    @track_ai(config_key="chat", tracking=tracking)
    async def handler() -> None:
        await asyncio.Event().wait()

    async def block() -> None:
        async with track_ai(config_key="chat", tracking=tracking):
            await asyncio.Event().wait()

    async def main() -> None:
        for coroutine in (handler(), block()):
            coroutine.send(None)
            coroutine.close()

    asyncio.run(main())


def test_a_wsgi_request(tracking: Tracking, dev_server: DevServer) -> None:
    """Events are there when the server closes the body."""

    def app(_environ: Any, start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [])
        _make_run(tracking)
        yield b"Hello."

    body: Any = WSGITrackingMiddleware(app, tracking)({"REQUEST_METHOD": "GET"}, lambda *_: lambda _data: None)
    assert list(body) == [b"Hello."]
    assert arrived(dev_server) == []
    body.close()
    assert len(arrived(dev_server)) == 1


async def _ask(app: Any, on_last_byte: Callable[[], None]) -> None:
    async def send(message: Any) -> None:
        if message["type"] == "http.response.body":
            on_last_byte()

    await app({"type": "http", "method": "GET", "path": "/", "headers": []}, None, send)


def _asgi(tracking: Tracking) -> Any:
    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        _make_run(tracking)
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body", "body": b"Hello."})

    return ASGITrackingMiddleware(app, tracking)


def test_an_asgi_request(tracking: Tracking, dev_server: DevServer) -> None:
    """Events are there when the application returns; the last byte has not waited, nor has the event loop."""

    async def main() -> int:
        dev_server.inject("/bulk", delay=0.5)
        before: list[int] = []
        ticks = 0
        request = asyncio.ensure_future(_ask(_asgi(tracking), lambda: before.append(len(arrived(dev_server)))))
        while not request.done():
            await asyncio.sleep(0.01)
            ticks += 1
        assert before == [0]
        return ticks

    assert asyncio.run(main()) > 5
    assert len(arrived(dev_server)) == 1


def test_threads_that_are_frozen(http_tracking: Tracking, monkeypatch: pytest.MonkeyPatch) -> None:
    """A request ends in time where the loop has no thread to spare, and the endpoint does not answer."""
    monkeypatch.setenv("K_SERVICE", "support")
    tracking = Tracking(http_tracking.client, settings=Settings(flush_timeout=0.1))
    thaw = threading.Event()

    async def main() -> float:
        loop = asyncio.get_running_loop()
        loop.set_default_executor(ThreadPoolExecutor(1))
        frozen = loop.run_in_executor(None, thaw.wait, 60)
        begun = time.monotonic()
        await _ask(_asgi(tracking), lambda: None)
        took = time.monotonic() - begun
        thaw.set()
        await frozen
        return took

    assert asyncio.run(main()) < 30  # the frozen thread holds out for 60
