"""The span of a run is the current span while code of the run works, and at no other time."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, closing
from typing import Any

import flask
import pytest
from django.core.wsgi import get_wsgi_application
from django.http import HttpResponse
from ldclient.hook import EvaluationSeriesContext, Hook, Metadata
from opentelemetry import baggage, context, trace
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.routing import Route
from starlette.testclient import TestClient
from werkzeug.test import Client

from ldai_integrations import Tracking, current_run, track_ai
from ldai_integrations.asgi import ASGITrackingMiddleware
from ldai_integrations.flask import AITracking
from ldai_integrations.opentelemetry import OpenTelemetrySink
from ldai_integrations.testing import OfflineLaunchDarkly, RecordingSink, ai_config
from ldai_integrations.wsgi import WSGITrackingMiddleware

from ..contract.drivers.django import ASGIApplication, application
from ..integrations.asgi_calls import call, http_scope
from .conftest import Telemetry

Call = Callable[[], object]
Kind = Callable[[Tracking, Call], object]


def with_block(tracking: Tracking, model: Call) -> None:
    """Call the model in a ``with`` block."""
    with track_ai("bot", tracking=tracking):
        model()


def async_with_block(tracking: Tracking, model: Call) -> None:
    """Call the model in an ``async with`` block."""

    async def main() -> None:
        async with track_ai("bot", tracking=tracking):
            await asyncio.sleep(0)
            model()

    asyncio.run(main())


def function(tracking: Tracking, model: Call) -> None:
    """Call the model in a function."""
    track_ai("bot", tracking=tracking)(lambda: model())()


def coroutine_function(tracking: Tracking, model: Call) -> None:
    """Call the model in a coroutine function."""

    @track_ai("bot", tracking=tracking)
    async def handler() -> None:
        await asyncio.sleep(0)
        model()

    asyncio.run(handler())


def generator_function(tracking: Tracking, model: Call) -> None:
    """Call the model between the items of a generator."""

    @track_ai("bot", tracking=tracking)
    def handler() -> Iterator[str]:
        yield "one"
        model()
        yield "two"

    assert list(handler()) == ["one", "two"]


def closed_generator(tracking: Tracking, model: Call) -> None:
    """Call the model where a generator is closed."""

    @track_ai("bot", tracking=tracking)
    def handler() -> Iterator[str]:
        try:
            yield "one"
        finally:
            model()

    with closing(handler()) as stream:  # type: ignore[type-var]  # it is a generator
        next(stream)


def returned_generator(tracking: Tracking, model: Call) -> None:
    """Call the model in a generator that a function returns."""

    def stream() -> Iterator[str]:
        model()
        yield "one"

    assert list(track_ai("bot", tracking=tracking)(lambda: stream())()) == ["one"]


def async_generator_function(tracking: Tracking, model: Call) -> None:
    """Call the model between the items of an async generator."""

    @track_ai("bot", tracking=tracking)
    async def handler() -> AsyncIterator[str]:
        yield "one"
        await asyncio.sleep(0)
        model()
        yield "two"

    async def main() -> list[str]:
        return [item async for item in handler()]

    assert asyncio.run(main()) == ["one", "two"]


def closed_async_generator(tracking: Tracking, model: Call) -> None:
    """Call the model where an async generator is closed."""

    @track_ai("bot", tracking=tracking)
    async def handler() -> AsyncIterator[str]:
        try:
            yield "one"
        finally:
            model()

    async def main() -> None:
        async with aclosing(handler()) as stream:  # type: ignore[type-var]  # it is a generator
            await anext(stream)

    asyncio.run(main())


def returned_coroutine(tracking: Tracking, model: Call) -> None:
    """Call the model in a coroutine that a function returns."""

    async def ask() -> None:
        await asyncio.sleep(0)
        model()

    async def main() -> None:
        await track_ai("bot", tracking=tracking)(lambda: ask())()

    asyncio.run(main())


def bound_function(tracking: Tracking, model: Call) -> None:
    """Call the model on a thread, through ``run.bind``."""
    with track_ai("bot", tracking=tracking) as run, ThreadPoolExecutor(1) as executor:
        executor.submit(run.bind(model)).result()


def bound_coroutine_function(tracking: Tracking, model: Call) -> None:
    """Call the model in an event loop of another thread, through ``run.bind``."""

    async def ask() -> None:
        await asyncio.sleep(0)
        model()

    with track_ai("bot", tracking=tracking) as run, ThreadPoolExecutor(1) as executor:
        executor.submit(asyncio.run, run.bind(ask)()).result()


def asyncio_thread(tracking: Tracking, model: Call) -> None:
    """Call the model with ``asyncio.to_thread``, which copies the context."""

    async def main() -> None:
        async with track_ai("bot", tracking=tracking):
            await asyncio.to_thread(model)

    asyncio.run(main())


def wsgi_middleware(tracking: Tracking, model: Call) -> None:
    """Call the model in a body that the server iterates, below the WSGI middleware."""

    def app(environ: Any, start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [("Content-Type", "text/plain")])
        yield b"one"
        model()
        yield b"two"

    body = Client(WSGITrackingMiddleware(app, tracking, config_key="bot")).get("/", buffered=True)
    assert body.data == b"onetwo"


def flask_extension(tracking: Tracking, model: Call) -> None:
    """Call the model in a view of Flask, whose requests are tracked."""
    app = flask.Flask(__name__)
    AITracking(app, tracking, config_key="bot")
    app.add_url_rule("/", view_func=lambda: str(model()))
    app.test_client().get("/", buffered=True)


def flask_stream(tracking: Tracking, model: Call) -> None:
    """Call the model in a stream of a decorated view of Flask."""
    app = flask.Flask(__name__)

    def stream() -> Iterator[str]:
        yield "one"
        model()

    app.add_url_rule("/", view_func=track_ai("bot", tracking=tracking)(lambda: flask.Response(stream())))
    assert app.test_client().get("/", buffered=True).data == b"one"


def asgi_middleware(tracking: Tracking, model: Call) -> None:
    """Call the model in an application below the ASGI middleware."""

    async def endpoint(request: Request) -> PlainTextResponse:
        model()
        return PlainTextResponse("one")

    app = Starlette(routes=[Route("/", endpoint)])
    call(ASGITrackingMiddleware(app, tracking, config_key="bot"), http_scope())


def starlette_stream(tracking: Tracking, model: Call) -> None:
    """Call the model in a stream of a decorated endpoint of Starlette, which another thread iterates."""

    def stream() -> Iterator[str]:
        yield "one"
        model()

    @track_ai("bot", tracking=tracking)
    async def endpoint(request: Request) -> StreamingResponse:
        return StreamingResponse(stream())

    assert TestClient(Starlette(routes=[Route("/", endpoint)])).get("/").text == "one"


KINDS = [
    with_block,
    async_with_block,
    function,
    coroutine_function,
    generator_function,
    closed_generator,
    returned_generator,
    async_generator_function,
    closed_async_generator,
    returned_coroutine,
    bound_function,
    bound_coroutine_function,
    asyncio_thread,
    wsgi_middleware,
    flask_extension,
    flask_stream,
    asgi_middleware,
    starlette_stream,
]


@pytest.fixture(autouse=True)
def nothing_left(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Check that nothing stays current, and that OpenTelemetry has nothing to complain about."""
    before = context.get_current()
    yield
    assert context.get_current() is before
    assert [record.getMessage() for record in caplog.records if record.name.startswith("opentelemetry")] == []


