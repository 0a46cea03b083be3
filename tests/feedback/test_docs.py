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

from ldai_integrations import Settings, Tracking, track_ai
from ldai_integrations.devserver import DevServer
from ldai_integrations.feedback import MOST_BYTES, FeedbackSettings, MemoryVotes
from ldai_integrations.typing import VoteStore

from ..contract.drivers.django import application
from ..flags import CHAT
from .cases import SECRET

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


class Redis:
    """A stand-in for Redis with ``SET … NX GET EX``."""

    def __init__(self) -> None:
        self.kept: dict[str, str] = {}

    def set(self, name: str, value: str, *, nx: bool, get: bool, ex: int) -> str | None:
        """Keep the first value, and return the one that was there."""
        assert nx
        assert get
        assert ex > 0
        before = self.kept.get(name)
        self.kept.setdefault(name, value)
        return before


def test_the_store_does_what_memory_does(tracking: Tracking) -> None:
    """The store of the example works like the store of the library."""
    stores: list[VoteStore] = [run_block("RedisVotes")["RedisVotes"](Redis()), MemoryVotes()]
    said = [[store.keep("run", kind, seconds=9) for kind in ("positive", "negative", "positive")] for store in stores]

    assert said == [[None, "positive", "positive"]] * 2
    settings = Settings(feedback=FeedbackSettings(config_keys={"chat"}, secret=SECRET, votes=stores[0]))
    with track_ai(config_key="chat", tracking=Tracking(tracking.client, settings=settings)) as run:
        assert run.feedback_token


def test_the_numbers_are_those_of_the_code() -> None:
    """The limits on the page are those of the code."""
    defaults = FeedbackSettings(config_keys={"chat"})
    assert f"{MOST_BYTES:,} bytes" in PAGE
    assert f"`max_age`, {defaults.max_age // 86_400} days" in PAGE
    assert f"`requests_per_minute`, {defaults.requests_per_minute} by default" in PAGE
    assert f"({MemoryVotes()._most:,} runs" in PAGE
