"""``python -m tests.soak.connections NAME``: hundreds of connections to a real server, and what is left of them.

Exits with 1 and says what is wrong where a thread or a file was left, or events were lost or told twice.
"""

from __future__ import annotations

import gc
import os
import sys
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

from ldai_integrations import Tracking
from ldai_integrations.devserver import DevServer

from ..contract.client import request
from ..contract.conftest import FLAGS
from ..contract.drivers import flask, starlette
from ..contract.servers import serve_asgi, serve_wsgi
from ..waiting import eventually
from .measure import Tally, expected
from .traffic import PATHS

_CONNECTIONS = 200

SERVED: dict[str, tuple[Callable[[Tracking], Any], Any]] = {
    "flask on waitress": (flask.extension_and_decorator, serve_wsgi),
    "starlette on uvicorn": (starlette.middleware_and_decorator, serve_asgi),
}


def wrong_with(name: str) -> list[str]:
    """Send requests through a server, and say what was left, lost or told twice."""
    build, serve = SERVED[name]
    threads, files = _threads(), _open_files()
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

    eventually(lambda: not _threads() - threads and not _open_files() - files, timeout=60)
    failures = set(tracking.stats().diagnostics) - {"estimated", "one_time_contexts"}
    found = {
        f"told {dict(tally.outcomes)}": tally.outcomes != expected(_CONNECTIONS),
        f"sent {dict(sent)}": sent["$ld:ai:duration:total"] != tally.outcomes.total(),
        f"diagnostics {failures}": bool(failures),
        f"threads left: {_threads() - threads}": bool(_threads() - threads),
        f"files left: {_open_files() - files}": bool(_open_files() - files),
    }
    return [text for text, is_wrong in found.items() if is_wrong]


def _threads() -> set[threading.Thread]:
    return set(threading.enumerate())


def _open_files() -> set[str]:
    """Name what is open, sockets and pipes by their inode."""
    gc.collect()
    found = set()
    for link in Path("/proc/self/fd").iterdir():
        with suppress(OSError):  # it has just been closed
            found.add(os.readlink(link))
    return found


if __name__ == "__main__":
    problems = wrong_with(sys.argv[1])
    print("\n".join(problems))
    sys.exit(bool(problems))
