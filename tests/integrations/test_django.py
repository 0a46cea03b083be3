"""The Django middleware."""

from __future__ import annotations

import asyncio
import io
import re
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any
from wsgiref.util import FileWrapper, setup_testing_defaults
from wsgiref.validate import validator

import pytest
from django.core.asgi import get_asgi_application
from django.core.wsgi import get_wsgi_application
from django.http import FileResponse, Http404, HttpRequest, HttpResponse, JsonResponse, StreamingHttpResponse
from django.template.response import TemplateResponse
from django.utils.decorators import method_decorator
from django.views import View
from ldclient import Context

from ldai_integrations import (
    ConfigurationError,
    Run,
    RunRecord,
    Settings,
    Tracking,
    TrackingNotConfiguredError,
    current_run,
    track_ai,
)
from ldai_integrations.asgi import ASGITrackingMiddleware
from ldai_integrations.devserver import DevServer
from ldai_integrations.wsgi import WSGITrackingMiddleware

from ..binding import in_run
from ..conftest import Clock, always_chat, failures
from ..contract import handlers
from ..contract.drivers.django import OURS, application
from .asgi_calls import DISCONNECT, REQUEST, call, http_scope
from .test_set_up import MISTAKES, OPTIONS_OF_RUNS

GZIP = "django.middleware.gzip.GZipMiddleware"
MAKERS = {"wsgi": get_wsgi_application, "asgi": get_asgi_application}


def open_body(app: Any, method: str = "GET", **more: Any) -> tuple[Any, dict[str, Any]]:
    """Call an application as a WSGI server does; return the body and the environ."""
    environ: dict[str, Any] = {"REQUEST_METHOD": method, "QUERY_STRING": "", **more}
    setup_testing_defaults(environ)
    return app(environ, lambda status, headers: lambda data: None), environ


def get(app: Any, **more: Any) -> bytes:
    """Read and close the body as a WSGI server does."""
    body, _ = open_body(app, **more)
    try:
        return b"".join(body)
    finally:
        body.close()


def answer(app: Any, **more: Any) -> bytes:
    """Send a request to a WSGI or an ASGI application and return the body."""
    if hasattr(app, "get_response_async") and type(app).__name__ == "ASGIHandler":
        return b"".join(message.get("body", b"") for message in call(app, http_scope(**more)))
    return get(app, **more)


@track_ai(config_key="chat")
def ask() -> str:
    """Answer in a run."""
    return current_run().ld_context.key


def context_of_header(request: HttpRequest) -> Context:
    """Wrap the view, as a middleware that is named in the settings."""
    return Context.create(request.headers["X-User"])


def name_visitor(get_response: Callable[[HttpRequest], Any]) -> Callable[[HttpRequest], Any]:
    """Find out who the visitor is, as a synchronous middleware."""

    def middleware(request: HttpRequest) -> Any:
        request.visitor = "ada"
        return get_response(request)

    return middleware


def test_the_context_is_made_of_the_request(tracking: Tracking) -> None:
    """The callable receives Django's own request once, with the attributes that outer middleware set."""
    asked: list[HttpRequest] = []

    def ld_context(request: HttpRequest) -> Context:
        asked.append(request)
        return Context.create(request.visitor)

    def view(request: HttpRequest) -> HttpResponse:
        return HttpResponse(f"{ask()} {ask()} {asked[0] is request}")

    above = f"{__name__}.name_visitor"
    app = application({"": view}, get_wsgi_application, [above, OURS], tracking=tracking, ld_context=ld_context)

    assert get(app) == b"ada ada True"
    assert len(asked) == 1


def test_settings_name_what_they_cannot_import_yet(tracking: Tracking, monkeypatch: pytest.MonkeyPatch) -> None:
    """Dotted paths stand for the objects, so that the settings need not import the application."""
    monkeypatch.setattr(f"{__name__}.found_by_path", tracking, raising=False)
    paths: dict[str, Any] = {"tracking": f"{__name__}.found_by_path", "ld_context": f"{__name__}.context_of_header"}
    app = application({"": lambda request: HttpResponse(ask())}, get_wsgi_application, **paths)

    assert get(app, HTTP_X_USER="grace") == b"grace"


