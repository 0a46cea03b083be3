"""Thousands of requests with every ending; ``python -m tests.soak`` sends 100,000 through each door."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from ldai_integrations import Tracking
from ldai_integrations.devserver import DevServer

from ..contract.client import request
from ..contract.conftest import FLAGS
from ..contract.drivers import flask, starlette
from ..contract.servers import serve_asgi, serve_wsgi
from ..waiting import eventually
from .measure import DOORS, Tally, expected
from .traffic import PATHS

_CONNECTIONS = 200
_REQUESTS = int(os.environ.get("LDAI_SOAK_REQUESTS", "400"))


@pytest.mark.timeout(120 + _REQUESTS // 20)
@pytest.mark.parametrize("door", DOORS)
def test_nothing_is_left_of_many_requests(door: str) -> None:
    """Memory stays flat, no task, thread, file or run is left, nothing is bound, and each run is told once."""
    command = [sys.executable, "-W", "ignore", "-m", "tests.soak", str(_REQUESTS), door]
    done = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout + done.stderr[-2_000:]


SERVED: dict[str, tuple[Callable[[Tracking], Any], Any]] = {
    "flask on waitress": (flask.extension_and_decorator, serve_wsgi),
    "starlette on uvicorn": (starlette.middleware_and_decorator, serve_asgi),
}


@pytest.mark.timeout(200)
@pytest.mark.parametrize("name", SERVED)
def test_nothing_is_left_of_many_connections(name: str) -> None:
    """The same on sockets: some clients hang up, each run's events arrive once, and no thread or file is left."""
    build, serve = SERVED[name]
    threads, files = threading.active_count(), _open_files()
    tally = Tally()
    paths = [PATHS[number % len(PATHS)] for number in range(_CONNECTIONS)]
    with DevServer(FLAGS) as dev_server:
        tracking = Tracking.from_env(environ={"LDAI_DEV_SERVER": dev_server.url}, sinks=[tally])
        with serve(build(tracking)) as address, ThreadPoolExecutor(8) as clients:
            for path in paths:
                clients.submit(request, address, f"/{path}", hangs_up=path == "slow")
            clients.shutdown()
            eventually(lambda: tally.outcomes.total() >= expected(_CONNECTIONS).total(), timeout=60)
        tracking.close()
        sent = Counter(event["key"] for event in dev_server.events() if event["kind"] == "custom")

    assert tally.outcomes == expected(_CONNECTIONS)
    assert sent["$ld:ai:duration:total"] == tally.outcomes.total()
    assert tracking.stats().troubles == {}
    eventually(lambda: threading.active_count() <= threads and _open_files() <= files, timeout=60)
    assert threading.active_count() <= threads, threading.enumerate()
    assert _open_files() <= files


def _open_files() -> int:
    gc.collect()
    return len(os.listdir("/proc/self/fd"))
