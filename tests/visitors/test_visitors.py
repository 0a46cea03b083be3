"""The cookie of visitors: who is recognized, and which responses set it."""

from __future__ import annotations

import asyncio
import string
from http.cookies import SimpleCookie
from typing import Any

import pytest
from flask import Flask, Response, session
from ldclient import Context

from ldai_integrations import ConfigurationError, Settings, current_run, track_ai
from ldai_integrations.asgi import ASGITrackingMiddleware
from ldai_integrations.flask import AITracking, session_context
from ldai_integrations.testing import OfflineLaunchDarkly, ai_config
from ldai_integrations.visitors import Visitors, VisitorSettings
from ldai_integrations.wsgi import WSGITrackingMiddleware

from ..conftest import complaints

OLD, NEW = "an old secret of visitors", "a new secret of visitors"


def morsel(header: str) -> Any:
    """Return the only cookie in a ``Set-Cookie`` header."""
    [found] = SimpleCookie(header).values()
    return found


def recognize(cookies: str = "", *, is_https: bool = False, **options: Any) -> Any:
    """Return the visitor of a request."""
    return Visitors(VisitorSettings(**{"secret": NEW, **options})).recognize(cookies, is_https=is_https)


def pair(header: str) -> str:
    """Return what a browser sends back."""
    return header.partition(";")[0]


def test_a_visitor_is_recognized() -> None:
    """The cookie of a new visitor leads to the same key, among other cookies and in any process with the secret."""
    visitor = recognize()

    again = recognize(f"theme=dark; {pair(visitor.cookie)}; ldai_visitor=wrong")

    assert (again.key, again.cookie) == (visitor.key, "")


@pytest.mark.parametrize(
    "cookies",
    [
        "",
        "ldai_visitor",
        "ldai_visitor=",
        "ldai_visitor=.",
        "ldai_visitor=admin",
        "ldai_visitor=admin.c2ln",
        "ldai_visitor=\xff.\xfe",
        ";;;=",
        "x" * 100_000,
    ],
)
def test_any_other_cookie_is_a_new_visitor(cookies: str) -> None:
    """A cookie that the application did not sign leads to a new random key."""
    visitor = recognize(cookies)

    assert visitor.cookie
    assert "admin" not in visitor.key


def test_every_changed_character_is_noticed() -> None:
    """A cookie in which one character differs is that of nobody."""
    name, _, value = pair(recognize().cookie).partition("=")
    others = string.ascii_letters + string.digits + "-_"
    changed = [
        value[:index] + other + value[index + 1 :]
        for index in range(len(value))
        for other in others
        if other != value[index]
    ]

    assert all(recognize(f"{name}={other}").cookie for other in (*changed, f"{value}=", f"{value}!"))


def test_many_cookies_of_the_name_cost_nothing() -> None:
    """Only the first few are checked, because each check takes time on an event loop."""
    own = pair(recognize().cookie)

    assert recognize("ldai_visitor=wrong.sign; " * 5 + own).cookie == ""
    assert recognize("ldai_visitor=wrong.sign; " * 1_000 + own).cookie != ""


def test_secrets_are_rotated() -> None:
    """All secrets are accepted, and the last one signs; a secret that is removed forgets its visitors."""
    visitor = recognize(secret=OLD)
    cookie = pair(visitor.cookie)

    assert recognize(cookie, secret=[OLD, NEW]).key == visitor.key
    assert recognize(cookie, secret=NEW).key != visitor.key


@pytest.mark.parametrize(
    ("is_https", "always", "secure"), [(False, False, ""), (True, False, True), (False, True, True)]
)
def test_a_cookie_is_secure_over_https(is_https: bool, always: bool, secure: Any) -> None:
    """The cookie is ``Secure`` if the request came over https, or if the application says so."""
    cookie = recognize(is_https=is_https, always_secure=always, cookie="who", max_age=3600).cookie

    found = morsel(cookie)
    assert (found.key, found["secure"], found["max-age"]) == ("who", secure, "3600")
    assert (found["httponly"], found["samesite"]) == (True, "Lax")