@pytest.mark.parametrize("kind", MAKERS)
def test_a_callable_key_is_given_the_request(tracking: Tracking, records: list[RunRecord], kind: str) -> None:
    """A callable chooses the AI Config of a request; without one there is no run."""

    def config_key(request: HttpRequest) -> str | None:
        key: str | None = request.GET.get("config")
        return key

    views = {"": lambda request: JsonResponse(handlers.completion())}
    app = application(views, MAKERS[kind], tracking=tracking, config_key=config_key)
    answer(app)
    answer(app, **({"QUERY_STRING": "config=chat"} if kind == "wsgi" else {"query_string": b"config=chat"}))

    assert [(record.config_key, record.outcome) for record in records] == [("chat", "success")]
    assert records[0].usage is not None
    assert records[0].usage.source == "provider"
    assert not in_run()


def test_streams_are_timed_to_their_end(tracking: Tracking, records: list[RunRecord], clock: Clock) -> None:
    """The run ends with the last chunk and is bound while chunks are made; nothing stays in the environ."""

    def chunks() -> Iterator[str]:
        for _ in range(3):
            clock.advance(100)
            yield current_run().config_key

    views = {"": lambda request: StreamingHttpResponse(chunks())}
    app = application(views, get_wsgi_application, tracking=tracking, config_key=always_chat)
    body, environ = open_body(app)

    assert next(iter(body)) == b"chat"
    assert not in_run()
    assert list(body) == [b"chat", b"chat"]
    assert [(record.time_to_first_token_ms, record.duration_ms) for record in records] == [(100, 300)]
    body.close()
    assert not [key for key in environ if key.startswith("ldai")]


def test_async_streams_are_timed_to_their_end(tracking: Tracking, records: list[RunRecord], clock: Clock) -> None:
    """The same under ASGI."""

    async def chunks() -> AsyncIterator[str]:
        for _ in range(3):
            clock.advance(100)
            yield current_run().config_key

    async def view(request: HttpRequest) -> StreamingHttpResponse:
        return StreamingHttpResponse(chunks())

    app = application({"": view}, get_asgi_application, tracking=tracking, config_key=always_chat)

    assert answer(app) == b"chat" * 3
    assert [(record.time_to_first_token_ms, record.duration_ms) for record in records] == [(100, 300)]


@pytest.mark.parametrize("read", [0, 1])
def test_a_body_that_is_closed_early_is_cancelled(tracking: Tracking, records: list[RunRecord], read: int) -> None:
    """If the client disconnects, the server closes the response, which ends the view's generator and every run."""
    closed: list[str] = []

    def chunks() -> Iterator[str]:
        try:
            while True:
                yield "word "
        finally:
            closed.append("closed")

    @track_ai(config_key="summary")
    def inner(request: HttpRequest) -> StreamingHttpResponse:
        return StreamingHttpResponse(chunks())

    app = application({"": inner}, get_wsgi_application, tracking=tracking, config_key=always_chat)
    body, _ = open_body(app)
    for _ in range(read):
        next(iter(body))
    body.close()

    assert sorted((record.config_key, record.outcome) for record in records) == [
        ("chat", "cancelled"),
        ("summary", "cancelled"),
    ]
    assert closed == ["closed"] * read


@pytest.mark.parametrize("streams", [True, False])
def test_an_asgi_client_that_leaves_cancels(tracking: Tracking, records: list[RunRecord], streams: bool) -> None:
    """Django cancels the view, or the stream, when the client is gone."""

    async def for_ever() -> AsyncIterator[str]:
        yield "word "
        await asyncio.Event().wait()

    async def view(request: HttpRequest) -> Any:
        if not streams:
            await asyncio.Event().wait()
        return StreamingHttpResponse(for_ever())

    app = application({"": view}, get_asgi_application, tracking=tracking, config_key=always_chat)
    call(app, http_scope(), [REQUEST, DISCONNECT])

    assert [record.outcome for record in records] == ["cancelled"]
    assert failures(tracking) == {}


@pytest.mark.parametrize("kind", MAKERS)
@pytest.mark.parametrize(("raised", "outcome"), [(RuntimeError("broken"), "error"), (Http404("gone"), "discarded")])
def test_an_exception_is_known(
    tracking: Tracking, records: list[RunRecord], kind: str, raised: Exception, outcome: str
) -> None:
    """An exception that Django turns into a response is in the record."""

    def view(request: HttpRequest) -> HttpResponse:
        raise raised

    answer(application({"": view}, MAKERS[kind], tracking=tracking, config_key=always_chat))

    assert [(record.outcome, record.error) for record in records] == [(outcome, raised)]


