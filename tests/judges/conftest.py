"""Runs with a judge, and models of judges whose answers a test chooses."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from ldclient import LDClient

from ldai_integrations import Settings, Tracking, track_ai
from ldai_integrations.judges import JudgeSettings
from ldai_integrations.tracking import services_of

Make = Callable[..., Tracking]
SECONDS = 30.0
SCORED = '{"score": 0.75, "reasoning": "to the point"}'


def answer(text: str = "Hello") -> dict[str, Any]:
    """Build a provider's response."""
    message = {"role": "assistant", "content": text}
    usage = {"prompt_tokens": 5, "completion_tokens": 1, "total_tokens": 6}
    choices = [{"message": message, "finish_reason": "stop"}]
    return {"object": "chat.completion", "model": "gpt-4o-mini", "choices": choices, "usage": usage}


def one_run(tracking: Tracking, config_key: str = "judged", *, question: str = "Hi?", text: str = "Hello") -> None:
    """Make a run with a question and an answer."""
    with track_ai(config_key, tracking=tracking) as run:
        run.messages(user=question)
        run.observe(answer(text))


@pytest.fixture
def make(client: LDClient, o200k: None) -> Iterator[Make]:
    """Give a function that makes trackings with judges, which are closed after the test."""
    made: list[Tracking] = []

    def make_one(model: Any, **options: Any) -> Tracking:
        judges = JudgeSettings(model=model, **options)
        made.append(Tracking(client, settings=Settings(judges=judges, flush="never")))
        return made[-1]

    yield make_one
    for tracking in made:
        tracking.close()


def judged(tracking: Tracking, timeout: float = 20.0) -> bool:
    """Wait until the runs so far are reported and evaluated; return False if that takes too long."""
    return services_of(tracking).flushing.worker.join(timeout) and services_of(tracking).judges.join(timeout)


class Provider(BaseHTTPRequestHandler):
    """OpenAI's chat completions, with an answer that a test chooses."""

    def do_POST(self) -> None:
        """Answer one call."""
        server: Any = self.server
        server.asked.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        body = json.dumps({**answer(server.said), "id": "1", "created": 1}).encode()
        self.send_response(server.status)
        for name, value in (("Content-Type", "application/json"), ("x-should-retry", "false")):
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: Any) -> None:
        """Log nothing."""


@pytest.fixture
def provider(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Serve a provider on loopback, for the ``openai`` package."""
    pytest.importorskip("ldai_openai", reason="the provider package comes with the extra [judges]")
    server: Any = ThreadingHTTPServer(("127.0.0.1", 0), Provider)
    server.asked, server.said, server.status = [], SCORED, 200
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    monkeypatch.setenv("OPENAI_API_KEY", "test")
    monkeypatch.setenv("OPENAI_BASE_URL", f"http://127.0.0.1:{server.server_port}/v1")
    yield server
    server.shutdown()
    server.server_close()
    thread.join(SECONDS)
