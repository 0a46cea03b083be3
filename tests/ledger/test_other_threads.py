"""Provider calls on threads and in tasks that do not know their run, or outlive it."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import inspect
import json
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from threading import Thread
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from openai import OpenAIError
from starlette.background import BackgroundTasks
from starlette.responses import PlainTextResponse
from starlette.testclient import TestClient
from werkzeug.test import Client

from ldai_integrations import Run, current_run, track_ai, wrap_client
from ldai_integrations.asgi import ASGITrackingMiddleware
from ldai_integrations.testing import OfflineLaunchDarkly, RecordingSink
from ldai_integrations.wsgi import WSGITrackingMiddleware

from .provider import COMPLETION, IN, OUT, Provider

ASK: list[Any] = [{"role": "user", "content": "Hi"}]
Ask = Callable[[], str]


@pytest.fixture
def ask(provider: Provider, openai: Any) -> Ask:
    """Return a function that calls a wrapped client."""
    client = wrap_client(openai)
    return lambda: str(client.chat.completions.create(model="gpt-4o-mini", messages=ASK).choices[0].message.content)


def on_thread(ask: Ask, run: Run | None = None) -> str:
    """Call on a plain thread."""
    answers: list[str] = []
    call = ask if run is None else run.bind(ask)
    thread = Thread(target=lambda: answers.append(call()))
    thread.start()
    thread.join()
    return answers[0]


def on_pool(ask: Ask, run: Run | None = None) -> str:
    """Call on a thread pool."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(ask if run is None else run.bind(ask)).result()


async def in_executor(ask: Ask, run: Run | None = None) -> str:
    """Call in the executor of the event loop."""
    return await asyncio.get_running_loop().run_in_executor(None, ask if run is None else run.bind(ask))


async def in_new_context(ask: Ask, run: Run | None = None) -> str:
    """Call in a task with a context of its own."""

    async def call() -> str:
        return ask()

    bound = call if run is None else run.bind(call)
    return await contextvars.Context().run(asyncio.get_running_loop().create_task, bound())


PLACES = [on_thread, on_pool, in_executor, in_new_context]


def handle(place: Callable[..., Any], ask: Ask, *, binds: bool) -> str:
    """Call in a place, within a tracked handler."""

    @track_ai(config_key="chat")
    def handler(run: Run) -> str:
        return str(place(ask, run if binds else None))

    @track_ai(config_key="chat")
    async def async_handler(run: Run) -> str:
        return str(await place(ask, run if binds else None))

    return asyncio.run(async_handler()) if inspect.iscoroutinefunction(place) else handler()


@pytest.mark.parametrize("place", PLACES)
def test_bind(place: Callable[..., Any], ask: Ask, launchdarkly: OfflineLaunchDarkly, runs: RecordingSink) -> None:
    """``run.bind`` carries the run to threads, to executors and to tasks with another context."""
    assert handle(place, ask, binds=True) == "Hello there"
    record = runs.wait()[0]
    assert record.usage is not None
    assert (record.usage.input_tokens, record.usage.output_tokens, record.calls) == (IN, OUT, 1)
    assert launchdarkly.tracking.stats().diagnostics == {}


