"""The code in README.md works."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from socket import create_server
from typing import Any

import pytest
from fastapi.testclient import TestClient
from flask import Flask

from ldai_integrations import Run, RunRecord, Tracking, Usage, run_finished, track_ai
from ldai_integrations._example_apps.model_server import create_app
from ldai_integrations.devserver import DevServer

from .conftest import EndProcess
from .example_apps.servers import serving_asgi
from .flags import CHAT, FLAGS

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
USAGE = {"prompt_tokens": 12, "completion_tokens": 1, "total_tokens": 13}
BLOCKS = re.findall(r"^```python\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


def block(start: str) -> str:
    """Return the one block of Python code that contains a text."""
    found: list[str] = [code for code in BLOCKS if start in code]
    assert len(found) == 1, f"README.md has {len(found)} blocks with {start!r}"
    return found[0]


@pytest.fixture
def launchdarkly(monkeypatch: pytest.MonkeyPatch) -> Iterator[DevServer]:
    """Set the environment of a reader who runs a dev server and a model server."""
    keys = ("support-bot", "nightly-report")
    flags = {"flags": {**FLAGS["flags"], **{key: {**CHAT, "key": key} for key in keys}}, "segments": {}}
    with DevServer(flags) as dev_server, serving_asgi(create_app()) as model_server:
        monkeypatch.setenv("LDAI_DEV_SERVER", dev_server.url)
        monkeypatch.setenv("OPENAI_BASE_URL", f"http://{model_server}/v1")
        monkeypatch.setenv("OPENAI_API_KEY", "none")
        yield dev_server


def run_block(start: str, **names: Any) -> dict[str, Any]:
    """Execute a block as a module of its own."""
    space: dict[str, Any] = {"__name__": "readme", **names}
    exec(compile(block(start), "README.md", "exec", dont_inherit=True), space)
    return space


def test_the_first_example(launchdarkly: DevServer, fresh_process: EndProcess, records: list[RunRecord]) -> None:
    """Ten lines are an application that answers, and whose run is reported with the provider's usage."""
    space = run_block("app, client = Flask(__name__)")
    answer = space["app"].test_client().post("/chat", json={"question": "Hello?"})
    space["client"].close()
    fresh_process()

    assert answer.status_code == 200
    assert answer.text
    assert len([line for line in block("app, client =").splitlines() if line]) == 10 - 2
    assert [(record.outcome, record.config_key) for record in records] == [("success", "support-bot")]
    assert records[0].usage is not None
    assert records[0].usage.source == "provider"
    assert launchdarkly.metrics("support-bot")["generationSuccessCount"] == 1


def test_the_flask_extension(launchdarkly: DevServer, records: list[RunRecord]) -> None:
    """Runs of the application have the user of the request."""
    space = run_block("AITracking(app, tracking")
    app: Flask = space["app"]

    @app.get("/")
    @track_ai(config_key="support-bot")
    def index(run: Run) -> str:
        run.add_usage(input_tokens=3)
        return "Hello"

    space["app"].test_client().get("/", headers={"X-User": "ada"})
    space["tracking"].close()

    assert [record.ld_context.key for record in records if record.ld_context] == ["ada"]


@pytest.fixture
def unreachable(monkeypatch: pytest.MonkeyPatch, fresh_process: EndProcess) -> None:
    """Set the environment of a reader whose LaunchDarkly and whose model cannot be reached."""
    with create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    monkeypatch.setenv("LDAI_DEV_SERVER", f"http://127.0.0.1:{port}")
    monkeypatch.setenv("LDAI_START_WAIT", "0")
    monkeypatch.setenv("OPENAI_BASE_URL", f"http://127.0.0.1:{port}/v1")
    monkeypatch.setenv("OPENAI_API_KEY", "none")


