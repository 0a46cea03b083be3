"""Applications for servers: one that is given no tracking, and one that opens no run."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from ldai_integrations import current_run, track_ai

from .programs import make_tracking, track

if os.environ.get("APPLICATION") == "preloaded":
    tracking = make_tracking()


@track_ai(config_key="chat")
def answer(request: Request) -> Response:
    """Answer with the id of the run, on a worker thread, where the first request makes the tracking."""
    current_run().add_usage(input_tokens=3, output_tokens=2)
    return PlainTextResponse(current_run().id)


asgi = Starlette(routes=[Route("/", answer)])


@track_ai(config_key="chat")
def _answer() -> str:
    current_run().add_usage(input_tokens=3, output_tokens=2)
    return current_run().id


def lazy_wsgi(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    """Answer with the id of the run, on a thread of the server."""
    body = _answer().encode()
    start_response("200 OK", [("content-length", str(len(body)))])
    return [body]


def wsgi(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    """Track five events of the application, as a view does that only sends custom metrics."""
    track(tracking.client, "view")
    start_response("200 OK", [("content-length", "0")])
    return [b""]