@pytest.mark.parametrize("place", PLACES)
def test_without_bind(
    place: Callable[..., Any],
    ask: Ask,
    launchdarkly: OfflineLaunchDarkly,
    runs: RecordingSink,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A call outside of any run is counted and warned of once; the tokens of the open runs are unknown."""
    for _ in range(2):
        assert handle(place, ask, binds=False) == "Hello there"
    for record in runs.wait(2):
        assert (record.outcome, record.usage, record.calls) == ("success", None, 0)
    assert launchdarkly.tracking.stats().diagnostics == {"call_outside_run": 2}
    (line,) = [one for one in caplog.records if one.name == "ldai_integrations"]
    assert line.levelno == logging.WARNING
    assert "run.bind" in line.getMessage()
    assert not [name for name, _ in launchdarkly.events.of_runs() if name.startswith("tokens")]


@pytest.mark.parametrize("way", ["send", "stream", "observe", "observe a stream"])
def test_a_run_that_is_passed_to_a_thread(
    way: str, openai: Any, launchdarkly: OfflineLaunchDarkly, runs: RecordingSink
) -> None:
    """A thread that was given the run needs no ``bind`` for ``run.request`` and ``run.observe``."""
    client: Any = wrap_client(openai, include_usage="always")

    def ask(run: Run) -> str:
        request = run.request(client, user="Hi")
        if way == "send":
            return request.send().text
        if way == "stream":
            return "".join(request.stream())
        options = {"stream": True, "stream_options": {"include_usage": True}} if way == "observe a stream" else {}
        response = run.observe(client.chat.completions.create(**request, **options))
        if not options:
            return str(response.choices[0].message.content)
        return "".join(chunk.choices[0].delta.content or "" for chunk in response if chunk.choices)

    @track_ai(config_key="chat")
    def handler(run: Run) -> str:
        return on_thread(lambda: ask(run))

    assert handler() == "Hello there"
    usage = runs.wait()[0].usage
    assert usage is not None
    assert (usage.input_tokens, usage.output_tokens, usage.source, usage.lower_bound) == (IN, OUT, "provider", False)
    assert launchdarkly.tracking.stats().diagnostics == {}


@pytest.mark.parametrize("way", ["asend", "observe", "observe later"])
def test_a_run_that_is_passed_to_another_loop(
    way: str, provider: Provider, launchdarkly: OfflineLaunchDarkly, runs: RecordingSink
) -> None:
    """The same for an event loop on another thread."""
    package = pytest.importorskip("openai")

    async def ask(run: Run) -> str:
        async with package.AsyncOpenAI(base_url=provider.url, api_key="none", max_retries=0) as plain:
            client = wrap_client(plain)
            if way == "asend":
                return (await run.request(client, user="Hi").asend()).text
            call = client.chat.completions.create(model="gpt-4o-mini", messages=ASK)
            response = await run.observe(call) if way == "observe later" else run.observe(await call)
            return str(response.choices[0].message.content)

    @track_ai(config_key="chat")
    def handler(run: Run) -> str:
        return on_thread(lambda: asyncio.run(ask(run)))

    assert handler() == "Hello there"
    usage = runs.wait()[0].usage
    assert usage is not None
    assert (usage.input_tokens, usage.output_tokens, usage.lower_bound) == (IN, OUT, False)
    assert launchdarkly.tracking.stats().diagnostics == {}


@pytest.mark.parametrize("is_wrapped", [True, False])
def test_a_request_after_the_end(
    is_wrapped: bool, openai: Any, launchdarkly: OfflineLaunchDarkly, runs: RecordingSink
) -> None:
    """A request of a run that has ended calls the model, and is counted once."""
    with track_ai(config_key="chat") as run:
        request = run.request(wrap_client(openai) if is_wrapped else openai, user="Hi")
        request.send()
    assert request.send().text == "Hello there"
    assert [record.calls for record in runs.wait()] == [1]
    assert launchdarkly.tracking.stats().diagnostics == {"call_after_run": 1}


def test_a_lower_bound(ask: Ask, runs: RecordingSink) -> None:
    """If other calls of the run were seen, its tokens are a lower bound."""
    with track_ai(config_key="chat"):
        ask()
        on_thread(ask)
    usage = runs.wait()[0].usage
    assert usage is not None
    assert (usage.input_tokens, usage.output_tokens, usage.lower_bound) == (IN, OUT, True)


def test_other_requests_are_not_affected(ask: Ask, launchdarkly: OfflineLaunchDarkly, runs: RecordingSink) -> None:
    """A request that is known and has no run does not make the tokens of another one's run unknown."""
    app = FastAPI()
    app.get("/")(lambda: PlainTextResponse(ask()))
    served = ASGITrackingMiddleware(app, launchdarkly.tracking)
    with track_ai(config_key="chat"):
        ask()
        with TestClient(served) as browser:
            assert browser.get("/").text == "Hello there"
    usage = runs.wait()[0].usage
    assert usage is not None
    assert (usage.input_tokens, usage.lower_bound) == (IN, False)
    assert launchdarkly.tracking.stats().diagnostics == {}


def test_calls_without_open_runs(ask: Ask, launchdarkly: OfflineLaunchDarkly) -> None:
    """A call while no run is open is none of the library's business."""
    assert ask() == on_thread(ask) == "Hello there"
    assert launchdarkly.tracking.stats().diagnostics == {}


@pytest.mark.parametrize("config_key", ["chat", lambda _environ: "chat"])
def test_calls_after_the_requests_of_a_middleware(
    config_key: Any,
    provider: Provider,
    openai: Any,
    launchdarkly: OfflineLaunchDarkly,
    runs: RecordingSink,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """If a middleware tracks requests, a call on a thread that works on after them is counted and logged."""
    client = wrap_client(openai)

    def application(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [])
        return [b"accepted"]

    app = WSGITrackingMiddleware(application, launchdarkly.tracking, config_key=config_key)
    client.chat.completions.create(model="gpt-4o-mini", messages=ASK)  # at the start of the application
    assert "call_outside_run" not in launchdarkly.tracking.stats().diagnostics
    for _ in range(2):
        assert Client(app).post("/").data == b"accepted"
        on_pool(lambda: str(client.chat.completions.create(model="gpt-4o-mini", messages=ASK)))
    assert launchdarkly.tracking.stats().diagnostics["call_outside_run"] == 2
    assert len([line for line in caplog.messages if "outside of any run" in line]) == 1


def test_calls_after_a_tracking_was_closed(
    provider: Provider, openai: Any, launchdarkly: OfflineLaunchDarkly, caplog: pytest.LogCaptureFixture
) -> None:
    """A closed Tracking has no requests, so that a call outside of a run is not noted."""

    def application(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [])
        return [b"accepted"]

    app = WSGITrackingMiddleware(application, launchdarkly.tracking, config_key="chat")
    assert Client(app).post("/").data == b"accepted"
    launchdarkly.tracking.close()
    wrap_client(openai).chat.completions.create(model="gpt-4o-mini", messages=ASK)
    assert "call_outside_run" not in launchdarkly.tracking.stats().diagnostics
    assert "outside of any run" not in caplog.text


def test_a_task_that_outlives_its_run(
    provider: Provider,
    async_openai: Any,
    launchdarkly: OfflineLaunchDarkly,
    runs: RecordingSink,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A call after the end of its run is counted and warned of once; the run does not change."""
    client = wrap_client(async_openai)

    async def later() -> None:
        await asyncio.sleep(0.01)
        await client.chat.completions.create(model="gpt-4o-mini", messages=ASK)

    @track_ai(config_key="chat")
    async def handler() -> tuple[str, Any]:
        await client.chat.completions.create(model="gpt-4o-mini", messages=ASK)
        return "soon", asyncio.create_task(later())

    async def serve() -> None:
        for _ in range(2):
            await (await handler())[1]
        await async_openai.close()

    asyncio.run(serve())
    for record in runs.wait(2):
        assert record.usage is not None
        assert (record.usage.input_tokens, record.calls) == (IN, 1)
    assert launchdarkly.tracking.stats().diagnostics == {"call_after_run": 2}
    (line,) = [one for one in caplog.records if one.name == "ldai_integrations"]
    assert "track_ai" in line.getMessage()


@pytest.mark.parametrize("calls_itself", [True, False])
def test_a_worker_that_the_first_run_has_started(
    calls_itself: bool, provider: Provider, async_openai: Any, runs: RecordingSink
) -> None:
    """A worker makes the calls of later runs in the context of the first one; the tokens of those are marked."""
    client = wrap_client(async_openai)
    questions: asyncio.Queue[asyncio.Future[str]] = asyncio.Queue()

    async def ask() -> str:
        completion = await client.chat.completions.create(model="gpt-4o-mini", messages=ASK)
        return str(completion.choices[0].message.content)

    async def work() -> None:
        while True:
            (await questions.get()).set_result(await ask())

    async def serve() -> None:
        workers: list[asyncio.Task[None]] = []
        for _ in range(2):
            async with track_ai(config_key="chat"):
                if not workers:
                    workers.append(asyncio.create_task(work()))
                answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()
                questions.put_nowait(answer)
                assert await answer == "Hello there"
                if calls_itself:
                    await ask()
        workers[0].cancel()
        await async_openai.close()

    asyncio.run(serve())
    first, later = runs.wait(2)
    assert first.usage is not None
    assert (first.usage.input_tokens, first.usage.lower_bound) == (2 * IN if calls_itself else IN, False)
    assert later.outcome == ("success" if calls_itself else "discarded")
    assert (later.usage and (later.usage.input_tokens, later.usage.lower_bound)) == (
        (IN, True) if calls_itself else None
    )


@pytest.mark.parametrize("usage", [COMPLETION["usage"], None])
def test_a_worker_that_observes_and_an_answer_of_the_handler(
    usage: dict[str, int] | None, launchdarkly: OfflineLaunchDarkly, runs: RecordingSink
) -> None:
    """Tokens in the output of a later run are a lower bound, because the worker may have made other calls for it."""
    with track_ai(config_key="chat") as first:
        first.observe(COMPLETION)

    @track_ai(config_key="chat")
    def answer() -> dict[str, Any]:
        first.observe({**COMPLETION, "id": "c2"})
        return {**COMPLETION, "id": "c3", "usage": usage}

    answer()
    later = runs.wait(2)[1].usage
    assert later is not None
    assert later.lower_bound


def test_tokens_that_are_added_beside_a_call_on_a_thread(ask: Ask, runs: RecordingSink) -> None:
    """They may be those of another call, so that the tokens of a run with calls of its own are a lower bound."""
    with track_ai(config_key="chat") as run:
        ask()
        on_thread(ask)
        run.add_usage(input_tokens=IN, output_tokens=OUT)

    usage = runs.wait()[0].usage
    assert usage is not None
    assert (usage.input_tokens, usage.lower_bound) == (2 * IN, True)


@pytest.mark.parametrize("is_response", [False, True])
def test_what_is_observed_after_the_end_of_another_run_and_is_no_other_call(
    is_response: bool, provider: Provider, openai: Any, runs: RecordingSink
) -> None:
    """The tokens of a later run are exact if its own wrapped client has seen the response, or if there is none."""
    client = wrap_client(openai)
    with track_ai(config_key="chat") as first:
        first.observe(COMPLETION)

    with track_ai(config_key="chat"):
        response = client.chat.completions.create(model="gpt-4o-mini", messages=ASK)
        first.observe(response if is_response else {"rows": 3})

    later = runs.wait(2)[1].usage
    assert later is not None
    assert (later.input_tokens, later.output_tokens, later.lower_bound) == (IN, OUT, False)


def test_many_calls_after_the_end_of_another_run(ask: Ask, runs: RecordingSink) -> None:
    """However many there are, they make no generation of an open run that calls no model."""
    with track_ai(config_key="chat"):
        ask()
        ended = contextvars.copy_context()
    with track_ai(config_key="chat"):
        for _ in range(70):
            ended.run(ask)
    assert [record.outcome for record in runs.wait(2)] == ["success", "discarded"]


@pytest.mark.parametrize("opens_run", [False, True])
@pytest.mark.parametrize("tracked_by", ["decorator", "middleware"])
def test_background_tasks(
    tracked_by: str, opens_run: bool, ask: Ask, launchdarkly: OfflineLaunchDarkly, runs: RecordingSink
) -> None:
    """A background task comes after the run of its request, and may open one of its own."""

    def work() -> None:
        if opens_run:
            with track_ai(config_key="other"):
                ask()
        else:
            ask()

    def handler() -> PlainTextResponse:
        text, tasks = ask(), BackgroundTasks()
        tasks.add_task(work)
        return PlainTextResponse(text, background=tasks)

    app = FastAPI()
    app.get("/")(track_ai(config_key="chat")(handler) if tracked_by == "decorator" else handler)
    served = ASGITrackingMiddleware(
        app, launchdarkly.tracking, config_key="chat" if tracked_by == "middleware" else None
    )
    with TestClient(served) as browser:
        assert browser.get("/").text == "Hello there"
    records = runs.wait(2 if opens_run else 1)
    assert [record.config_key for record in records] == ["chat", "other"][: len(records)]
    for record in records:
        assert record.usage is not None
        assert (record.usage.input_tokens, record.calls, record.usage.lower_bound) == (IN, 1, False)
    if not opens_run:
        diagnostics = launchdarkly.tracking.stats().diagnostics
        assert sum(diagnostics.get(kind, 0) for kind in ("call_after_run", "call_outside_run")) == 1


def test_bound_functions_keep_their_kind(launchdarkly: OfflineLaunchDarkly) -> None:
    """A bound function has its name and kind, and leaves nothing bound."""

    async def work(number: int) -> Any:
        """Work."""
        return number, current_run()

    with track_ai(config_key="chat") as run:
        bound = run.bind(work)
    assert inspect.iscoroutinefunction(bound)
    assert (bound.__name__, bound.__doc__) == ("work", "Work.")
    assert asyncio.run(bound(3)) == (3, run)
    assert current_run() is not run


def test_a_failed_call_outside(
    provider: Provider, ask: Ask, launchdarkly: OfflineLaunchDarkly, runs: RecordingSink
) -> None:
    """The failure of a call outside of any run changes no outcome, because nobody knows whose call it was."""
    provider.serve(status=400)
    with track_ai(config_key="chat"), suppress(OpenAIError):
        on_pool(ask)
    record = runs.wait()[0]
    assert (record.outcome, record.usage, record.calls, record.failed_calls) == ("success", None, 0, 0)
    assert launchdarkly.tracking.stats().diagnostics == {"call_outside_run": 1}


def test_many_calls_outside_of_a_long_run(openai: Any, launchdarkly: OfflineLaunchDarkly, runs: RecordingSink) -> None:
    """A run that forgets older calls outside of it still marks its tokens as a lower bound."""
    client: Any = wrap_client(openai)

    def call() -> Any:
        return client.chat.completions.create(model="gpt-4o-mini", messages=ASK)

    with track_ai("chat") as run, ThreadPoolExecutor(1) as pool:
        pool.submit(call).result()
        for _ in range(70):
            run.observe(pool.submit(call).result())
    record = runs.wait()[0]
    assert record.usage is not None
    assert (record.calls, record.usage.input_tokens, record.usage.lower_bound) == (70, 70 * IN, True)


async def answer_later() -> dict[str, Any]:
    """Return a response."""
    return COMPLETION


@pytest.mark.parametrize("observe", [
    lambda run: run.observe(COMPLETION),
    lambda run: run.observe(json.dumps(COMPLETION)),
    lambda run: run.observe(f"data: {json.dumps(COMPLETION)}"),
    lambda run: asyncio.run(run.observe(answer_later())),
    lambda run: list(run.observe(iter([COMPLETION]))),
    lambda run: run.observe(httpx.Response(200, json=COMPLETION)),
])  # fmt: skip
def test_responses_observed_outside(
    observe: Callable[[Run], object], launchdarkly: OfflineLaunchDarkly, runs: RecordingSink
) -> None:
    """A response that is observed outside of any run may be one of a run that is open, as a call is."""
    nobodys = current_run()
    with track_ai(config_key="chat") as run:
        run.observe({**COMPLETION, "id": "c0"})
        on_pool(lambda: str(observe(current_run())))
    with track_ai(config_key="chat") as run:
        run.observe({**COMPLETION, "id": "c0"})
        observe(nobodys)
    for record in runs.wait(2):
        assert record.usage is not None
        assert (record.calls, record.usage.input_tokens, record.usage.lower_bound) == (1, IN, True)
    assert launchdarkly.tracking.stats().diagnostics == {"call_outside_run": 2}


@pytest.mark.parametrize("thing", [{"question": "Hi"}, "Hello", "", b": comment", ValueError("no"), None, [1, 2]])
def test_other_things_observed_outside(thing: object, launchdarkly: OfflineLaunchDarkly, runs: RecordingSink) -> None:
    """What is no response of a provider is no call."""
    with track_ai(config_key="chat") as run:
        run.observe(COMPLETION)
        assert on_pool(lambda: current_run().observe(thing)) is thing  # type: ignore[arg-type,return-value]
    record = runs.wait()[0]
    assert record.usage is not None
    assert not record.usage.lower_bound
    assert launchdarkly.tracking.stats().diagnostics == {}


@pytest.mark.parametrize("is_async", [False, True])
def test_a_call_outside_whose_response_is_observed_there(
    is_async: bool, provider: Provider, openai: Any, async_openai: Any, launchdarkly: OfflineLaunchDarkly
) -> None:
    """A response of a wrapped client that is also observed outside of any run is one call."""
    client = wrap_client(async_openai if is_async else openai)

    async def aask() -> None:
        current_run().observe(await client.chat.completions.create(model="gpt-4o-mini", messages=ASK))
        await current_run().observe(client.chat.completions.create(model="gpt-4o-mini", messages=ASK))
        await async_openai.close()

    def application(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [])
        return [b"accepted"]

    app = WSGITrackingMiddleware(application, launchdarkly.tracking, config_key="chat")
    assert Client(app).post("/").data == b"accepted"
    if is_async:
        asyncio.run(aask())
    else:
        for _ in range(2):
            current_run().observe(client.chat.completions.create(model="gpt-4o-mini", messages=ASK))
    assert launchdarkly.tracking.stats().diagnostics["call_outside_run"] == 2
    current_run().observe(COMPLETION)
    assert launchdarkly.tracking.stats().diagnostics["call_outside_run"] == 3


def test_responses_observed_without_a_tracking(caplog: pytest.LogCaptureFixture) -> None:
    """An application without a Tracking is told nothing."""
    gc.collect()  # the Trackings of other tests may be in reference cycles
    current_run().observe(COMPLETION)
    assert not caplog.records
