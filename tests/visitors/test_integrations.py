"""Each integration recognizes visitors by a signed cookie, on real sockets."""

from __future__ import annotations

import http.client
from collections.abc import Iterator
from contextlib import contextmanager
from http.cookies import SimpleCookie
from typing import Any

import pytest

from ldai_integrations import RunRecord, Settings
from ldai_integrations.testing import OfflineLaunchDarkly, ai_config
from ldai_integrations.visitors import VisitorSettings

from ..feedback.cases import Request, vote
from ..feedback.conftest import Response, feedback_settings
from ..feedback.integrations import INTEGRATIONS, KEY

SECRET = "the secret of the visitors' cookie"
WITH_MIDDLEWARE = [name for name in INTEGRATIONS if "decorator" not in name or "and decorator" in name]


class Browser:
    """A client that keeps cookies."""

    def __init__(self, address: tuple[str, int], user: str = "") -> None:
        self.cookies: SimpleCookie = SimpleCookie()
        self._address = address
        self._user = {"X-User": user} if user else {}

    def get(self, path: str) -> Response:
        """Send a request without a body."""
        return self.send(path, Request(b"", {}, "GET"))

    def send(self, path: str, request: Request) -> Response:
        """Send a request on a new connection."""
        connection = http.client.HTTPConnection(*self._address, timeout=20)
        cookies = {"Cookie": "; ".join(f"{name}={one.value}" for name, one in self.cookies.items())}
        headers = {**request.headers, **self._user, **cookies, "Connection": "close"}
        try:
            connection.request(request.method, path, request.body or None, headers)
            answer = connection.getresponse()
            response = Response(answer.status, answer.read(), answer.headers)
        finally:
            connection.close()
        for header in response.headers.get_all("Set-Cookie") or ():
            self.cookies.load(header)
        return response


@contextmanager
def serving(name: str, **settings: Any) -> Iterator[tuple[tuple[str, int], OfflineLaunchDarkly]]:
    """Serve the application of an integration; its feedback is on, and so are its visitors if settings are given."""
    build, serve = INTEGRATIONS[name]
    options = Settings(flush="never", judges=None, feedback=feedback_settings(header=None, event=None), **settings)
    with (
        OfflineLaunchDarkly({KEY: ai_config()}, settings=options) as launchdarkly,
        serve(build(launchdarkly.tracking)) as address,
    ):
        yield address, launchdarkly


def key_of(record: RunRecord) -> str:
    """Return the key of the LD context of a run."""
    assert record.ld_context is not None
    return record.ld_context.key


@pytest.mark.parametrize("name", WITH_MIDDLEWARE)
def test_a_visitor_keeps_the_key(name: str) -> None:
    """The first response sets one cookie, with safe attributes; each later request of the browser has the same key."""
    with serving(name, visitors=VisitorSettings(secret=SECRET)) as (address, launchdarkly):
        for path in ("/answer", "/stream"):
            browser, other = Browser(address), Browser(address)
            cookies = browser.get(path).headers.get_all("Set-Cookie") or []
            for again in ("/answer", "/stream"):
                assert browser.get(again).headers.get_all("Set-Cookie") is None
            other.get(path)

            records = launchdarkly.sink.wait(4)
            launchdarkly.sink.records.clear()
            keys = [key_of(record) for record in records]
            assert len(set(keys)) == 2
            assert sorted(keys.count(key) for key in set(keys)) == [1, 3]
            assert all(record.ld_context and record.ld_context.anonymous for record in records)
            morsel = browser.cookies["ldai_visitor"]
            assert (morsel["max-age"], morsel["path"], morsel["samesite"]) == ("31536000", "/", "Lax")
            assert (morsel["httponly"], morsel["secure"]) == (True, "")
            assert len(cookies) == 1


@pytest.mark.parametrize("name", WITH_MIDDLEWARE)
def test_a_known_user_has_no_cookie(name: str) -> None:
    """A request whose LD context the application gives sets no cookie."""
    with serving(name, visitors=VisitorSettings(secret=SECRET)) as (address, launchdarkly):
        browser = Browser(address, user="ada")

        assert [browser.get(path).headers["Set-Cookie"] for path in ("/answer", "/stream")] == [None, None]
        assert [key_of(record) for record in launchdarkly.sink.wait(2)] == ["ada", "ada"]


@pytest.mark.parametrize("name", WITH_MIDDLEWARE)
def test_headers_are_unchanged_without_the_option(name: str) -> None:
    """Nothing is set, and each request has a key of its own, unless the application asks for visitors."""
    with serving(name) as (address, launchdarkly):
        browser = Browser(address)

        assert [browser.get(path).headers["Set-Cookie"] for path in ("/answer", "/stream")] == [None, None]
        assert len({key_of(record) for record in launchdarkly.sink.wait(2)}) == 2


@pytest.mark.parametrize("name", WITH_MIDDLEWARE)
def test_a_changed_cookie_is_a_new_visitor(name: str) -> None:
    """Nobody can choose a key: a cookie that the application did not sign is replaced."""
    with serving(name, visitors=VisitorSettings(secret=SECRET)) as (address, launchdarkly):
        browser = Browser(address)
        browser.cookies["ldai_visitor"] = "somebody-else.AAAA"

        assert browser.get("/answer").headers["Set-Cookie"]
        assert key_of(launchdarkly.sink.wait(1)[0]) != "somebody-else"
        assert launchdarkly.tracking.stats().diagnostics.get("visitor") is None


@pytest.fixture(params=["flask extension and decorator", "starlette middleware and decorator"])
def address(request: pytest.FixtureRequest) -> Iterator[tuple[str, int]]:
    """Serve an application with feedback and visitors."""
    with serving(request.param, visitors=VisitorSettings(secret=SECRET)) as (address, _):
        yield address


def test_a_visitor_votes(address: tuple[str, int]) -> None:
    """A visitor who has been here before votes with the cookie, and nobody else can with the same token."""
    browser, other = Browser(address), Browser(address)
    browser.get("/answer")
    other.get("/answer")
    token = browser.get("/answer").json()["token"]

    assert other.send("/feedback", vote(token)).status == 400
    assert browser.send("/feedback", vote(token)).status == 204


def test_a_vote_without_the_cookie(address: tuple[str, int], caplog: pytest.LogCaptureFixture) -> None:
    """It is refused, and the log says that the cookie is missing, and not the middleware."""
    browser = Browser(address)
    browser.get("/answer")
    token = browser.get("/answer").json()["token"]

    assert Browser(address).send("/feedback", vote(token)).status == 400
    assert "A vote cannot be matched with its visitor: its request has no cookie of a visitor." in caplog.text
    assert "middleware" not in caplog.text


def test_a_new_visitor_votes(address: tuple[str, int]) -> None:
    """A visitor whose browser keeps no cookies can vote, as without the option."""
    token = Browser(address).get("/answer").json()["token"]

    assert Browser(address).send("/feedback", vote(token)).status == 204
