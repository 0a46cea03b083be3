"""What docs/feedback.md shows works as it stands there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.wsgi import get_wsgi_application
from django.test import override_settings
from fastapi.testclient import TestClient

from ldai_integrations import Settings, Tracking
from ldai_integrations.devserver import DevServer
from ldai_integrations.feedback import MOST_BYTES, FeedbackSettings, MemoryStore

from ..contract.drivers.django import application
from ..flags import CHAT

PAGE = (Path(__file__).parents[2] / "docs" / "feedback.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def run_block(start: str) -> dict[str, Any]:
    """Execute the one block that contains a text, as a module of its own."""
    [code] = [block for block in BLOCKS if start in block]
    space: dict[str, Any] = {"__name__": "example"}
    exec(compile(code, "docs/feedback.md", "exec", dont_inherit=True), space)
    return space


@pytest.fixture
def launchdarkly(monkeypatch: pytest.MonkeyPatch) -> Iterator[DevServer]:
    """Set the environment of a reader with a dev server."""
    with DevServer({"flags": {"support-bot": {**CHAT, "key": "support-bot"}}, "segments": {}}) as server:
        monkeypatch.setenv("LDAI_DEV_SERVER", server.url)
        yield server


def test_the_flask_example(launchdarkly: DevServer) -> None:
    """The endpoint accepts the tokens of JSON, header and event, and the votes are in the metrics."""
    space = run_block("Flask(__name__)")
    browser = space["app"].test_client()
    answer, stream = browser.post("/chat"), browser.post("/chat/stream")
    event = re.search(r"event: feedback\ndata: (.*)\n\n$", stream.text)
    assert event is not None
    for token in (answer.json["feedback_token"], answer.headers["X-Feedback-Token"], event[1]):
        assert browser.post("/feedback", json={"token": token, "kind": "positive"}).status_code == 204
    space["tracking"].close()

    assert launchdarkly.metrics("support-bot")["thumbsUp"] == 2


def test_the_fastapi_example(launchdarkly: DevServer) -> None:
    """The endpoint accepts the token in the JSON, and the vote is in the metrics."""
    space = run_block("FastAPI()")
    with TestClient(space["app"]) as browser:
        answer = browser.post("/chat")
        vote = {"token": answer.json()["feedback_token"], "kind": "negative"}
        assert browser.post("/feedback", json=vote).status_code == 204
        assert answer.headers["X-Feedback-Token"]
    space["tracking"].close()

    assert launchdarkly.metrics("support-bot")["thumbsDown"] == 1


def test_the_django_example(tracking: Tracking) -> None:
    """The URL patterns answer."""
    settings = Settings(feedback=FeedbackSettings(config_keys={"chat"}))
    tracking = Tracking(tracking.client, settings=settings)
    with override_settings(LDAI={"tracking": tracking}):
        space = run_block("urlpatterns")
    assert [str(pattern.pattern) for pattern in space["urlpatterns"]] == ["feedback", "feedback/widget.js"]
    assert application({}, get_wsgi_application, urls=lambda: space["urlpatterns"], tracking=tracking)


def test_the_addresses_of_stores_are_accepted() -> None:
    """Every kind of address in the table of stores can be given."""
    addresses = set(re.findall(r'`"((?:sqlite|rediss?|unix)://[^"]*)"`', PAGE))
    assert {address.partition(":")[0] for address in addresses} == {"sqlite", "redis", "rediss", "unix"}
    for address in addresses:
        assert FeedbackSettings(config_keys={"chat"}, store=address).store == address


def test_the_numbers_are_those_of_the_code() -> None:
    """The limits on the page are those of the code."""
    defaults = FeedbackSettings(config_keys={"chat"})
    assert f"{MOST_BYTES:,} bytes" in PAGE
    assert f"`max_age`, {defaults.max_age // 86_400} days" in PAGE
    assert f"`requests_per_minute`, {defaults.requests_per_minute} by default" in PAGE
    assert f"({MemoryStore()._most:,} runs" in PAGE
