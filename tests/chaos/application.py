"""A Flask and an ASGI application that answer with the id of a run, for every server of the chaos tests."""

from __future__ import annotations

import json
import logging
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import flask
from ldclient import Context

from ldai_integrations import Settings, Tracking, current_run, track_ai
from ldai_integrations.asgi import ASGIFeedback, ASGITrackingMiddleware
from ldai_integrations.feedback import FeedbackSettings
from ldai_integrations.flask import AITracking, feedback_blueprint
from ldai_integrations.typing import Receive, Scope, Send

VOTER = Context.create("ada")


def let_the_clock_jump(file: Path) -> None:
    """Let ``time.time`` be wrong by as many seconds as a file says, which is looked at twice a second."""
    real: Callable[[], float] = time.time
    offset, read_at = 0.0, 0.0

    def wrong() -> float:
        nonlocal offset, read_at
        now = real()
        if now - read_at > 0.5:
            offset, read_at = float(file.read_text() or 0), now
        return now + offset

    time.time = wrong


handler = logging.StreamHandler()
handler.setFormatter(logging.Formatter("%(process)d %(message)s"))
logging.getLogger("ldai_integrations").addHandler(handler)
let_the_clock_jump(Path(os.environ["CHAOS_CLOCK"]))
# At import, which is before the fork of servers that preload.
tracking = Tracking.from_env(
    settings=Settings(
        feedback=FeedbackSettings(
            config_keys={"chat"},
            secret="a secret of the tests",
            store=os.environ["CHAOS_STORE"],
            requests_per_minute=0,
        )
    )
)


@track_ai(config_key="chat")
def answer() -> str:
    """Make a run, and return what the client has to know of it: nothing, if there is no AI Config yet."""
    run = current_run()
    run.add_usage(input_tokens=3, output_tokens=2)
    runs = [run.id] if run.config.enabled else []
    return json.dumps({"runs": runs, "token": run.feedback_token if runs else None, "pid": os.getpid()})


def answer_of_child() -> str:
    """Fork a child that makes three runs and sends them, and return them when it has ended."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            runs = [run for _ in range(3) for run in json.loads(answer())["runs"]]
            thread = threading.Thread(target=tracking.flush, args=(20,))  # on an event loop it would not wait
            thread.start()
            thread.join()
            if not tracking.stats().pending:
                os.write(writer, json.dumps(runs).encode())
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        runs = json.loads(pipe.read() or b"[]")
    os.waitpid(child, 0)
    return json.dumps({"runs": runs, "token": None, "pid": os.getpid()})


def _make_wsgi() -> flask.Flask:
    app = flask.Flask(__name__)
    AITracking(app, tracking, ld_context=lambda _request: VOTER)
    app.register_blueprint(feedback_blueprint())
    app.add_url_rule("/", view_func=answer)
    app.add_url_rule("/fork", view_func=answer_of_child)
    return app


async def _asgi(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "lifespan":
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})
    elif scope["path"].startswith("/feedback"):
        await _feedback(scope, receive, send)
    else:
        body = (answer_of_child() if scope["path"] == "/fork" else answer()).encode()
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})


_feedback = ASGIFeedback(tracking)
wsgi = _make_wsgi()
asgi: Any = ASGITrackingMiddleware(_asgi, tracking, ld_context=lambda _scope: VOTER)
