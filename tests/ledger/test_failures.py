"""Provider calls that fail, whatever the handler answers."""

from __future__ import annotations

import asyncio
import builtins
import contextlib
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from types import ModuleType
from typing import Any

import flask
import httpx
import pytest
from fastapi import FastAPI
from fastapi.responses import StreamingResponse
from starlette.testclient import TestClient

from ldai_integrations import Run, Settings, track_ai, wrap_client
from ldai_integrations.asgi import ASGITrackingMiddleware
from ldai_integrations.flask import AITracking
from ldai_integrations.testing import OfflineLaunchDarkly, RecordingSink

from ..clients import makers
from .provider import IN, OUT, Provider

ASK: list[Any] = [{"role": "user", "content": "Hi"}]
SORRY = "We are sorry, please try again later."


def ask_openai(client: Any, model: str = "down") -> Any:
    """Call OpenAI's chat completions."""
    return client.chat.completions.create(model=model, messages=ASK).choices[0].message.content


def stream_openai(client: Any, model: str = "down") -> Any:
    """Read a stream of OpenAI's chat completions."""
    options = {"stream": True, "stream_options": {"include_usage": True}}
    chunks = client.chat.completions.create(model=model, messages=ASK, **options)
    return "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)


def stream_openai_in_a_block(client: Any, model: str = "down") -> Any:
    """Read a stream of OpenAI's chat completions, whose request starts with the block."""
    with client.chat.completions.stream(model=model, messages=ASK, stream_options={"include_usage": True}) as stream:
        return stream.get_final_completion().choices[0].message.content


def ask_anthropic(client: Any, model: str = "down") -> Any:
    """Call Anthropic's messages."""
    return client.messages.create(model=model, max_tokens=9, messages=ASK).content[0].text


def stream_anthropic(client: Any, model: str = "down") -> Any:
    """Read a stream of Anthropic's messages, whose request starts with the block."""
    with client.messages.stream(model=model, max_tokens=9, messages=ASK) as stream:
        return stream.get_final_text()


def ask_bedrock(client: Any, model: str = "down") -> Any:
    """Call Bedrock's Converse."""
    messages = [{"role": "user", "content": [{"text": "Hi"}]}]
    return client.converse(modelId=model, messages=messages)["output"]["message"]["content"][0]["text"]


CALLS = {
    "openai": ("openai", ask_openai),
    "openai stream": ("openai", stream_openai),
    "openai stream in a block": ("openai", stream_openai_in_a_block),
    "anthropic": ("anthropic", ask_anthropic),
    "anthropic stream": ("anthropic", stream_anthropic),
    "bedrock": ("bedrock", ask_bedrock),
}


@pytest.fixture(params=CALLS.values(), ids=list(CALLS))
def ask(request: pytest.FixtureRequest) -> Callable[[str], Any]:
    """Return what calls a model of a wrapped client."""
    name, call = request.param
    client = wrap_client(request.getfixturevalue(name))
    return lambda model: call(client, model)


def apologise(ask: Callable[[str], Any], *models: str) -> str:
    """Return the answer of the first model that has one, or an apology."""
    for model in models:
        try:
            return str(ask(model))
        except Exception:
            continue
    return SORRY


def test_a_polite_answer(ask: Callable[[str], Any], provider: Provider, runs: RecordingSink) -> None:
    """A failed call is an error without tokens, although the handler returns an apology."""
    provider.serve("down", status=503)
    assert track_ai(config_key="chat")(apologise)(ask, "down") == SORRY
    record = runs.wait()[0]
    assert (record.outcome, record.calls, record.failed_calls, record.usage) == ("error", 1, 1, None)
    assert record.time_to_first_token_ms is None


def test_an_async_stream_in_a_block(provider: Provider, runs: RecordingSink) -> None:
    """The request of an asynchronous stream that starts with its block and fails is a failed call without tokens."""
    provider.serve("down", status=503)

    @track_ai(config_key="chat")
    async def handler() -> str:
        async with makers.async_anthropic(provider.url) as client:
            try:
                async with wrap_client(client).messages.stream(model="down", max_tokens=9, messages=ASK) as stream:
                    return str(await stream.get_final_text())
            except Exception:
                return SORRY

    assert asyncio.run(handler()) == SORRY
    record = runs.wait()[0]
    assert (record.outcome, record.calls, record.failed_calls, record.usage) == ("error", 1, 1, None)


