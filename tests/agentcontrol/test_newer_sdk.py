"""``config(key=…)`` of launchdarkly-ai-server inside and outside of runs; skipped where the SDK is not installed."""

from __future__ import annotations

import asyncio
import multiprocessing
import signal
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from ldai_integrations import Run, track_ai
from ldai_integrations.agentcontrol import call, connect, iterate
from ldai_integrations.exceptions import ConfigurationError
from ldai_integrations.records import RunRecord
from ldai_integrations.testing import OfflineLaunchDarkly, ai_config

sdk = pytest.importorskip(
    "launchdarkly_ai_server", reason="comes with the extra [agentcontrol], on Python 3.12 or later"
)
# The SDK warns about OpenTelemetry packages that are not installed, or are set up already.
pytestmark = pytest.mark.filterwarnings("ignore")

USER = {"kind": "user", "key": "anna"}
# Counts that no tokenizer would produce.
USAGE = {"input": 7317, "output": 3863, "total": 11180}


class _Handler:
    """A provider handler that answers without a provider."""

    provides_for = ("OpenAI", "completion")
    capture_content = False
    has_stream = True

    def __init__(self, error: Exception | None = None) -> None:
        self._error = error

    async def __call__(self, *_: Any) -> dict[str, Any]:
        if self._error is not None:
            raise self._error
        return {"output": "Hello there", "usage": USAGE}

    async def stream(self, *_: Any) -> AsyncIterator[dict[str, Any]]:
        async def events() -> AsyncIterator[dict[str, Any]]:
            for text in ("Hello", " there"):
                await asyncio.sleep(0.01)
                yield {"type": "chunk", "text": text}
            if self._error is not None:
                raise self._error
            yield {"type": "done", "output": "Hello there", "usage": USAGE}

        return events()


@pytest.fixture
def launchdarkly() -> Iterator[OfflineLaunchDarkly]:
    """Serve an AI Config that names the model in the model library, and connect the SDK."""
    config = ai_config("gpt-4o-mini", messages="Be brief.")
    config["_ldMeta"] |= {"modelKey": "OpenAI.gpt-4o-mini", "modelVersion": 3}
    with OfflineLaunchDarkly({"chat": config}) as launchdarkly:
        connect(launchdarkly.tracking)
        launchdarkly.events.custom.clear()
        yield launchdarkly
        call(sdk.shutdown())


def _config(error: Exception | None = None) -> Any:
    return sdk.config(key="chat", handler=_Handler(error))


def _generations(launchdarkly: OfflineLaunchDarkly) -> list[tuple[str, Any]]:
    return sorted(event for event in launchdarkly.events.of_runs() if event[0] != "duration:total")


def _run_ids(launchdarkly: OfflineLaunchDarkly) -> set[str]:
    events = launchdarkly.events.custom
    return {event.data["runId"] for event in events if isinstance(event.data, dict) and "runId" in event.data}


def _record(launchdarkly: OfflineLaunchDarkly) -> RunRecord:
    return launchdarkly.sink.wait(1)[-1]


TOKENS = [("tokens:input", 7317), ("tokens:output", 3863), ("tokens:total", 11180)]


def test_invoke_in_a_run(launchdarkly: OfflineLaunchDarkly) -> None:
    """``invoke()`` inside a run of the same key is one run with one set of events, which name the model."""

    @track_ai(config_key="chat", tracking=launchdarkly.tracking)
    def view() -> str:
        return str(call(_config().invoke("Hi", USER)).response)

    assert view() == "Hello there"

    record = _record(launchdarkly)
    assert record.usage is not None
    assert (record.usage.input_tokens, record.usage.output_tokens, record.usage.source) == (7317, 3863, "provider")
    assert record.outcome == "success"
    assert _generations(launchdarkly) == [("generation:success", 1), *TOKENS]
    assert _run_ids(launchdarkly) == {record.run_id}
    data = launchdarkly.events.named("generation:success")[0].data
    assert (data["modelKey"], data["modelVersion"]) == ("OpenAI.gpt-4o-mini", 3)


def test_a_stream_in_a_run(launchdarkly: OfflineLaunchDarkly) -> None:
    """``stream()`` inside a run has the SDK's tokens and our time to first token."""

    @track_ai(config_key="chat", tracking=launchdarkly.tracking)
    def view() -> Iterator[str]:
        for event in iterate(_config().stream("Hi", USER)):
            if event["type"] == "chunk":
                yield event["text"]

    assert list(view()) == ["Hello", " there"]

    record = _record(launchdarkly)
    assert record.time_to_first_token_ms is not None
    assert record.time_to_first_token_ms >= 5
    assert record.usage is not None
    assert record.usage.source == "provider"
    assert [event for event in _generations(launchdarkly) if event[0] != "tokens:ttf"] == [
        ("generation:success", 1),
        *TOKENS,
    ]


