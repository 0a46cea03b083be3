"""The application cannot tell that we are there: every message and every byte is what it is without us."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any
from wsgiref.validate import validator

import pytest
from django.utils.decorators import sync_and_async_middleware

import ldai_integrations.django
from ldai_integrations import Tracking
from ldai_integrations.asgi import ASGITrackingMiddleware
from ldai_integrations.wsgi import WSGITrackingMiddleware

from ..integrations.asgi_calls import DISCONNECT, REQUEST, acall, http_scope
from ..integrations.test_wsgi import environ
from .cases import CASES, Case
from .conftest import INTEGRATIONS
from .drivers import asgi, bottle, django, falcon, fastapi, flask, litestar, quart, starlette, wsgi
from .servers import serve_wsgi

_DRIVERS = (asgi, bottle, django, falcon, fastapi, flask, litestar, quart, starlette, wsgi)
_ASKED = [case for case in CASES if case.name != "slow"]
_IDS = [f"{case.method} {case.name}" for case in _ASKED]


class Ordered:
    """Hold an ASGI application and its server to the order of messages that the specification demands."""

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve one request."""
        received, sent = "request", "start"

        async def receiving() -> Any:
            nonlocal received
            message = await receive()
            assert message["type"] == "http.disconnect" or (message["type"], received) == ("http.request", "request")
            if message["type"] == "http.disconnect" or not message.get("more_body"):
                received = "disconnect"
            return message

        async def sending(message: Any) -> None:
            nonlocal sent
            assert message["type"] == {"start": "http.response.start", "body": "http.response.body"}[sent]
            if sent == "start":
                assert all(isinstance(part, bytes) for pair in message["headers"] for part in pair)
                sent = "body"
            elif not message.get("more_body"):
                sent = "nothing"
            await send(message)

        await self._app(scope, receiving, sending)
        assert sent == "nothing"


def _without_us(patch: pytest.MonkeyPatch) -> None:
    """Take us out of the drivers: decorators decorate nothing, middlewares are none."""

    def middleware(app: Any = None, *args: Any, **kwargs: Any) -> Any:
        return app if app is not None else SimpleNamespace(init_app=lambda _app: None)

    @sync_and_async_middleware  # type: ignore[untyped-decorator]  # Django is untyped
    def none(get_response: Any) -> Any:
        return get_response

    for driver in _DRIVERS:
        for name in ("ASGITrackingMiddleware", "WSGITrackingMiddleware", "TrackingMiddleware", "AITracking"):
            if hasattr(driver, name):
                patch.setattr(driver, name, middleware)
        if hasattr(driver, "track_ai"):
            patch.setattr(driver, "track_ai", lambda **options: lambda handler: handler)
    patch.setattr(ldai_integrations.django, "TrackingMiddleware", none)


def _wsgi_answer(app: Any, case: Case) -> list[Any]:
    """Return what a WSGI application does: what it calls, its chunks one by one, the exception it raises."""
    seen: list[Any] = []

    def start_response(status: str, headers: Any, exc_info: Any = None) -> Any:
        seen.append((status, headers, exc_info is not None))
        return seen.append

    request = environ(f"/{case.name}", REQUEST_METHOD=case.method)
    body: Any = ()
    try:
        body = app(request, start_response)
        seen.extend(bytes(chunk) for chunk in body)
    except Exception as exc:
        seen.append((type(exc), str(exc)))
    finally:
        if hasattr(body, "close"):
            body.close()
    return seen


def _asgi_answer(app: Any, case: Case) -> list[Any]:
    """Return what an ASGI application sends, message by message, and the exception it raises."""
    seen: list[Any] = []

    async def record(scope: Any, receive: Any, send: Any) -> None:
        async def sending(message: Any) -> None:
            headers = {"headers": [tuple(pair) for pair in message["headers"]]} if "headers" in message else {}
            seen.append({**message, **headers})
            await send(message)

        try:
            await app(scope, receive, sending)
        except Exception as exc:
            seen.append((type(exc), str(exc)))

    headers = [(b"host", b"testserver")]
    asyncio.run(_served(record, http_scope(f"/{case.name}", method=case.method, headers=headers)))
    return seen


async def _served(app: Any, scope: dict[str, Any]) -> None:
    """A server whose client leaves after the last byte."""
    asked, complete = False, asyncio.Event()

    async def receive() -> Any:
        nonlocal asked
        if not asked:
            asked = True
            return REQUEST
        await complete.wait()
        return DISCONNECT

    async def send(message: Any) -> None:
        if message["type"] == "http.response.body" and not message.get("more_body"):
            complete.set()

    await app(scope, receive, send)


@pytest.mark.parametrize("name", INTEGRATIONS)
def test_responses_are_the_same_with_and_without_us(
    name: str, quiet_tracking: Tracking, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Status, headers, every chunk or message in order, and what is raised, for each case of the contract."""
    build, serve = INTEGRATIONS[name]
    answer: Callable[[Any, Case], list[Any]] = _wsgi_answer if serve is serve_wsgi else _asgi_answer
    ours = build(quiet_tracking)
    with monkeypatch.context() as patch:
        _without_us(patch)
        theirs = build(quiet_tracking)

    for case in _ASKED:
        assert answer(ours, case) == answer(theirs, case), case.name


@pytest.mark.parametrize("case", [case for case in _ASKED if not case.truncated and case.name != "raise"], ids=str)
def test_asgi_messages_are_in_order_on_both_sides(quiet_tracking: Tracking, case: Case) -> None:
    """A validator of the specification's order finds nothing around the middleware, nor below it."""
    inner = Ordered(asgi.application)
    app = Ordered(ASGITrackingMiddleware(inner, quiet_tracking, config_key="support-bot"))

    assert asyncio.run(acall(app, http_scope(f"/{case.name}", method=case.method)))


def test_the_validator_finds_what_is_out_of_order() -> None:
    """A body before its start, and a message after the last, are found."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.body", "body": b""})

    with pytest.raises(AssertionError):
        asyncio.run(acall(Ordered(app), http_scope()))


@pytest.mark.parametrize("case", [case for case in _ASKED if not case.truncated and case.name != "raise"], ids=str)
def test_wsgi_is_valid_on_both_sides(quiet_tracking: Tracking, case: Case) -> None:
    """The standard library's validator finds nothing around the middleware, nor below it."""
    inner = validator(wsgi.application)
    app = validator(WSGITrackingMiddleware(inner, quiet_tracking, config_key="support-bot"))

    assert _wsgi_answer(app, case)
