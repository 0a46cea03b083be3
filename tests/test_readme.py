"""The code in README.md works."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from ldai_integrations import RunRecord, Tracking, Usage, run_finished, track_ai
from ldai_integrations.devserver import DevServer
from ldai_integrations.example_apps.model_server import create_app

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


def test_the_flask_example(launchdarkly: DevServer, records: list[RunRecord]) -> None:
    """The Flask application answers, and its run is reported with the provider's usage."""
    space = run_block("app = Flask(__name__)")
    answer = space["app"].test_client().post("/chat", json={"question": "Hello?"}, headers={"X-User": "ada"})
    space["tracking"].close()
    space["client"].close()

    assert answer.status_code == 200
    assert answer.text
    assert [(record.outcome, record.config_key) for record in records] == [("success", "support-bot")]
    assert records[0].usage is not None
    assert records[0].usage.source == "provider"
    assert launchdarkly.metrics("support-bot")["generationSuccessCount"] == 1


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


def test_the_middleware(launchdarkly: DevServer, monkeypatch: pytest.MonkeyPatch, records: list[RunRecord]) -> None:
    """The middleware tracks an application that knows nothing of it."""
    inner = FastAPI()

    @inner.get("/answer")
    async def answer() -> Any:
        return {"object": "chat.completion", "choices": [{"message": {"content": "Yes."}}], "usage": USAGE}

    shop = ModuleType("shop")
    monkeypatch.setattr(shop, "application", inner, raising=False)
    monkeypatch.setitem(sys.modules, "shop", shop)
    space = run_block("application = ASGITrackingMiddleware")
    with TestClient(space["application"]) as client:
        assert client.get("/answer").json()["usage"] == USAGE
    space["tracking"].close()

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
