"""The code on the page about users and conversations works."""

from __future__ import annotations

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from ldai_integrations import RunRecord, current_run, track_ai
from ldai_integrations.devserver import DevServer

from .conftest import run_block, summaries


def test_users(launchdarkly: DevServer, records: list[RunRecord]) -> None:
    """The LD context is that of the user; others have an anonymous one."""
    app: FastAPI = run_block("users.md", "import TrackingMiddleware")["app"]

    @app.get("/chat")
    @track_ai(config_key="support-bot")
    def chat() -> str:
        return current_run().model

    with TestClient(app) as browser:
        browser.get("/chat", headers={"X-User": "ada"})
        browser.get("/chat")

    assert summaries(records) == [("support-bot", "success", "ada"), ("support-bot", "success", "")]


def test_visitors(launchdarkly: DevServer) -> None:
    """The settings can be made."""
    settings = run_block("users.md", "VisitorSettings(")["settings"]

    assert settings.visitors.max_age == 365 * 24 * 3600


def test_the_session_of_flask(launchdarkly: DevServer, records: list[RunRecord]) -> None:
    """Two requests of a browser have the same anonymous key."""
    app = run_block("users.md", "session_context")["app"]
    app.add_url_rule("/chat", "chat", track_ai(config_key="support-bot")(lambda: current_run().model))
    browser = app.test_client()

    assert browser.get("/chat").status_code == browser.get("/chat").status_code == 200
    first, second = (record.ld_context for record in records)
    assert first == second


@pytest.mark.parametrize("given", ["thread-7", None])
def test_a_conversation(launchdarkly: DevServer, records: list[RunRecord], given: str | None) -> None:
    """The id in the header is on the record."""
    app = run_block("users.md", "run.conversation_id =")["app"]

    assert app.test_client().post("/chat", headers={"X-Conversation-Id": given} if given else {}).status_code == 200
    assert [record.conversation_id for record in records] == [given or ""]