def test_the_secret_is_needed(caplog: pytest.LogCaptureFixture) -> None:
    """Without a secret, a middleware is refused at set-up; that of Flask will do."""
    settings = Settings(flush="never", judges=None, visitors=VisitorSettings())
    with OfflineLaunchDarkly(settings=settings) as launchdarkly:
        for middleware in (WSGITrackingMiddleware, ASGITrackingMiddleware):
            with pytest.raises(ConfigurationError, match="VisitorSettings"):
                middleware(lambda *_: None, launchdarkly.tracking)  # type: ignore[arg-type]
        app = Flask("shop")
        app.secret_key = NEW
        AITracking(app, launchdarkly.tracking)


@pytest.mark.parametrize("secret", ["short", "", []])
def test_a_secret_that_can_be_guessed(secret: Any) -> None:
    """A short secret is refused, and not shown."""
    with pytest.raises(ConfigurationError, match=r"VisitorSettings\.secret") as raised:
        VisitorSettings(secret=secret)
    assert "'short'" not in str(raised.value)


def test_the_secret_is_in_no_repr() -> None:
    """The representation of the settings does not contain the secret."""
    assert NEW not in repr(Settings(visitors=VisitorSettings(secret=NEW)))


def test_settings_of_another_kind() -> None:
    """``Settings`` refuses anything that is no VisitorSettings."""
    with pytest.raises(ConfigurationError, match="visitors"):
        Settings(visitors="a secret")  # type: ignore[arg-type]


async def _respond(send: Any, *headers: tuple[bytes, bytes], is_stream: bool = False) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": list(headers)})
    await send({"type": "http.response.body", "body": b"Hello", "more_body": is_stream})
    if is_stream:
        await send({"type": "http.response.body", "body": b""})


def _headers_of(app: Any, launchdarkly: OfflineLaunchDarkly, **options: Any) -> list[bytes]:
    """Send a request to an ASGI application in the middleware; return the cookies that are set."""
    sent: list[dict[str, Any]] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        return {"type": "http.request"}

    middleware = ASGITrackingMiddleware(app, launchdarkly.tracking, **options)
    asyncio.run(middleware({"type": "http", "method": "GET", "path": "/", "headers": []}, receive, send))
    return [value for name, value in sent[0]["headers"] if name == b"set-cookie"]


@pytest.fixture
def launchdarkly() -> Any:
    """Recognize visitors."""
    settings = Settings(flush="never", judges=None, visitors=VisitorSettings(secret=NEW))
    with OfflineLaunchDarkly({"chat": ai_config()}, settings=settings) as launchdarkly:
        yield launchdarkly


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(
            (b"cache-control", value)
            for value in (b"public, max-age=60", b"Public", b"s-maxage=60", b"max-age=60", b"immutable")
        ),
        (b"cache-control", b'private="x-user", max-age=60'),
        (b"Expires", b"Wed, 01 Dec 2027 08:00:00 GMT"),
        (b"last-modified", b"Mon, 30 Nov 2026 08:00:00 GMT"),
        (b"surrogate-control", b"max-age=60"),
        (b"cdn-cache-control", b"max-age=60"),
    ],
)
def test_a_response_that_caches_share(name: bytes, value: bytes, launchdarkly: OfflineLaunchDarkly) -> None:
    """A response that caches may share sets no cookie: everybody who gets it would be the same visitor."""

    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        with track_ai("chat"):
            await _respond(send, (name, value))

    assert _headers_of(app, launchdarkly) == []


def test_a_request_without_a_run(launchdarkly: OfflineLaunchDarkly) -> None:
    """A request in which no run opens sets no cookie."""

    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        await _respond(send)

    assert _headers_of(app, launchdarkly) == []