@pytest.mark.parametrize("kind", ["flask", "flask stream", "fastapi"])
def test_a_polite_response(
    kind: str, provider: Provider, openai: Any, launchdarkly: OfflineLaunchDarkly, runs: RecordingSink
) -> None:
    """The same for a response with status 200 that a middleware reads."""
    provider.serve("down", status=503)
    client = wrap_client(openai)

    def ask(model: str) -> Any:
        return ask_openai(client, model)

    if kind == "fastapi":
        app = FastAPI()
        app.get("/")(lambda: {"answer": apologise(ask, "down")})
        with TestClient(ASGITrackingMiddleware(app, launchdarkly.tracking, config_key="chat")) as browser:
            assert browser.get("/").status_code == 200
    else:
        site = flask.Flask(__name__)
        AITracking(site, launchdarkly.tracking, config_key="chat")

        def words() -> Iterator[str]:
            yield apologise(ask, "down")

        site.get("/")(lambda: flask.Response(words()) if "stream" in kind else apologise(ask, "down"))
        assert site.test_client().get("/").text == SORRY
    record = runs.wait()[0]
    assert (record.outcome, record.failed_calls, record.usage) == ("error", 1, None)


def test_a_fallback(ask: Callable[[str], Any], provider: Provider, runs: RecordingSink) -> None:
    """A fallback that succeeds makes the run a success, which counts the failed call."""
    provider.serve("down", status=503)
    assert track_ai(config_key="chat")(apologise)(ask, "down", "up") == "Hello there"
    record = runs.wait()[0]
    assert (record.outcome, record.calls, record.failed_calls) == ("success", 2, 1)
    assert record.usage is not None
    assert (record.usage.input_tokens, record.usage.output_tokens) == (IN, OUT)
    assert (record.usage.source, record.usage.lower_bound) == ("provider", False)


def test_the_last_call_fails(provider: Provider, openai: Any, runs: RecordingSink) -> None:
    """A call that fails after others have succeeded makes the run an error; the tokens of the others count."""
    provider.serve("down", status=503)
    client = wrap_client(openai)
    with track_ai(config_key="chat"):
        ask_openai(client, "up")
        apologise(lambda model: ask_openai(client, model), "down")
    record = runs.wait()[0]
    assert (record.outcome, record.calls, record.failed_calls) == ("error", 2, 1)
    assert record.usage is not None
    assert record.usage.input_tokens == IN


def test_a_stream_that_was_left_before_the_failure(provider: Provider, openai: Any, runs: RecordingSink) -> None:
    """A stream that is left before its end does not replace a later call that failed."""
    provider.serve("down", status=503)
    client = wrap_client(openai)
    with track_ai(config_key="chat"):
        reasoning = client.chat.completions.create(model="up", messages=ASK, stream=True)
        next(iter(reasoning))
        apologise(lambda model: ask_openai(client, model), "down")
        reasoning.close()
    record = runs.wait()[0]
    assert (record.outcome, record.calls, record.failed_calls) == ("error", 2, 1)


@pytest.mark.parametrize("is_complete", [True, False])
@pytest.mark.parametrize("kind", ["sync", "async", "helper"])
def test_an_exception_in_the_block_of_a_stream(
    kind: str, is_complete: bool, provider: Provider, openai: Any, async_openai: Any, runs: RecordingSink
) -> None:
    """An exception of the application in the block of a stream is no failure of the provider call."""
    options = {"model": "up", "messages": ASK, "stream_options": {"include_usage": True}}

    def read(chunk: Any) -> None:
        choices = getattr(chunk, "choices", None) or getattr(getattr(chunk, "chunk", None), "choices", [])
        if not is_complete or any(choice.finish_reason for choice in choices):
            raise ZeroDivisionError

    def stream() -> None:
        completions = wrap_client(openai).chat.completions
        with contextlib.suppress(ZeroDivisionError), track_ai(config_key="chat"):
            block = completions.stream(**options) if kind == "helper" else completions.create(**options, stream=True)
            with block as chunks:
                for chunk in chunks:
                    read(chunk)

    async def astream() -> None:
        completions = wrap_client(async_openai).chat.completions
        with contextlib.suppress(ZeroDivisionError):
            async with track_ai(config_key="chat"), await completions.create(**options, stream=True) as chunks:
                async for chunk in chunks:
                    read(chunk)
        await async_openai.close()

    asyncio.run(astream()) if kind == "async" else stream()
    record = runs.wait()[0]
    assert (record.outcome, record.calls, record.failed_calls) == ("error", 1, 0)
    assert record.usage is not None
    assert record.usage.lower_bound is not is_complete
    assert not is_complete or record.usage.input_tokens == IN


