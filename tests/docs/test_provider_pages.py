"""The code on the pages about Anthropic, Bedrock and Gemini works, and its figures are those of the provider."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient

from ldai_integrations import RunRecord, track_ai
from ldai_integrations.devserver import DevServer
from ldai_integrations.testing import OfflineLaunchDarkly, ai_config

from ..ledger.provider import IN, OUT, Provider, serving
from .conftest import run_block

PAGES = {"anthropic": "anthropic", "bedrock": "boto3", "gemini": "google.genai"}
_CREDENTIALS = ("ANTHROPIC_API_KEY", "GEMINI_API_KEY", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")


@pytest.fixture
def provider(monkeypatch: pytest.MonkeyPatch) -> Iterator[Provider]:
    """Serve the three providers, and set the environment variables of their clients."""
    with serving() as provider:
        for name in _CREDENTIALS:
            monkeypatch.setenv(name, "none")
        monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        monkeypatch.setenv("ANTHROPIC_BASE_URL", f"{provider.url}/anthropic")
        monkeypatch.setenv("GOOGLE_GEMINI_BASE_URL", f"{provider.url}/gemini")
        monkeypatch.setenv("AWS_ENDPOINT_URL_BEDROCK_RUNTIME", f"{provider.url}/bedrock")
        yield provider


@pytest.mark.parametrize("page", PAGES)
def test_flask(page: str, launchdarkly: DevServer, records: list[RunRecord], provider: Provider) -> None:
    """A request has the provider's answer and figures."""
    pytest.importorskip(PAGES[page])
    app = run_block(f"{page}.md", "from flask import")["app"]

    assert app.test_client().post("/chat", json={"question": "Hello?"}).text == "Hello there"
    _check(records)


@pytest.mark.parametrize("page", PAGES)
def test_fastapi(page: str, launchdarkly: DevServer, records: list[RunRecord], provider: Provider) -> None:
    """A streamed response has the provider's text and figures, and the time to the first token."""
    pytest.importorskip(PAGES[page])
    app = run_block(f"{page}.md", "from fastapi import")["app"]

    with TestClient(app) as browser:
        assert browser.post("/chat", params={"question": "Hello?"}).text == "Hello there"
    _check(records)
    assert records[0].time_to_first_token_ms is not None


@pytest.mark.parametrize("start", ["from flask import", "from fastapi import"])
@pytest.mark.parametrize("page", PAGES)
def test_an_unknown_ai_config(page: str, start: str, launchdarkly: DevServer, provider: Provider) -> None:
    """Without an AI Config, as while LaunchDarkly cannot be reached, no model is called."""
    pytest.importorskip(PAGES[page])
    app = run_block(f"{page}.md", start, replace={'"support-bot"': '"unknown"'})["app"]

    if "flask" in start:
        assert app.test_client().post("/chat", json={"question": "Hello?"}).status_code == 503
    else:
        with TestClient(app) as browser:
            assert browser.post("/chat", params={"question": "Hello?"}).status_code == 503
    assert provider.requests == []


@pytest.mark.parametrize("page", PAGES)
def test_tools(page: str, records: list[RunRecord], provider: Provider) -> None:
    """A tool that is attached in LaunchDarkly is called, and the model answers with its result."""
    pytest.importorskip(PAGES[page])
    client = run_block(f"{page}.md", "from flask import")["client"]
    answer = run_block(f"{page}.md", "TOOLS = {")["answer"]
    schema = {"type": "object", "properties": {"order_id": {"type": "string"}}}
    tool: Any = {"key": "order_status", "name": "order_status", "type": "function", "parameters": schema}
    provider.serve("gpt-4o-mini", tool="order_status", tool_tokens=(1273, 647))

    with OfflineLaunchDarkly({"with": ai_config(tools={"order_status": tool})}), track_ai("with") as run:
        run_tools: Any = answer.__globals__["TOOLS"]
        run_tools["order_status"] = lambda order_id="7": f"Order {order_id} was shipped on Monday."
        assert answer(run, client, "Where is it?") == "Hello there"

    assert (records[0].calls, records[0].tool_calls) == (2, ("order_status",))
    assert records[0].usage is not None
    assert records[0].usage.input_tokens == IN + 1273


def _check(records: list[RunRecord]) -> None:
    [record] = records
    assert record.usage is not None
    assert (record.outcome, record.calls, record.usage.source) == ("success", 1, "provider")
    assert (record.usage.input_tokens, record.usage.output_tokens) == (IN, OUT)