def test_an_application_that_is_tracked_without_changes(launchdarkly: OfflineLaunchDarkly) -> None:
    """With one key for all requests, a stream sets the cookie before its provider call; a page needs no LD context."""
    asked: list[str] = []

    def ld_context(_scope: Any) -> None:
        asked.append("asked")

    async def stream(_scope: Any, _receive: Any, send: Any) -> None:
        await _respond(send, (b"content-type", b"text/event-stream"), is_stream=True)
        current_run().add_usage(input_tokens=7317, output_tokens=3863)

    async def page(_scope: Any, _receive: Any, send: Any) -> None:
        await _respond(send, (b"content-length", b"5"))

    assert _headers_of(page, launchdarkly, config_key="chat", ld_context=ld_context) == []
    assert asked == []
    assert len(_headers_of(stream, launchdarkly, config_key="chat", ld_context=ld_context)) == 1
    assert asked == ["asked"]


def _flask(launchdarkly: OfflineLaunchDarkly, ld_context: Any) -> Flask:
    app = Flask("shop")
    app.secret_key = NEW
    AITracking(app, launchdarkly.tracking, ld_context=ld_context)

    @app.get("/answer")
    @track_ai("chat")
    def answer() -> str:
        return current_run().model

    @app.get("/stream")
    @track_ai("chat")
    def stream() -> Response:
        run = current_run()
        return Response((run.model for _ in range(2)), mimetype="text/plain")  # used after the head is sent

    @app.get("/page")
    def page() -> str:
        return "Welcome."

    return app


@pytest.mark.parametrize("path", ["/answer", "/stream"])
def test_the_session_of_flask(path: str) -> None:
    """``session_context`` keeps the key in Flask's session, also if a stream needs it first."""
    with OfflineLaunchDarkly({"chat": ai_config()}) as launchdarkly:
        app = _flask(launchdarkly, session_context)
        browser, other = app.test_client(), app.test_client()
        assert "Set-Cookie" not in browser.get("/page").headers
        for client in (browser, browser, other):
            client.get(path).get_data()

        first, second, third = (record.ld_context for record in launchdarkly.sink.wait(3))
        assert first == second != third
        assert first is not None
        assert first.anonymous
        with browser.session_transaction() as kept:
            assert kept["ldai_visitor"] == first.key
        assert launchdarkly.tracking.stats().diagnostics.get("ld_context") is None


def test_the_session_of_flask_beside_users() -> None:
    """``session_context`` may serve those who are not logged in."""

    def ld_context(request: Any) -> Context:
        return Context.create(session["user"]) if "user" in session else session_context(request)

    with OfflineLaunchDarkly({"chat": ai_config()}) as launchdarkly:
        browser = _flask(launchdarkly, ld_context).test_client()
        browser.get("/answer")
        with browser.session_transaction() as kept:
            kept["user"] = "ada"
        browser.get("/answer")

        visitor, user = (record.ld_context for record in launchdarkly.sink.wait(2))
        assert visitor is not None
        assert visitor.anonymous
        assert user == Context.create("ada")


def _run(launchdarkly: OfflineLaunchDarkly, count: int, **options: Any) -> int:
    """Open runs, and return how often the library has warned about contexts that are used once."""
    for _ in range(count):
        with track_ai("chat", tracking=launchdarkly.tracking, **options) as run:
            run.add_usage(input_tokens=7317, output_tokens=3863)
    launchdarkly.sink.wait(count)
    return launchdarkly.tracking.stats().diagnostics.get("one_time_contexts", 0)


def test_contexts_that_are_used_once(caplog: pytest.LogCaptureFixture) -> None:
    """If the LD contexts of the first 100 runs all exist for one run only, this is logged once with the remedy."""
    with OfflineLaunchDarkly({"chat": ai_config()}) as launchdarkly:
        assert _run(launchdarkly, 99) == 0
        assert _run(launchdarkly, 1) == 1
        assert _run(launchdarkly, 4) == 1

    [line] = [record for record in complaints(caplog) if record.__dict__["ldai_kind"] == "one_time_contexts"]
    assert "VisitorSettings" in line.getMessage()


def test_one_context_that_lasts_is_enough() -> None:
    """An application that knows one of its users has LD contexts on purpose."""
    with OfflineLaunchDarkly({"chat": ai_config()}) as launchdarkly:
        _run(launchdarkly, 1, ld_context=lambda: Context.create("ada"))

        assert _run(launchdarkly, 120) == 0