@pytest.mark.parametrize("event", ['event: error\ndata: {"message": "no"}\n\n', 'data: {"error": {"code": 1}}\n\n'])
@pytest.mark.parametrize("kind", ["decorator", "fastapi", "flask"])
def test_an_error_event_after_a_call(
    kind: str, event: str, provider: Provider, openai: Any, launchdarkly: OfflineLaunchDarkly, runs: RecordingSink
) -> None:
    """An error event of the application makes the run an error, even if all provider calls have succeeded."""
    client = wrap_client(openai)

    def events() -> Iterator[str]:
        yield f"data: {ask_openai(client, 'up')}\n\n"
        yield event

    if kind == "decorator":
        list(track_ai(config_key="chat")(events)())
    elif kind == "fastapi":
        app = FastAPI()
        app.get("/")(lambda: StreamingResponse(events(), media_type="text/event-stream"))
        with TestClient(ASGITrackingMiddleware(app, launchdarkly.tracking, config_key="chat")) as browser:
            browser.get("/")
    else:
        site = flask.Flask(__name__)
        AITracking(site, launchdarkly.tracking, config_key="chat")
        site.get("/")(lambda: flask.Response(events(), mimetype="text/event-stream"))
        assert site.test_client().get("/").text.endswith(event)
    record = runs.wait()[0]
    assert (record.outcome, record.calls, record.failed_calls) == ("error", 1, 0)
    assert record.usage is not None
    assert (record.usage.input_tokens, record.usage.output_tokens) == (IN, OUT)


@pytest.mark.parametrize(
    ("items", "outcome"),
    [
        ([{"error": "no"}], "success"),
        ([{"error": {"code": 1}}], "success"),
        (['{"error": "no"}\n'], "success"),
        ([{"text": "Hi"}, {"error": "no"}], "error"),
        ([{"error": {"code": 1}}, {"text": "Hi"}], "error"),
        (['{"text": "Hi"}\n', '{"error": "no"}\n'], "error"),
        (['{"text": "Hi"}\n{"error": "no"}\n'], "error"),
        ([{"event": "error", "data": "no"}], "error"),
    ],
)
def test_one_object_with_an_error_is_no_event(
    items: list[Any], outcome: str, provider: Provider, openai: Any, runs: RecordingSink
) -> None:
    """JSON of the application with an error makes the run an error only if other items are in the stream."""
    client = wrap_client(openai)

    @track_ai(config_key="chat")
    def stream() -> Iterator[Any]:
        ask_openai(client, "up")
        yield from items

    assert list(stream()) == items
    record = runs.wait()[0]
    assert (record.outcome, record.calls, record.failed_calls) == (outcome, 1, 0)


@pytest.mark.parametrize("is_caught", [True, False])
@pytest.mark.parametrize(
    ("ask", "place"),
    [(stream_openai, None), (stream_anthropic, "message_delta"), (stream_anthropic, "message_stop")],
    ids=["openai", "anthropic, with the finish reason", "anthropic, at the end"],
)
def test_a_failure_before_the_stream_before_it_is_closed(
    ask: Any, place: str | None, is_caught: bool, provider: Provider, openai: Any, anthropic: Any, runs: RecordingSink
) -> None:
    """A complete answer does not replace a later call, even if that is made before its stream is closed."""
    provider.serve("down", status=503)
    client = wrap_client(openai if ask is stream_openai else anthropic)
    of_openai = {"stream": True, "stream_options": {"include_usage": True}}
    options: dict[str, Any] = of_openai if ask is stream_openai else {"stream": True, "max_tokens": 9}
    create = client.chat.completions.create if ask is stream_openai else client.messages.create
    with (
        contextlib.suppress(Exception),
        track_ai(config_key="chat"),
        create(model="up", messages=ASK, **options) as chunks,
    ):
        for chunk in chunks:
            choices = getattr(chunk, "choices", ())
            if getattr(chunk, "type", "") == place or any(one.finish_reason for one in choices):
                apologise(lambda name: ask(client, name), "down") if is_caught else ask(client, "down")
    record = runs.wait()[0]
    assert (record.outcome, record.calls, record.failed_calls) == ("error", 2, 1)


