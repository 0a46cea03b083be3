"""The integration for Starlette and FastAPI."""

from __future__ import annotations

import gc
import weakref
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

from fastapi import Depends, FastAPI
from ldclient import Context
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.testclient import TestClient

from ldai_integrations import Run, RunRecord, Tracking, current_run, track_ai
from ldai_integrations.asgi import ASGITrackingMiddleware
from ldai_integrations.devserver import DevServer
from ldai_integrations.starlette import TrackingMiddleware, lifespan, run_dependency

from ..conftest import always_chat


@track_ai(config_key="chat")
def ask() -> str:
    """Answer in a run."""
    return current_run().ld_context.key


def id_of_run(run: Annotated[Run, Depends(run_dependency)]) -> str:
    """Depend on the run."""
    return run.id


def test_callables_are_given_the_request(tracking: Tracking, records: list[RunRecord]) -> None:
    """The callables for LD context, key and variables receive the request."""
    app = FastAPI()
    app.add_middleware(
        TrackingMiddleware,
        tracking=tracking,
        config_key=lambda request: request.query_params.get("config"),
        variables=lambda request: {"company": request.headers["X-Company"]},
        ld_context=lambda request: Context.create(request.headers["X-User"]),
    )

    @app.get("/")
    async def prompt() -> list[str]:
        run = current_run()
        return [run.ld_context.key, run.messages()[0]["content"]]

    headers = {"X-User": "ada", "X-Company": "Acme & Sons"}
    answer = TestClient(app).get("/?config=chat", headers=headers)

    assert answer.json() == ["ada", "You help Acme & Sons."]
    assert [record.config_key for record in records] == ["chat"]


def test_the_run_as_a_dependency(tracking: Tracking) -> None:
    """``Depends`` provides the run in endpoints and in dependencies, sync and async."""
    app = FastAPI()
    app.add_middleware(ASGITrackingMiddleware, tracking=tracking, config_key=always_chat)

    @app.get("/")
    async def endpoint(run: Annotated[Run, Depends(run_dependency)], other: Annotated[str, Depends(id_of_run)]) -> bool:
        return run.id == other == current_run().id

    assert TestClient(app).get("/").json() is True


def test_outside_of_a_run_the_dependency_does_nothing() -> None:
    """Outside of a run, the dependency returns a run that does nothing."""
    app = FastAPI()

    @app.get("/")
    def endpoint(run: Annotated[Run, Depends(run_dependency)]) -> bool:
        return run.config.enabled

    assert TestClient(app).get("/").json() is False


def test_the_lifespan_composes(dev_server: DevServer) -> None:
    """The application's own lifespan runs inside, its state is passed on, and events are flushed afterwards."""
    dev_server.clear()
    tracking = Tracking.from_env(environ={"LDAI_DEV_SERVER": dev_server.url})
    steps = []

    @asynccontextmanager
    async def own(app: Any) -> AsyncIterator[dict[str, str]]:
        steps.append("up")
        yield {"shop": "Acme"}
        steps.append("down")

    async def endpoint(request: Request) -> Response:
        with track_ai(config_key="chat", tracking=tracking):
            return PlainTextResponse(request.state.shop)

    app = Starlette(routes=[Route("/", endpoint)], lifespan=lifespan(tracking, own))
    with TestClient(app) as client:
        assert client.get("/").text == "Acme"
    arrived = {event["key"] for event in dev_server.events(config_key="chat")}
    tracking.close()

    assert steps == ["up", "down"]
    assert "$ld:ai:generation:success" in arrived


def test_a_lifespan_of_its_own(tracking: Tracking) -> None:
    """An application without a lifespan of its own can use the library's."""
    with TestClient(Starlette(lifespan=lifespan(tracking))) as client:
        assert client.get("/").status_code == 404


def test_the_middleware_flushes_at_shutdown(dev_server: DevServer) -> None:
    """With the middleware, the application needs no lifespan of the library."""
    dev_server.clear()
    tracking = Tracking.from_env(environ={"LDAI_DEV_SERVER": dev_server.url})
    app = Starlette(routes=[Route("/", lambda request: PlainTextResponse("Hello"))])
    app.add_middleware(TrackingMiddleware, tracking=tracking, config_key=always_chat)
    with TestClient(app) as client:
        client.get("/")
    arrived = {event["key"] for event in dev_server.events(config_key="chat")}
    tracking.close()

    assert "$ld:ai:generation:success" in arrived


def test_a_run_that_is_kept_keeps_no_exception(tracking: Tracking, records: list[RunRecord]) -> None:
    """Starlette raises an exception again after the answer with status 500. The run has ended, and does not keep it."""
    kept, exceptions = [], []

    class BrokenError(Exception): ...

    async def endpoint(_request: Request) -> Response:
        kept.append(current_run())
        exceptions.append(weakref.ref(exc := BrokenError()))
        raise exc

    app = ASGITrackingMiddleware(Starlette(routes=[Route("/", endpoint)]), tracking, config_key=always_chat)

    assert TestClient(app, raise_server_exceptions=False).get("/").status_code == 500
    tracking.flush(5)
    records.clear()
    gc.collect()
    assert exceptions[0]() is None
    assert kept[0].finished
