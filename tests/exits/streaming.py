"""The application of one framework, named by ``FRAMEWORK``, that streams for as many seconds as the path says."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

from starlette.websockets import WebSocket

from ldai_integrations import current_run, track_ai
from ldai_integrations.asgi import ASGITrackingMiddleware

from .reporting import make_tracking

tracking = make_tracking()


def words(seconds: float) -> Iterator[str]:
    """Stream on a thread: the id of the run, words, and an end."""
    yield current_run().id + "\n"
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        time.sleep(0.05)
        yield "more\n"
    yield "end\n"


async def awords(seconds: float) -> AsyncIterator[str]:
    """Stream the same on an event loop."""
    yield current_run().id + "\n"
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        await asyncio.sleep(0.05)
        yield "more\n"
    yield "end\n"


def flask() -> Any:
    """Stream with Flask."""
    from flask import Flask, Response

    from ldai_integrations.flask import AITracking

    app = Flask(__name__)

    @app.get("/<float:seconds>")
    @track_ai(config_key="chat")
    def stream(seconds: float) -> Response:
        return Response(words(seconds), mimetype="text/plain")

    AITracking(app, tracking)
    return app


def fastapi() -> Any:
    """Stream with FastAPI, over HTTP and over websockets, where runs also wait for what the client says."""
    from fastapi import FastAPI
    from fastapi.responses import StreamingResponse

    app = FastAPI()
    app.add_middleware(ASGITrackingMiddleware, tracking=tracking)

    async def stream(seconds: float) -> StreamingResponse:
        return StreamingResponse(awords(seconds), media_type="text/plain")

    async def answer(websocket: WebSocket) -> None:
        await websocket.accept()
        async for word in track_ai(config_key="chat")(awords)(60):
            await websocket.send_text(word)

    async def ask(websocket: WebSocket) -> None:
        await websocket.accept()
        async with track_ai(config_key="chat") as run:
            await websocket.send_text(run.id + "\n")
            await websocket.receive_text()

    app.add_api_route("/{seconds}", track_ai(config_key="chat")(stream))
    app.add_api_websocket_route("/answer", answer)
    app.add_api_websocket_route("/ask", ask)
    return app


def django_wsgi() -> Any:
    """Stream with Django under WSGI."""

    @track_ai(config_key="chat")
    def stream(_request: Any, seconds: str) -> Any:
        from django.http import StreamingHttpResponse

        return StreamingHttpResponse(words(float(seconds)), content_type="text/plain")

    _configure_django(stream)
    from django.core.wsgi import get_wsgi_application

    return get_wsgi_application()


def django_asgi() -> Any:
    """Stream with Django under ASGI, which knows no lifespan."""

    @track_ai(config_key="chat")
    async def stream(_request: Any, seconds: str) -> Any:
        from django.http import StreamingHttpResponse

        return StreamingHttpResponse(awords(float(seconds)), content_type="text/plain")

    _configure_django(stream)
    from django.core.asgi import get_asgi_application

    return get_asgi_application()


def _configure_django(view: Any) -> None:
    from django.conf import settings
    from django.urls import path

    settings.configure(
        ALLOWED_HOSTS=["*"],
        LDAI={"tracking": tracking},
        LOGGING_CONFIG=None,
        MIDDLEWARE=["ldai_integrations.django.TrackingMiddleware"],
        ROOT_URLCONF=(path("<seconds>", view),),
        SECRET_KEY="tests",
    )


app = globals()[os.environ["FRAMEWORK"]]()