def test_one_of_three_threads(provider: Provider, openai: Any, runs: RecordingSink) -> None:
    """One of three parallel calls fails: the run is a success with one failed call."""
    provider.serve("down", status=503)
    provider.serve("up", pause=0.05)
    client = wrap_client(openai)

    def ask(model: str) -> str:
        return apologise(lambda name: stream_openai(client, name), model)

    @track_ai(config_key="chat")
    def handler(run: Run) -> list[str]:
        with ThreadPoolExecutor(3) as pool:
            return list(pool.map(run.bind(ask), ["up", "down", "up"]))

    assert handler() == ["Hello there", SORRY, "Hello there"]
    record = runs.wait()[0]
    assert (record.outcome, record.calls, record.failed_calls) == ("success", 3, 1)
    assert record.usage is not None
    assert (record.usage.input_tokens, record.usage.output_tokens) == (2 * IN, 2 * OUT)


def test_one_of_three_tasks(provider: Provider, async_openai: Any, runs: RecordingSink) -> None:
    """The same with ``asyncio.gather``."""
    provider.serve("down", status=503)
    client = wrap_client(async_openai)

    @track_ai(config_key="chat")
    async def handler() -> int:
        calls = [client.chat.completions.create(model=model, messages=ASK) for model in ("up", "down", "up")]
        answers = await asyncio.gather(*calls, return_exceptions=True)
        await async_openai.close()
        return sum(isinstance(answer, Exception) for answer in answers)

    assert asyncio.run(handler()) == 1
    record = runs.wait()[0]
    assert (record.outcome, record.calls, record.failed_calls) == ("success", 3, 1)


class TestCaughtFailures:
    """Applications for which a polite answer is a success."""

    @pytest.fixture
    def settings(self) -> Settings:
        """Return settings that say so."""
        return Settings(flush="never", judges=None, caught_failures="success")

    def test_success(self, ask: Callable[[str], Any], provider: Provider, runs: RecordingSink) -> None:
        """With ``Settings(caught_failures="success")`` the run is a success, still without tokens of the apology."""
        provider.serve("down", status=503)
        assert track_ai(config_key="chat")(apologise)(ask, "down") == SORRY
        record = runs.wait()[0]
        assert (record.outcome, record.failed_calls, record.usage) == ("success", 1, None)

    def test_raised(self, provider: Provider, openai: Any, runs: RecordingSink) -> None:
        """A failure that the handler raises is an error nevertheless."""
        provider.serve("down", status=503)
        with pytest.raises(Exception, match="no"), track_ai(config_key="chat"):
            ask_openai(wrap_client(openai))
        assert runs.wait()[0].outcome == "error"


@pytest.mark.parametrize("caught", [True, False])
def test_a_stream_that_breaks_off(caught: bool, provider: Provider, openai: Any, runs: RecordingSink) -> None:
    """A stream that breaks off is an error that counts the text that the provider had sent, and nothing else."""
    provider.serve("down", words=("one ", "two ", "three ", "four"), breaks_after=3)
    client = wrap_client(openai)
    texts = []

    @track_ai(config_key="chat")
    def handler() -> Iterator[str]:
        try:
            for chunk in client.chat.completions.create(model="down", messages=ASK, stream=True):
                texts.append(chunk.choices[0].delta.content)
                yield texts[-1]
        except Exception:
            if not caught:
                raise
            yield SORRY

    try:
        list(handler())
    except Exception:
        assert not caught
    assert texts == ["", "one ", "two "]
    record = runs.wait()[0]
    assert (record.outcome, record.calls, record.failed_calls) == ("error", 1, 1)
    assert record.usage is not None
    assert record.usage.output_tokens == 3
    assert record.usage.source == "estimate"
    assert record.usage.input_tokens is not None
    assert record.usage.input_tokens < 20


def test_a_claude_stream_that_breaks_off(provider: Provider, anthropic: Any, runs: RecordingSink) -> None:
    """The same for Anthropic, which has sent the exact input before."""
    provider.serve("down", words=("one ", "two ", "three ", "four"), breaks_after=2)
    client = wrap_client(anthropic)
    with pytest.raises(Exception, match="peer closed"), track_ai(config_key="chat"):
        list(client.messages.create(model="down", max_tokens=9, messages=ASK, stream=True))
    record = runs.wait()[0]
    assert (record.outcome, record.failed_calls) == ("error", 1)
    assert record.usage is not None
    assert record.usage.input_tokens == IN
    assert record.usage.output_tokens is not None
    assert record.usage.output_tokens < 10