def parent_of(telemetry: Telemetry, name: str) -> str:
    """Return the name of the parent of the only span of this name."""
    spans = telemetry.exporter.get_finished_spans()
    [span] = [span for span in spans if span.name == name]
    parent = span.parent
    return "" if parent is None else next(one.name for one in spans if one.context.span_id == parent.span_id)


@pytest.mark.parametrize("kind", KINDS)
def test_a_provider_call(tracking: Tracking, telemetry: Telemetry, sink: RecordingSink, kind: Kind) -> None:
    """The span of a call is a child of the span of the run, in every kind of handler, and its tokens count once."""
    kind(tracking, lambda: telemetry.call(gen_ai__usage__input_tokens=20, gen_ai__usage__output_tokens=8))
    [record] = sink.wait()

    assert parent_of(telemetry, "call") == "chat gpt-4o-mini"
    assert parent_of(telemetry, "chat gpt-4o-mini") == ""
    assert record.usage is not None
    assert (record.usage.input_tokens, record.usage.output_tokens, record.usage.source) == (20, 8, "provider")


@pytest.mark.parametrize("kind", [one for one in KINDS if one is not closed_async_generator])
def test_exceptions(tracking: Tracking, telemetry: Telemetry, kind: Kind) -> None:
    """A run that raises an exception leaves nothing current, too."""

    def model() -> None:
        raise TimeoutError

    try:
        kind(tracking, model)
    except Exception:  # old versions of Starlette raise a group of the exception
        pass
    tracking.flush()

    assert len(telemetry.exporter.get_finished_spans()) == 1