@pytest.mark.usefixtures("unreachable")
def test_every_example_is_safe_without_launchdarkly(records: list[RunRecord]) -> None:
    """If LaunchDarkly is unreachable, the applications answer 503, the others go on, and no model is called."""
    flask = run_block("app, client = Flask(__name__)")
    assert flask["app"].test_client().post("/chat", json={"question": "Hello?"}).status_code == 503
    flask["client"].close()
    run_block("nightly-report")["client"].close()
    run_block("AITracking(app, tracking")["tracking"].close()
    fastapi = run_block("app = FastAPI()")
    with TestClient(fastapi["app"]) as client:
        assert client.post("/chat/stream", params={"question": "Hello?"}).status_code == 503
        client.portal.call(fastapi["client"].close)  # type: ignore[union-attr]
    fastapi["tracking"].close()

    assert {record.calls for record in records} == {0}


def test_every_example_is_run() -> None:
    """Each block of Python code is run by a test in this file."""
    run = re.findall(r'run_block\(\s*"([^"]+)"', Path(__file__).read_text(encoding="utf-8"))

    assert [code for code in BLOCKS if not any(start in code for start in run)] == []


def test_the_fastapi_example(launchdarkly: DevServer, records: list[RunRecord]) -> None:
    """The FastAPI application streams, hides the run from its schema, and reports it with the tokens of the stream."""
    space = run_block("app = FastAPI()")
    with TestClient(space["app"]) as client:
        answer = client.post("/chat/stream", params={"question": "Hello?"}, headers={"X-User": "ada"})
        parameters = client.get("/openapi.json").json()["paths"]["/chat/stream"]["post"]["parameters"]
        client.portal.call(space["client"].close)  # type: ignore[union-attr]
    space["tracking"].close()

    assert answer.text
    assert [parameter["name"] for parameter in parameters] == ["question"]
    assert [(record.outcome, record.config_key) for record in records] == [("success", "support-bot")]
    assert records[0].usage is not None
    assert records[0].usage.source == "estimate"  # only OpenAI's own servers are asked for it
    assert records[0].usage.output_tokens
    assert records[0].time_to_first_token_ms is not None
    assert launchdarkly.metrics("support-bot")["generationSuccessCount"] == 1


def test_the_middleware(launchdarkly: DevServer, fresh_process: EndProcess, records: list[RunRecord]) -> None:
    """The middleware tracks an application that knows nothing of it."""
    app: Any = run_block("app.asgi_app = ASGITrackingMiddleware")["app"]

    async def answer() -> Any:
        return {"object": "chat.completion", "choices": [{"message": {"content": "Yes."}}], "usage": USAGE}

    app.get("/answer")(answer)
    with TestClient(app) as client:
        assert client.get("/answer").json()["usage"] == USAGE
    fresh_process()

    assert [(record.outcome, record.usage) for record in records] == [
        ("success", Usage(input_tokens=12, output_tokens=1, total_tokens=13))
    ]


def test_the_block(launchdarkly: DevServer, fresh_process: None, records: list[RunRecord]) -> None:
    """The block is a run of code without a request."""
    run_block("nightly-report")["client"].close()

    assert [(record.outcome, record.config_key) for record in records] == [("success", "nightly-report")]
    assert records[0].usage is not None
    assert records[0].usage.source == "provider"


def test_the_signal_example(tracking: Tracking, capsys: pytest.CaptureFixture[str]) -> None:
    """The receiver is called for its AI Config, and prints what the page says."""
    space = run_block("run_finished.connect_via")
    try:
        with track_ai(config_key="support-bot", tracking=tracking) as run:
            run.tracker.track_success()
    finally:
        run_finished.disconnect(space["bill"])

    assert capsys.readouterr().out.startswith("success ")


def test_the_test_command_is_what_ci_runs() -> None:
    """The command that CI looks for stands in the page, once."""
    commands = re.findall(r"^python3 -m venv .*tox run$", README, re.MULTILINE)

    assert len(commands) == 1
    assert (ROOT / ".ci" / "run").stat().st_mode & 0o111