def test_a_stream_that_its_consumer_leaves(launchdarkly: OfflineLaunchDarkly) -> None:
    """A run that is left early is reported as cancelled; the SDK itself reports nothing for it."""

    @track_ai(config_key="chat", tracking=launchdarkly.tracking)
    async def view() -> AsyncIterator[Any]:
        async for event in _config().stream("Hi", USER):
            yield event

    async def leave() -> None:
        events = view()
        await anext(events)
        await events.aclose()  # type: ignore[attr-defined]

    asyncio.run(leave())

    assert _record(launchdarkly).outcome == "cancelled"
    assert [name for name, _ in launchdarkly.events.of_runs() if name.startswith("generation")] == []
    assert launchdarkly.events.named("duration:total")


@pytest.mark.parametrize("streamed", [False, True])
def test_a_failure(streamed: bool, launchdarkly: OfflineLaunchDarkly) -> None:
    """An exception of the handler reaches the view, and the run has one error."""

    @track_ai(config_key="chat", tracking=launchdarkly.tracking)
    def view() -> object:
        config = _config(RuntimeError("no"))
        return list(iterate(config.stream("Hi", USER))) if streamed else call(config.invoke("Hi", USER))

    with pytest.raises(RuntimeError, match="no"):
        view()

    assert _record(launchdarkly).outcome == "error"
    assert [name for name, _ in launchdarkly.events.of_runs() if name.startswith("generation")] == ["generation:error"]


def test_outside_of_a_run(launchdarkly: OfflineLaunchDarkly) -> None:
    """Outside of a run, the SDK's own events are sent."""
    call(_config().invoke("Hi", USER))

    assert _generations(launchdarkly) == [("generation:success", 1), *TOKENS]


def test_shutdown_leaves_the_client_open(launchdarkly: OfflineLaunchDarkly) -> None:
    """``shutdown()`` of the SDK does not close the client of the application."""
    call(sdk.shutdown())

    with track_ai(config_key="chat", tracking=launchdarkly.tracking) as run:
        assert run.config.enabled
        run.discard()


def test_mistakes(launchdarkly: OfflineLaunchDarkly) -> None:
    """Blocking an event loop, and connecting twice to different clients, are refused with what to do."""

    async def blocking() -> None:
        call(_config().invoke("Hi", USER))

    with pytest.raises(ConfigurationError, match="give a coroutine, or use iterate"):
        call(_config().stream("Hi", USER))
    with pytest.raises(ConfigurationError, match="use await or async for instead"):
        asyncio.run(blocking())
    with OfflineLaunchDarkly() as other, pytest.raises(ConfigurationError, match="call connect\\(\\) first"):
        connect(other.tracking)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no fork")
def test_a_forked_worker(launchdarkly: OfflineLaunchDarkly) -> None:
    """A worker that is forked after the application was loaded has an event loop of its own."""
    call(_config().invoke("Hi", USER))

    def work(answers: Any) -> None:
        answers.put(call(_config().invoke("Hi", USER)).response)

    context = multiprocessing.get_context("fork")
    answers = context.SimpleQueue()
    worker = context.Process(target=work, args=(answers,))
    worker.start()
    worker.join(20)
    assert worker.exitcode == 0
    assert answers.get() == "Hello there"


def test_the_run_of_the_caller(launchdarkly: OfflineLaunchDarkly) -> None:
    """A coroutine on the background event loop sees the run of the code that calls it."""

    async def key() -> str:
        from ldai_integrations import current_run

        return current_run().config_key

    @track_ai(config_key="chat", tracking=launchdarkly.tracking)
    def view(run: Run) -> str:
        run.discard()
        return call(key())

    assert view() == "chat"


def test_a_wait_that_is_interrupted(launchdarkly: OfflineLaunchDarkly) -> None:
    """An exception that interrupts the wait, such as a time limit, cancels the work."""
    cancelled = threading.Event()

    async def work() -> None:
        try:
            await asyncio.sleep(30)
        except asyncio.CancelledError:
            cancelled.set()
            raise

    def expire(*_: object) -> None:
        raise TimeoutError

    former = signal.signal(signal.SIGALRM, expire)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.2)
        with pytest.raises(TimeoutError):
            call(work())
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, former)
    assert cancelled.wait(5)


def test_an_iteration_that_is_dropped(launchdarkly: OfflineLaunchDarkly) -> None:
    """An iteration that is dropped, even on the background event loop itself, closes the stream without a wait."""
    closed = threading.Event()

    async def events() -> AsyncIterator[int]:
        try:
            yield 1
            yield 2
        finally:
            await asyncio.sleep(0)
            closed.set()

    kept = [iterate(events())]
    assert next(kept[0]) == 1

    async def drop() -> None:
        kept.clear()

    call(drop())
    assert closed.wait(5)
    assert call(_config().invoke("Hi", USER)).response == "Hello there"