@pytest.mark.parametrize("interface", ["wsgi", "asgi"])
def test_django(tracking: Tracking, telemetry: Telemetry, interface: str) -> None:
    """It is the same for the middleware of Django."""

    def view(_request: Any) -> HttpResponse:
        telemetry.call()
        return HttpResponse("one")

    make = get_wsgi_application if interface == "wsgi" else ASGIApplication
    app = application({"": view}, make, tracking=tracking, config_key=lambda _request: "bot")
    if interface == "wsgi":
        Client(app).get("/", buffered=True)
    else:
        call(app, http_scope())
    tracking.flush()

    assert parent_of(telemetry, "call") == "chat gpt-4o-mini"


def test_runs_at_the_same_time(tracking: Tracking, telemetry: Telemetry) -> None:
    """Tasks and threads have the span of their own run."""

    @track_ai("bot", tracking=tracking)
    async def in_task(number: int) -> str:
        await asyncio.sleep(0)
        with telemetry.tracer.start_as_current_span(f"call {number}"):
            await asyncio.sleep(0)
        return current_run().id

    @track_ai("bot", tracking=tracking)
    def in_thread(number: int) -> str:
        barrier.wait()
        with telemetry.tracer.start_as_current_span(f"call {number}"):
            barrier.wait()
        return current_run().id

    async def main() -> list[str]:
        return await asyncio.gather(*map(in_task, range(20)))

    barrier = threading.Barrier(4, timeout=30)
    ids = asyncio.run(main())
    with ThreadPoolExecutor(4) as executor:
        ids += executor.map(in_thread, range(20, 24))
    spans = {span.context.span_id: span for span in telemetry.exporter.get_finished_spans()}
    calls = {span.name: span.parent for span in spans.values() if span.name.startswith("call")}

    for number, run_id in enumerate(ids):
        parent = calls[f"call {number}"]
        assert parent is not None
        assert (spans[parent.span_id].attributes or {})["launchdarkly.run.id"] == run_id


def test_runs_within_runs(tracking: Tracking, telemetry: Telemetry) -> None:
    """The span of an inner run is a child of the span of the outer one, which is current again afterwards."""
    with track_ai("bot", tracking=tracking):
        with track_ai("helper", mode="agent", tracking=tracking), telemetry.tracer.start_as_current_span("inner"):
            pass
        with telemetry.tracer.start_as_current_span("outer"):
            pass

    assert parent_of(telemetry, "inner") == "invoke_agent helper"
    assert parent_of(telemetry, "invoke_agent helper") == "chat gpt-4o-mini"
    assert parent_of(telemetry, "outer") == "chat gpt-4o-mini"


def test_a_joined_run(tracking: Tracking, telemetry: Telemetry) -> None:
    """Code that joins the open run stays below the span that the application has opened in between."""

    @track_ai("bot", tracking=tracking)
    def ask() -> None:
        telemetry.call()

    with track_ai("bot", tracking=tracking), telemetry.tracer.start_as_current_span("retrieval"):
        ask()

    assert parent_of(telemetry, "call") == "retrieval"


@pytest.mark.parametrize("is_async", [False, True])
def test_a_span_across_items(tracking: Tracking, telemetry: Telemetry, is_async: bool) -> None:
    """A generator that is inside of a span of its own stays there, and its consumer stays outside."""
    start, seen = telemetry.tracer.start_as_current_span, []

    @track_ai("bot", tracking=tracking)
    def stream() -> Iterator[str]:
        with start("own"):
            yield "one"
            telemetry.call()
            yield "two"
        with start("afterwards"):
            yield "three"

    @track_ai("bot", tracking=tracking)
    async def astream() -> AsyncIterator[str]:
        for item in stream.__wrapped__():  # type: ignore[attr-defined]  # of functools
            yield item

    async def consume() -> None:
        seen.extend([trace.get_current_span() async for _ in astream()])

    with start("consumer") as consumer:
        if is_async:
            asyncio.run(consume())
        else:
            seen.extend([trace.get_current_span() for _ in stream()])

    assert seen == [consumer] * 3
    assert parent_of(telemetry, "call") == "own"
    assert parent_of(telemetry, "own") == parent_of(telemetry, "afterwards") == "chat gpt-4o-mini"
    assert parent_of(telemetry, "chat gpt-4o-mini") == "consumer"


def test_streams_that_take_turns(tracking: Tracking, telemetry: Telemetry) -> None:
    """Streams whose items are taken in turn have the span of their own run."""

    @track_ai("bot", tracking=tracking)
    def stream(name: str) -> Iterator[str]:
        yield "one"
        with telemetry.tracer.start_as_current_span(name):
            yield current_run().id

    first, second = stream("first"), stream("second")
    assert (next(first), next(second)) == ("one", "one")
    ids = {"first": next(first), "second": next(second)}
    assert (list(second), list(first)) == ([], [])

    spans = {span.context.span_id: span for span in telemetry.exporter.get_finished_spans()}
    for name, run_id in ids.items():
        [parent] = [span.parent for span in spans.values() if span.name == name]
        assert parent is not None
        assert (spans[parent.span_id].attributes or {})["launchdarkly.run.id"] == run_id