@pytest.mark.parametrize("other", ["embedding", "speech"])
@pytest.mark.parametrize("order", ["other first", "other last"])
def test_another_kind_of_call_is_no_substitute(
    order: str, other: str, provider: Provider, openai: Any, runs: RecordingSink
) -> None:
    """An embedding that succeeds after a failed chat does not make the run a success, and neither does speech."""
    provider.serve("down", status=503)
    client = wrap_client(openai)
    others: dict[str, Callable[[], Any]] = {
        "embedding": lambda: client.embeddings.create(model="text-embedding-3-small", input="Hi"),
        "speech": lambda: client.audio.speech.create(model="tts-1", voice="alloy", input=SORRY),
    }
    with track_ai(config_key="chat"):
        steps: list[Callable[[], Any]] = [
            others[other],
            lambda: apologise(lambda model: ask_openai(client, model), "down"),
        ]
        for step in steps if order == "other first" else steps[::-1]:
            step()
    record = runs.wait()[0]
    assert (record.outcome, record.calls, record.failed_calls) == ("error", 2, 1)


def test_retries_are_one_call(provider: Provider, openai: Any, runs: RecordingSink) -> None:
    """The retries that a client makes by itself belong to one call."""
    provider.serve("shaky", status=503, errors=1)
    client = wrap_client(openai.with_options(max_retries=2))
    with track_ai(config_key="chat"):
        assert ask_openai(client, "shaky") == "Hello there"
    record = runs.wait()[0]
    assert (record.outcome, record.calls, record.failed_calls, len(provider.requests)) == ("success", 1, 0, 2)


class Rerun(BaseException):
    """How a framework such as Streamlit ends a handler that has done its work."""


@pytest.mark.parametrize(
    ("raises", "outcome"),
    [("after the answer", "success"), ("while it streams", "cancelled"), ("before the call", "discarded")],
)
def test_control_flow_is_no_failure(
    raises: str, outcome: str, provider: Provider, openai: Any, runs: RecordingSink
) -> None:
    """An exception that is not an ``Exception`` ends a handler as its return does, unless an answer is in progress."""
    client = wrap_client(openai, include_usage="always")
    answer: Any = track_ai(config_key="chat")(ask_openai)
    answer(client, "m")

    @track_ai(config_key="chat")
    def handler() -> None:
        if raises != "before the call":
            for chunk in client.chat.completions.create(model="m", messages=ASK, stream=True):
                if raises == "while it streams" and chunk.choices[0].delta.content:
                    raise Rerun
        raise Rerun

    with pytest.raises(Rerun):
        handler()
    record = runs.wait(2)[1]
    assert (record.outcome, record.failed_calls, record.error) == (outcome, 0, None)


@pytest.mark.parametrize("is_main", [True, False])
def test_the_end_of_a_thread(is_main: bool, provider: Provider, openai: Any, runs: RecordingSink) -> None:
    """``sys.exit()`` ends the process on the main thread only. On another one, the failed call decides."""
    provider.serve("down", status=503)
    client = wrap_client(openai)

    @track_ai(config_key="chat")
    def handler() -> None:
        try:
            ask_openai(client)
        except Exception:
            sys.exit()

    def work() -> None:
        with pytest.raises(SystemExit):
            handler()

    if is_main:
        work()
    else:
        with ThreadPoolExecutor(1) as pool:
            pool.submit(work).result()
    record = runs.wait()[0]
    assert (record.outcome, record.failed_calls) == ("cancelled" if is_main else "error", 1)


@pytest.mark.parametrize("is_cancelled", [True, False])
def test_a_handler_that_ends_before_its_call(is_cancelled: bool, runs: RecordingSink) -> None:
    """Messages that were prepared, and never sent, have no tokens."""
    with contextlib.suppress(asyncio.CancelledError, LookupError), track_ai(config_key="chat") as run:
        run.messages(user="Hi")
        raise asyncio.CancelledError if is_cancelled else LookupError
    record = runs.wait()[0]
    assert (record.outcome, record.usage) == ("cancelled" if is_cancelled else "error", None)


