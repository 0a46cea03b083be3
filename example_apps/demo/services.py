"""The processes of the demo: start them, wait until they answer, and stop them."""

from __future__ import annotations

import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from socket import create_server
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

APPS = Path(__file__).parents[1]
ROOT = APPS.parents[1]
CONFIGS = APPS / "configs.json"
READY_SECONDS = 30.0
STOP_SECONDS = 10.0
# The names of our settings begin so. Those of the user would change the figures.
SETTINGS = "LDAI_"

# The arguments of `python -m`.
DEV_SERVER = ["ldai_integrations", "dev", "--db", "events.sqlite", "--port", "{port}", "--configs", str(CONFIGS)]
MODEL_SERVER = [
    "uvicorn",
    "--log-level",
    "warning",
    "--port",
    "{port}",
    "ldai_integrations._example_apps.model_server:app",
]
FLASK = ["waitress", "--threads", "16", "--listen", "127.0.0.1:{port}", "ldai_integrations._example_apps.flask_app:app"]
FASTAPI = ["uvicorn", "--log-level", "warning", "--port", "{port}", "ldai_integrations._example_apps.fastapi_app:app"]


class ServiceError(Exception):
    """A process that did not start; the message has its name and the end of its log."""


@dataclass(frozen=True, slots=True)
class Services:
    """The addresses of the processes, as ``host:port``.

    Attributes:
        apps: The address of each app by its name.
        dev_server: Empty if the apps use LaunchDarkly.
        model_server: Empty if the apps use OpenAI.
        database: The SQLite file of the dev server.
    """

    apps: dict[str, str]
    dev_server: str = ""
    model_server: str = ""
    database: Path | None = None


@contextmanager
def running(directory: Path, environ: Mapping[str, str], *, live: bool = False) -> Iterator[Services]:
    """Run the apps and, unless they are live, the two servers that they use.

    Args:
        directory: The directory for the database and the logs.
        environ: The environment of the processes, whose settings of this library are left out.
        live: Let the apps use LaunchDarkly and OpenAI.

    Raises:
        ServiceError: A process does not answer in time.
    """
    environ = {name: value for name, value in environ.items() if not name.startswith(SETTINGS)}
    with ExitStack() as stack:

        def start(name: str, command: Sequence[str], environ: Mapping[str, str]) -> _Process:
            return stack.enter_context(_running(name, command, directory, environ))

        def start_apps(environ: Mapping[str, str]) -> dict[str, str]:
            apps = {"Flask": start("flask", FLASK, environ), "FastAPI": start("fastapi", FASTAPI, environ)}
            return {name: _ready(app, "/") for name, app in apps.items()}

        if live:
            yield Services(start_apps(environ))
            return
        dev, model = start("dev-server", DEV_SERVER, environ), start("model-server", MODEL_SERVER, environ)
        dev_server, model_server = _ready(dev, "/dev/status"), _ready(model, "/bill")
        apps = start_apps(local_environ(environ, dev_server, model_server))
        yield Services(apps, dev_server, model_server, directory / "events.sqlite")


def local_environ(environ: Mapping[str, str], dev_server: str, model_server: str) -> dict[str, str]:
    """Return an environment in which an app uses only these two servers."""
    kept = {name: value for name, value in environ.items() if name != "LAUNCHDARKLY_SDK_KEY"}
    return {
        **kept,
        "LDAI_DEV_SERVER": f"http://{dev_server}",
        "OPENAI_BASE_URL": f"http://{model_server}/v1",
        "OPENAI_API_KEY": "not-needed",
        "LDAI_FLUSH": "request",  # nobody has to wait for the figures
        # A proxy in the environment must not be used for 127.0.0.1.
        "no_proxy": "127.0.0.1",
        "NO_PROXY": "127.0.0.1",
    }


@dataclass(frozen=True, slots=True)
class _Process:
    name: str
    address: str
    popen: subprocess.Popen[bytes]
    log: Path


@contextmanager
def _running(name: str, command: Sequence[str], directory: Path, environ: Mapping[str, str]) -> Iterator[_Process]:
    """Run ``python -m command`` on a free port until the block ends, with or without an error."""
    with create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    log = directory / f"{name}.log"
    with log.open("wb") as output:
        popen = subprocess.Popen(
            [sys.executable, "-m", *(word.replace("{port}", str(port)) for word in command)],
            cwd=directory,
            env={**environ, "PYTHONPATH": str(ROOT)},
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C must reach the demo only, which then stops its processes in order
        )
    try:
        yield _Process(name, f"127.0.0.1:{port}", popen, log)
    finally:
        popen.terminate()
        try:
            popen.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            popen.kill()
            popen.wait()


def _ready(process: _Process, path: str) -> str:
    """Wait until a process answers and return its address."""
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline and process.popen.poll() is None:
        connection = HTTPConnection(process.address, timeout=READY_SECONDS)
        try:
            connection.request("GET", path)
            if connection.getresponse().status == 200:
                return process.address
        except (OSError, HTTPException):
            time.sleep(0.05)
        finally:
            connection.close()
    log = process.log.read_text(errors="replace")[-2000:]
    raise ServiceError(f"The {process.name} does not answer at http://{process.address}{path}. Its log:\n{log}")
