"""A dev server for the tests, and real LaunchDarkly clients connected to it."""

from __future__ import annotations

import gc
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from typing import Any

import httpx
import pytest
from ldclient import Config, LDClient

from ldai_integrations.devserver import DevServer

from .samples import FLAGS

Connect = Callable[..., LDClient]
Serve = Callable[..., DevServer]


@pytest.fixture(scope="module")
def module_server() -> Iterator[DevServer]:
    """Run one server for all tests of a module."""
    with DevServer(FLAGS) as server:
        yield server


@pytest.fixture
def server(module_server: DevServer) -> DevServer:
    """Return the server with the sample flags, without events of earlier tests."""
    module_server.set_flags(FLAGS)
    module_server.clear()
    return module_server


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Create servers for one test, and stop them after its clients."""
    with ExitStack() as servers:
        yield lambda configs, **options: servers.enter_context(DevServer(configs, **options))


@pytest.fixture
def raw(server: DevServer) -> Iterator[httpx.Client]:
    """Yield an HTTP client for requests without an SDK."""
    with httpx.Client(base_url=server.url, trust_env=False, timeout=30) as client:
        yield client


@pytest.fixture
def refusals() -> Iterator[None]:
    """Ignore the socket of a refused stream, which the SDK does not close."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        yield
        gc.collect()


@pytest.fixture
def connect(serve: Serve) -> Iterator[Connect]:
    """Create real clients, and close them before the servers."""
    with ExitStack() as clients:

        def connect(server: DevServer, *, start_wait: float = 5, **options: Any) -> LDClient:
            uris = dict.fromkeys(("base_uri", "stream_uri", "events_uri"), server.url)
            options = {"sdk_key": "sdk-test", "diagnostic_opt_out": True, **uris, **options}
            return clients.enter_context(closing(LDClient(Config(**options), start_wait=start_wait)))

        yield connect