@pytest.mark.parametrize("is_first", [True, False])
def test_a_call_that_has_not_answered(is_first: bool, provider: Provider, runs: RecordingSink) -> None:
    """A call that nobody waits for replaces no failed one, in whatever order they were made."""
    provider.serve("down", status=503)
    provider.serve("slow", delay=5.0)

    @track_ai(config_key="chat")
    async def handler(client: object) -> str:
        chat: Any = client
        names = ["down", "slow"] if is_first else ["slow", "down"]
        tasks = [asyncio.create_task(chat.chat.completions.create(model=name, messages=ASK)) for name in names]
        try:
            await asyncio.gather(*tasks)
        except Exception:
            return SORRY
        raise AssertionError("no call has failed")

    async def work() -> None:
        async with makers.async_openai(provider.url) as client:
            assert await handler(wrap_client(client.with_options(max_retries=0))) == SORRY
            for task in asyncio.all_tasks() - {asyncio.current_task()}:
                task.cancel()

    asyncio.run(work())
    record = runs.wait()[0]
    assert (record.outcome, record.calls, record.failed_calls) == ("error", 2, 1)


@pytest.mark.skipif(sys.version_info < (3, 11), reason="Python 3.10 has no groups of exceptions")
def test_a_group_with_a_failure(runs: RecordingSink) -> None:
    """A group of exceptions in which one is a failure is an error."""
    group: Any = vars(builtins)["BaseExceptionGroup"]
    with pytest.raises(group), track_ai(config_key="chat"):
        raise group("two", [Rerun(), LookupError()])
    assert runs.wait()[0].outcome == "error"


def test_observed_exceptions(provider: Provider, openai: Any, runs: RecordingSink) -> None:
    """``run.observe`` takes the exception of a call; a call that is observed later is the fallback."""
    provider.serve("down", status=503)
    for models in (["down"], ["down", "up"]):
        with track_ai(config_key="chat") as run:
            for model in models:
                try:
                    run.observe(openai.chat.completions.create(model=model, messages=ASK))
                except Exception as exc:
                    run.observe(exc)
    assert [(record.outcome, record.failed_calls) for record in runs.wait(2)] == [("error", 1), ("success", 1)]


def _refused(run: Run, url: str) -> None:
    response = run.observe(httpx.post(f"{url}/openai/v1/chat/completions", json={"model": "down"}))
    try:
        response.raise_for_status()
    except httpx.HTTPStatusError as exc:
        run.observe(exc)


def _refused_twice(run: Run, url: str) -> None:
    with pytest.raises(httpx.HTTPStatusError) as raised:
        httpx.post(f"{url}/openai/v1/chat/completions", json={"model": "down"}).raise_for_status()
    run.observe(raised.value)
    run.observe(raised.value)


def _unreadable(run: Run, url: str, model: str = "down") -> None:
    response = run.observe(httpx.post(f"{url}/openai/v1/chat/completions", json={"model": model}))
    try:
        response.json()["answer"]
    except (ValueError, LookupError) as exc:
        run.observe(exc)


def _other_answer(run: Run, url: str) -> None:
    _unreadable(run, url, "up")


def _broken(run: Run, url: str) -> None:
    request = {"model": "broken", "stream": True}
    try:
        with httpx.stream("POST", f"{url}/openai/v1/chat/completions", json=request) as response:
            for _ in run.observe(response.iter_lines()):
                pass
    except httpx.RemoteProtocolError as exc:
        run.observe(exc)


@pytest.mark.parametrize("fail", [_refused, _refused_twice, _unreadable, _other_answer, _broken])
def test_a_failure_that_is_observed_twice(
    fail: Callable[[Run, str], None], provider: Provider, runs: RecordingSink
) -> None:
    """A response and its exception, an exception twice, and a stream and the exception that breaks it are one call.

    The exception of a response may be that of its status, or of reading its body.
    """
    provider.serve("down", status=503)
    provider.serve("broken", breaks_after=2)
    with track_ai(config_key="chat") as run:
        fail(run, provider.url)
    record = runs.wait()[0]
    assert (record.outcome, record.calls, record.failed_calls) == ("error", 1, 1)


def test_trio_is_being_imported(monkeypatch: pytest.MonkeyPatch, runs: RecordingSink) -> None:
    """While another thread imports Trio, its module has no contents yet."""
    monkeypatch.setitem(sys.modules, "trio", ModuleType("trio"))
    chunk = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "model": "m"}
    with track_ai(config_key="chat") as run:
        for delta, reason in (({"content": "Hi"}, None), ({}, "stop")):
            run.observe({**chunk, "choices": [{"index": 0, "delta": delta, "finish_reason": reason}]})
    assert (runs.records[0].outcome, runs.records[0].finish_reasons) == ("success", ("stop",))
