"""A Redis of its own for each test, and what LaunchDarkly's Relay Proxy does with it in daemon mode."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from typing import Any

import pytest
from ldclient import Config, LDClient
from ldclient.feature_store import CacheConfig
from ldclient.integrations import Redis

from ldai_integrations.delivery import SpoolingEventProcessor
from ldai_integrations.devserver import DevServer

from ..flags import FLAGS

PREFIX = "ld:tests"
#: How many processes there are, and how many runs each makes.
WORKERS, RUNS = 2, 40
#: Where nobody listens.
NOWHERE = "http://127.0.0.1:9"


@dataclass
class RedisServer:
    """A running ``redis-server``."""

    url: str
    process: subprocess.Popen[bytes]

    def end(self) -> None:
        """Stop it."""
        self.process.terminate()
        self.process.wait(30)


@pytest.fixture
def redis_server() -> Iterator[RedisServer]:
    """Start a Redis that listens on a Unix socket, and keeps nothing."""
    pytest.importorskip("redis", reason="the package redis is not installed: it is in the extra [tests]")
    program = shutil.which("redis-server")
    if program is None:
        pytest.skip("there is no redis-server: apt-get install redis-server, or the like")
    with tempfile.TemporaryDirectory(prefix="redis-") as folder:  # tmp_path may be longer than a socket's name
        socket = f"{folder}/socket"
        options = {"port": "0", "unixsocket": socket, "dir": folder, "save": "", "appendonly": "no"}
        command = [program, *(word for name, value in options.items() for word in (f"--{name}", value))]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
            assert process.stdout
            server = RedisServer(f"unix://{socket}", process)
            said = b""
            while b"eady to accept connections" not in said:
                said = process.stdout.readline()
                assert said, "redis-server does not start"
            yield server
            server.end()


@pytest.fixture
def server() -> Iterator[DevServer]:
    """Give a dev server that nobody else talks to."""
    with DevServer(FLAGS) as server:
        yield server


Connect = Callable[..., LDClient]


@pytest.fixture
def connect(no_leaks: None, server: DevServer) -> Iterator[Connect]:
    """Give what makes a client of one's own whose events we deliver; closed after the test, before the dev server."""
    with ExitStack() as opened:

        def connect(**options: Any) -> LDClient:
            client = LDClient(Config("sdk-test", event_processor_class=SpoolingEventProcessor, **options))
            opened.callback(client.close)
            return client

        yield connect


@pytest.fixture
def relay(no_leaks: None, redis_server: RedisServer, server: DevServer) -> Iterator[LDClient]:
    """Write the dev server's flags to Redis, and every change of them, as the Relay Proxy does in daemon mode."""
    store = Redis.new_feature_store(redis_server.url, PREFIX, caching=CacheConfig.disabled())
    config = Config("sdk-relay", base_uri=server.url, stream_uri=server.url, feature_store=store, send_events=False)
    with closing(LDClient(config)) as client:
        assert client.is_initialized()
        yield client


def daemon(redis_url: str, events_uri: str, **store: Any) -> dict[str, Any]:
    """Return what makes a Config of a client in daemon mode, that reaches LaunchDarkly for events only."""
    return {
        "feature_store": Redis.new_feature_store(redis_url, PREFIX, **store),
        "use_ldd": True,
        "base_uri": NOWHERE,
        "stream_uri": NOWHERE,
        "events_uri": events_uri,
    }