def test_an_exception_without_a_run(tracking: Tracking, records: list[RunRecord]) -> None:
    """Without a run, an exception reaches Django unchanged."""

    def view(request: HttpRequest) -> HttpResponse:
        raise RuntimeError("broken")

    assert b"Server Error" in get(application({"": view}, get_wsgi_application, tracking=tracking))
    assert (records, tracking.stats().diagnostics) == ([], {})


def test_a_head_request_is_no_lost_client(tracking: Tracking, records: list[RunRecord]) -> None:
    """A response to a HEAD request that the server closes unread does not cancel the run."""
    views = {"": lambda request: StreamingHttpResponse(iter(["word "]))}
    body, _ = open_body(application(views, get_wsgi_application, tracking=tracking, config_key=always_chat), "HEAD")
    body.close()

    assert [record.outcome for record in records] == ["success"]


def test_a_file_passes_as_it_is(tracking: Tracking, records: list[RunRecord]) -> None:
    """A file reaches the server's own file wrapper, which sends it without copying."""
    views = {"": track_ai(config_key="summary")(lambda request: FileResponse(io.BytesIO(b"data")))}
    app = application(views, get_wsgi_application, tracking=tracking, config_key=always_chat)
    wrapper: dict[str, Any] = {"wsgi.file_wrapper": FileWrapper}
    body, _ = open_body(app, **wrapper)

    assert type(body) is FileWrapper
    assert b"".join(body) == b"data"
    assert [record.outcome for record in records] == ["success", "success"]


@pytest.mark.parametrize("middleware", [[OURS, GZIP], [GZIP, OURS]])
def test_compressed_bodies(tracking: Tracking, records: list[RunRecord], middleware: list[str]) -> None:
    """Compression outside of the middleware does not matter; a body that was compressed inside of it is not read."""
    views = {"": lambda request: HttpResponse("word " * 200, content_type="text/plain")}
    app = application(views, get_wsgi_application, middleware, tracking=tracking, config_key=always_chat)

    assert get(app, HTTP_ACCEPT_ENCODING="gzip").startswith(b"\x1f\x8b")
    output_tokens = records[0].usage.output_tokens if records[0].usage is not None else None
    assert output_tokens == (None if middleware[0] == OURS else 201)


def test_class_based_views(tracking: Tracking, records: list[RunRecord]) -> None:
    """Methods are decorated as they are, ``dispatch`` as Django's documentation says; coroutines too."""

    @method_decorator(track_ai(config_key="chat"), name="dispatch")
    class Chat(View):  # type: ignore[misc]  # Django is untyped
        def get(self, request: HttpRequest) -> HttpResponse:
            return HttpResponse("got")

    class Summary(View):  # type: ignore[misc]
        @track_ai(config_key="summary")
        async def get(self, request: HttpRequest, run: Run) -> HttpResponse:
            return HttpResponse(run.config_key)

    for kind, view in (("wsgi", Chat), ("asgi", Summary)):
        app = application({"": view.as_view()}, MAKERS[kind], tracking=tracking)
        assert answer(app) in (b"got", b"summary")

    assert [record.config_key for record in records] == ["chat", "summary"]


class Page:
    """A template that calls a model."""

    def render(self, *_args: object) -> str:
        """Return the answer."""
        return str(current_run().observe(handlers.completion())["id"])


@pytest.mark.parametrize(("place", "calls"), [("middleware", 1), ("decorator, in the view", 1), ("decorator", 0)])
def test_a_template_that_calls_a_model(tracking: Tracking, records: list[RunRecord], place: str, calls: int) -> None:
    """A template belongs to the run of the middleware, and to that of the view if the view renders it."""

    def view(request: HttpRequest) -> HttpResponse:
        page = TemplateResponse(request, Page())
        return page.render() if place.endswith("in the view") else page

    if place == "middleware":
        app = application({"": view}, get_wsgi_application, tracking=tracking, config_key="chat")
    else:
        app = application({"": track_ai(config_key="chat")(view)}, get_wsgi_application, tracking=tracking)
    assert get(app)
    assert [(record.calls, record.outcome) for record in records] == [(calls, "success")]


@pytest.mark.parametrize("kind", MAKERS)
def test_whatever_is_mounted_twice_makes_one_run(tracking: Tracking, records: list[RunRecord], kind: str) -> None:
    """Inside of another middleware of this library, it joins the open run."""
    views = {"": lambda request: HttpResponse("Hello")}
    app = application(views, MAKERS[kind], [OURS, OURS], tracking=tracking, config_key=always_chat)
    answer(app)
    assert len(records) == 1

    if kind == "wsgi":
        get(WSGITrackingMiddleware(app, tracking, config_key=always_chat))
    else:
        call(ASGITrackingMiddleware(app, tracking, config_key=always_chat))
    assert len(records) == 2


