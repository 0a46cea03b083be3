"""One running application per integration, and what it reported."""

from __future__ import annotations

import gc
import queue
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import pytest

from ldai_integrations import RunRecord, Tracking, run_finished
from ldai_integrations.devserver import DevServer
from ldai_integrations.tracking import services_of

from .cases import CONFIG_KEY, DISABLED_KEY, INNER_KEY
from .drivers import asgi, bottle, django, falcon, fastapi, flask, litestar, quart, starlette, wsgi
from .servers import Address, serve_asgi, serve_asgi_without_lifespan, serve_wsgi

Build = Callable[[Tracking], Any]
Serve = Callable[[Any], AbstractContextManager[Address]]

INTEGRATIONS: dict[str, tuple[Build, Serve]] = {
    "wsgi": (wsgi.middleware, serve_wsgi),
    "flask decorator": (flask.decorator, serve_wsgi),
    "flask extension and decorator": (flask.extension_and_decorator, serve_wsgi),
    "flask extension": (flask.extension, serve_wsgi),
    "asgi": (asgi.middleware, serve_asgi),
    "starlette decorator": (starlette.decorator, serve_asgi),
    "starlette middleware and decorator": (starlette.middleware_and_decorator, serve_asgi),
    "starlette middleware": (starlette.middleware, serve_asgi),
    "fastapi decorator": (fastapi.decorator, serve_asgi),
    "fastapi middleware and decorator": (fastapi.middleware_and_decorator, serve_asgi),
    "quart decorator": (quart.decorator, serve_asgi),
    "quart middleware and decorator": (quart.middleware_and_decorator, serve_asgi),
    "litestar decorator": (litestar.decorator, serve_asgi),
    "litestar middleware and decorator": (litestar.middleware_and_decorator, serve_asgi),
    "bottle decorator": (bottle.decorator, serve_wsgi),
    "bottle middleware and decorator": (bottle.middleware_and_decorator, serve_wsgi),
    "bottle middleware": (bottle.middleware, serve_wsgi),
    "falcon middleware, wsgi": (falcon.wsgi_middleware, serve_wsgi),
    "falcon middleware and decorator, asgi": (falcon.asgi_middleware_and_decorator, serve_asgi),
    "django decorator, wsgi": (django.wsgi_decorator, serve_wsgi),
    "django middleware and decorator, wsgi": (django.wsgi_middleware_and_decorator, serve_wsgi),
    "django middleware, wsgi": (django.wsgi_middleware, serve_wsgi),
    "django decorator, asgi": (django.asgi_decorator, serve_asgi_without_lifespan),
    "django middleware and decorator, asgi": (django.asgi_middleware_and_decorator, serve_asgi_without_lifespan),
}


def _flag(key: str, *, enabled: bool = True) -> dict[str, Any]:
    variation = {
        "_ldMeta": {"enabled": enabled, "variationKey": "only", "version": 1, "mode": "completion"},
        "model": {"name": "gpt-4o-mini"},
        "provider": {"name": "OpenAI"},
        "messages": [{"role": "system", "content": "You are helpful."}],
    }
    return {"key": key, "version": 1, "on": True, "fallthrough": {"variation": 0}, "variations": [variation]}


FLAGS = {
    "flags": {
        CONFIG_KEY: _flag(CONFIG_KEY),
        INNER_KEY: _flag(INNER_KEY),
        DISABLED_KEY: _flag(DISABLED_KEY, enabled=False),
    },
    "segments": {},
}


class ExplodingSink:
    """Fail on every record, as a sink of the user's might."""

    def emit(self, record: RunRecord) -> None:
        """Fail."""
        raise RuntimeError("the sink exploded")


@dataclass(frozen=True)
class Integration:
    """A running application."""

    name: str
    address: Address
    tracking: Tracking
    dev_server: DevServer

    def forget_calls(self) -> None:
        """Make runs without a provider call count again, as in a process that has not seen one."""
        services_of(self.tracking).reporter._keys_with_calls.clear()  # type: ignore[attr-defined]


class Records:
    """The records of one tracking's finished runs, in order."""

    def __init__(self) -> None:
        self._queue: queue.Queue[RunRecord] = queue.Queue()

    def __call__(self, config_key: str, *, record: RunRecord) -> None:
        """Receive a record."""
        self._queue.put(record)

    def next(self, timeout: float = 8.0) -> RunRecord:
        """Return the next record, discarded runs included."""
        return self._queue.get(timeout=timeout)

    def reported(self, timeout: float = 8.0) -> RunRecord:
        """Return the next record of a run that is not discarded."""
        while (record := self.next(timeout)).outcome == "discarded":
            pass
        return record

    def empty(self) -> bool:
        """Tell whether there is none left; a discarded run may end after its answer has arrived."""
        while not self._queue.empty():
            if self.next().outcome != "discarded":
                return False
        return True


@pytest.fixture(scope="module")
def dev_server() -> Iterator[DevServer]:
    """Serve the AI Configs of the contract."""
    with DevServer(FLAGS) as server:
        yield server


#: What a framework cannot do, and why its driver has no route for it.
IMPOSSIBLE = {
    ("falcon middleware and decorator, asgi", "slow"): "Falcon does not ask whether its client is still there",
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave out what a framework cannot do."""
    for item in items:
        params: dict[str, Any] = item.callspec.params if hasattr(item, "callspec") else {}
        why = IMPOSSIBLE.get((params.get("integration", ""), getattr(params.get("case"), "name", "")))
        if why is not None:
            item.add_marker(pytest.mark.skip(reason=why))


@pytest.fixture(params=INTEGRATIONS, scope="module")
def integration(request: pytest.FixtureRequest, dev_server: DevServer) -> Iterator[Integration]:
    """Serve one integration's application on a real socket, with a sink that fails beside LaunchDarkly's."""
    build, serve = INTEGRATIONS[request.param]
    tracking = Tracking.from_env(environ={"LDAI_DEV_SERVER": dev_server.url}, sinks=[ExplodingSink()])
    with serve(build(tracking)) as address:
        yield Integration(request.param, address, tracking, dev_server)
    tracking.close()
    gc.collect()  # what a framework forgets to close is known for this integration only, and is to be found here


@pytest.fixture
def records() -> Iterator[Records]:
    """Collect the records of the runs that finish during a test."""
    found = Records()
    with run_finished.connected_to(found):
        yield found


@pytest.fixture
def quiet_tracking(dev_server: DevServer) -> Iterator[Tracking]:
    """Track for the dev server an application that is called without a socket."""
    tracking = Tracking.from_env(environ={"LDAI_DEV_SERVER": dev_server.url})
    yield tracking
    tracking.close()