def test_a_cancelled_stream(tracking: Tracking, telemetry: Telemetry) -> None:
    """The span of a stream ends when its consumer leaves, and says so."""

    @track_ai("bot", tracking=tracking)
    async def stream() -> AsyncIterator[str]:
        while True:
            yield "more"

    async def main() -> None:
        async with aclosing(stream()) as items:  # type: ignore[type-var]  # it is a generator
            await anext(items)

    asyncio.run(main())
    tracking.flush()
    [span] = telemetry.spans().values()

    assert (span.attributes or {})["launchdarkly.stream.abandoned"] is True


def test_a_cancelled_task(tracking: Tracking, telemetry: Telemetry) -> None:
    """The span of a task that is cancelled ends there, and says so."""

    @track_ai("bot", tracking=tracking)
    async def handler() -> None:
        await asyncio.sleep(60)

    async def main() -> None:
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(handler(), 0.01)

    asyncio.run(main())
    tracking.flush()
    [span] = telemetry.spans().values()

    assert (span.attributes or {})["launchdarkly.run.cancelled"] is True


def test_a_forgotten_coroutine(tracking: Tracking, telemetry: Telemetry) -> None:
    """A suspended coroutine that the garbage collector closes in another context changes nothing there."""

    @track_ai("bot", tracking=tracking)
    async def handler() -> None:
        await asyncio.Event().wait()

    def start() -> Any:
        coroutine = handler()
        coroutine.send(None)
        return coroutine

    async def suspend() -> Any:
        return context_of_task.run(start)

    context_of_task = contextvars.copy_context()
    coroutine = asyncio.run(suspend())
    with telemetry.tracer.start_as_current_span("somewhere else") as here:
        del coroutine
        gc.collect()
        assert trace.get_current_span() is here
    tracking.flush()

    assert parent_of(telemetry, "chat gpt-4o-mini") == ""


def test_baggage(tracking: Tracking) -> None:
    """Everything that was current where the run opened is current in its code, on other threads too."""
    token = context.attach(baggage.set_baggage("tenant", "acme"))
    with track_ai("bot", tracking=tracking) as run:
        seen = [baggage.get_baggage("tenant")]
        with ThreadPoolExecutor(1) as executor:
            seen.append(executor.submit(run.bind(baggage.get_baggage), "tenant").result())
    context.detach(token)

    assert seen == ["acme", "acme"]


def test_without_a_provider(launchdarkly: OfflineLaunchDarkly, telemetry: Telemetry) -> None:
    """If no provider is configured, the span of the request stays the parent of everything in it."""
    tracking = Tracking(launchdarkly.client, sinks=[OpenTelemetrySink()])
    with telemetry.tracer.start_as_current_span("request"), track_ai("bot", tracking=tracking):
        telemetry.call()

    assert parent_of(telemetry, "call") == "request"


class SpanHook(Hook):
    """What LaunchDarkly's own telemetry does at each evaluation: it writes to the current span."""

    @property
    def metadata(self) -> Metadata:
        """Name it."""
        return Metadata(name="spans")

    def before_evaluation(self, series_context: EvaluationSeriesContext, data: dict[Any, Any]) -> Any:
        """Pass on the data."""
        return data

    def after_evaluation(self, series_context: EvaluationSeriesContext, data: dict[Any, Any], detail: Any) -> Any:
        """Write the key of the LD context and the whole variation."""
        attributes = {"feature_flag.context.id": series_context.context.key, "value": str(detail.value)}
        trace.get_current_span().add_event("feature_flag", attributes)
        return data


def test_next_to_the_hook_of_launchdarkly(
    launchdarkly: OfflineLaunchDarkly, tracking: Tracking, telemetry: Telemetry
) -> None:
    """What LaunchDarkly's hook writes goes to the span of the request, and the run's span has one evaluation."""
    launchdarkly.client.add_hook(SpanHook())
    launchdarkly.serve("bot", ai_config(messages="a secret prompt"))
    with telemetry.tracer.start_as_current_span("request"), track_ai("bot", tracking=tracking) as run:
        assert run.config.enabled
    spans = telemetry.spans()
    [ours], theirs = spans["chat gpt-4o-mini"].events, spans["request"].events

    assert "secret" not in str(ours.attributes)
    assert "feature_flag.context.id" not in (ours.attributes or {})
    assert "secret" in str([event.attributes for event in theirs])