def test_it_knows_the_context_of_a_middleware_above(tracking: Tracking) -> None:
    """The LD context of the outermost middleware is that of the request."""
    app = application({"": lambda request: HttpResponse(ask())}, get_wsgi_application, tracking=tracking)

    assert get(WSGITrackingMiddleware(app, tracking, ld_context=lambda environ: Context.create("ada"))) == b"ada"


def test_each_application_has_its_tracking(tracking: Tracking, records: list[RunRecord]) -> None:
    """Below the middleware of another tracking it opens a request scope and a run of its own."""
    other = Tracking(tracking.client)
    app = application(
        {"": lambda request: HttpResponse("Hello")}, get_wsgi_application, tracking=other, config_key=always_chat
    )
    get(WSGITrackingMiddleware(app, tracking, config_key=always_chat))

    assert len(records) == 2
    assert records[0].run_id != records[1].run_id


@pytest.mark.parametrize("middleware", [[f"{__name__}.name_visitor", OURS], [OURS, f"{__name__}.name_visitor"]])
def test_a_sync_middleware_under_asgi(tracking: Tracking, records: list[RunRecord], middleware: list[str]) -> None:
    """The run stays current when Django switches to a thread and back."""

    async def view(request: HttpRequest) -> HttpResponse:
        return HttpResponse(f"{request.visitor} {current_run().config_key} {ask()}")

    def ld_context(request: HttpRequest) -> Context:
        return Context.create("grace")

    app = application(
        {"": view}, get_asgi_application, middleware, tracking=tracking, config_key=always_chat, ld_context=ld_context
    )

    assert answer(app) == b"ada chat grace"
    assert [record.outcome for record in records] == ["success"]


@pytest.mark.parametrize("kind", MAKERS)
def test_flush_after_each_request(http_tracking: Tracking, dev_server: DevServer, kind: str) -> None:
    """With ``flush="request"``, the events arrive before Django has closed the response."""
    tracking = Tracking(http_tracking.client, settings=Settings(flush="request"))
    views = {"": lambda request: HttpResponse(ask())}
    answer(application(views, MAKERS[kind], tracking=tracking))

    assert "$ld:ai:generation:success" in {event["key"] for event in dev_server.events() if event["kind"] == "custom"}


def test_the_protocol_is_kept(tracking: Tracking) -> None:
    """The standard library's validator finds no violation."""
    views = {"": lambda request: StreamingHttpResponse(iter(["Hello ", "there"]))}
    app = application(views, get_wsgi_application, tracking=tracking, config_key=always_chat)

    assert get(validator(app)) == b"Hello there"


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_told_with_the_value_and_the_remedy(tracking: Tracking, mistake: str) -> None:
    """A value that cannot work raises ConfigurationError when Django loads the middleware."""
    options, text = MISTAKES[mistake]
    if options == {"ld_context": "ada"}:  # taken for a dotted path
        text = "settings.LDAI['ld_context'] is 'ada', which cannot be imported: ada doesn't look like a module path"

    with pytest.raises(ConfigurationError, match=re.escape(text)):
        application({}, get_wsgi_application, tracking=tracking, **options)


@pytest.mark.parametrize("option", OPTIONS_OF_RUNS)
def test_an_option_that_cannot_take_effect(tracking: Tracking, option: str) -> None:
    """Without a config key, the options of runs are refused when Django loads the middleware."""
    with pytest.raises(ConfigurationError, match=f"without config_key cannot use {option}="):
        application({}, get_wsgi_application, tracking=tracking, **{option: OPTIONS_OF_RUNS[option]})


def test_an_unknown_setting() -> None:
    """The error names a misspelt option and lists the valid ones."""
    with pytest.raises(ConfigurationError, match=r"settings.LDAI has 'config', 'tracker'; it may have tracking, "):
        application({}, get_wsgi_application, tracker=None, config="chat")


def test_without_launchdarkly(fresh_process: None) -> None:
    """Without a Tracking, and without one of the process, the error names the ways to provide one."""
    with pytest.raises(TrackingNotConfiguredError, match=r"LAUNCHDARKLY_SDK_KEY.*LDAI_DEV_SERVER.*LDAI_CONFIG_FILE"):
        application({}, get_wsgi_application)
