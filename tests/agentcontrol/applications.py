"""A Flask and a Starlette application that use the newer SDK in every way; each run answers without a provider."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import flask
from launchdarkly_ai_server import config, graph
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from ldai_integrations import Tracking, track_ai
from ldai_integrations.agentcontrol import call, connect, iterate
from ldai_integrations.asgi import ASGITrackingMiddleware

from ..exits.reporting import tell_ready

USER = {"kind": "user", "key": "ada"}
# Counts that no tokenizer would produce.
USAGE = {"input": 7317, "output": 3863, "total": 11180}


class Handler:
    """A provider handler that answers what it is asked for."""

    provides_for = ("OpenAI", "completion")
    capture_content = False
    has_stream = True

    async def __call__(self, served: Any, question: str, *_: Any) -> dict[str, Any]:
        """Answer at once, after a second, or not at all."""
        is_judge = "evaluationMetricKey" in served
        if "wait" in question and not is_judge:
            tell_ready()
            await asyncio.sleep(1)
        if "fail" in question:
            raise RuntimeError("no")
        return {"output": '{"score": 0.75, "reasoning": "Good"}' if is_judge else "Hello", "usage": USAGE}

    async def stream(self, _served: Any, question: str, *_: Any) -> AsyncIterator[dict[str, Any]]:
        """Answer in parts."""

        async def events() -> AsyncIterator[dict[str, Any]]:
            if question == "wait":
                tell_ready()
                await asyncio.sleep(1)
            for _ in range(2000 if question == "endless" else 2):
                await asyncio.sleep(0.01)
                yield {"type": "chunk", "text": "Hello "}
            yield {"type": "done", "output": "Hello", "usage": USAGE}

        return events()


# At import, which is before the fork of a server that preloads.
tracking = Tracking.from_env()
connect(tracking)
chat, judged = config(key="chat", handler=Handler()), config(key="judged", handler=Handler())
flow = graph("flow", handlers=[Handler()])

wsgi = flask.Flask(__name__)


@wsgi.get("/invoke/<question>")
@track_ai(config_key="chat", tracking=tracking)
def invoke(question: str) -> str:
    """Answer with Flask."""
    return str(call(chat.invoke(question, USER)).response)


@wsgi.get("/stream/<question>")
@track_ai(config_key="chat", tracking=tracking)
def stream(question: str) -> Iterator[str]:
    """Stream with Flask."""
    for event in iterate(chat.stream(question, USER)):
        if event["type"] == "chunk":
            yield event["text"]


@wsgi.get("/judged/<question>")
@track_ai(config_key="judged", tracking=tracking)
def ask_judged(question: str) -> str:
    """Answer with Flask, and have a judge score it."""
    return str(call(judged.invoke(question, USER)).response)


@wsgi.get("/graph/<question>")
def run_graph(question: str) -> str:
    """Run a graph with Flask."""
    return str(call(flow.invoke(question, USER)).response)


@track_ai(config_key="chat", tracking=tracking)
async def ainvoke(request: Request) -> Response:
    """Answer with Starlette."""
    return PlainTextResponse((await chat.invoke(request.path_params["question"], USER)).response)


@track_ai(config_key="chat", tracking=tracking)
async def astream(request: Request) -> Response:
    """Stream with Starlette."""

    async def texts() -> AsyncIterator[str]:
        async for event in chat.stream(request.path_params["question"], USER):
            if event["type"] == "chunk":
                yield event["text"]

    return StreamingResponse(texts())


@track_ai(config_key="judged", tracking=tracking)
async def aask_judged(request: Request) -> Response:
    """Answer with Starlette, and have a judge score it."""
    return PlainTextResponse((await judged.invoke(request.path_params["question"], USER)).response)


async def arun_graph(request: Request) -> Response:
    """Run a graph with Starlette."""
    return PlainTextResponse((await flow.invoke(request.path_params["question"], USER)).response)


asgi: Any = ASGITrackingMiddleware(
    Starlette(
        routes=[
            Route("/invoke/{question}", ainvoke),
            Route("/stream/{question}", astream),
            Route("/judged/{question}", aask_judged),
            Route("/graph/{question}", arun_graph),
        ]
    ),
    tracking,
)
