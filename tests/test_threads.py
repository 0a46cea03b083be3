"""Many threads at once, which run in parallel on a free-threaded Python: nothing is lost, and nothing counts twice."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from types import SimpleNamespace
from typing import Any

import pytest
from ldclient import Config, LDClient

from ldai_integrations import RunRecord, Tracking, current_run, track_ai
from ldai_integrations.clients import wrap_client
from ldai_integrations.delivery import SpoolingEventProcessor
from ldai_integrations.devserver import DevServer
from ldai_integrations.feedback import MemoryStore
from ldai_integrations.tracking import process
from ldai_integrations.usage import count_tokens

from .conftest import Decorate, EndProcess, Events
from .flags import FLAGS

THREADS, RUNS = 16, 25
ALL = range(THREADS * RUNS)


@pytest.fixture(autouse=True)
def _frequent_switches() -> Iterator[None]:
    """Have a Python with a global lock switch threads as often as it can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def on_threads(work: Callable[[int], object], *, times: int = RUNS) -> None:
    """Call a function with different numbers on all threads, which begin at the same time."""
    begin = threading.Barrier(THREADS)

    def repeat(thread: int) -> None:
        begin.wait(20)
        for number in range(thread * times, (thread + 1) * times):
            work(number)

    with ThreadPoolExecutor(THREADS) as executor:
        for future in [executor.submit(repeat, thread) for thread in range(THREADS)]:
            future.result()


def tokens(number: int) -> int:
    """Return a number of tokens that no other call has."""
    return 100_003 + 17 * number


def answer(number: int, response_id: str = "whole") -> dict[str, Any]:
    """Build the response of a provider."""
    message = {"role": "assistant", "content": "Hello"}
    choices = [{"index": 0, "finish_reason": "stop", "message": message}]
    usage = {"prompt_tokens": tokens(number), "completion_tokens": 3, "total_tokens": tokens(number) + 3}
    about = {"id": f"chatcmpl-{response_id}-{number}", "object": "chat.completion", "model": "gpt-4o"}
    return {**about, "choices": choices, "usage": usage}


def chunks(number: int) -> Iterator[dict[str, Any]]:
    """Build the stream of a provider."""
    chunk = {"id": f"chatcmpl-stream-{number}", "object": "chat.completion.chunk", "model": "gpt-4o"}
    for word in ("Hello", " you"):
        yield {**chunk, "choices": [{"index": 0, "delta": {"content": word}}]}
    yield {**chunk, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
    yield {**chunk, "choices": [], "usage": answer(number)["usage"]}


class OpenAI:
    """A client that all threads share."""

    def __init__(self) -> None:
        self.chat = SimpleNamespace(completions=SimpleNamespace(create=self.create))

    def create(self, *, number: int, stream: bool = False) -> Any:
        """Answer."""
        return chunks(number) if stream else answer(number)


@pytest.fixture
def openai() -> Any:
    """Give a wrapped client."""
    return wrap_client(OpenAI())


def input_tokens(record: RunRecord) -> int | None:
    """Return the input tokens of a run."""
    assert record.usage is not None
    return record.usage.input_tokens


def check(records: list[RunRecord], events: Events, tracking: Tracking, *, calls: int) -> None:
    """Check that every run was reported once, with exactly its own calls."""
    assert tracking.flush(30).pending in (0, None)
    assert Counter(map(input_tokens, records)) == Counter(calls * tokens(number) for number in ALL)
    assert {record.calls for record in records} == {calls}
    assert len({record.run_id for record in records}) == tracking.stats().runs == len(ALL)
    inputs = [event.metric_value for event in events.named("tokens:input")]
    assert sum(inputs) == calls * sum(map(tokens, ALL))
    assert Counter(event.data["runId"] for event in events.named("duration:total")).most_common(1)[0][1] == 1


def test_functions(tracking: Tracking, track: Decorate, openai: Any, records: list[RunRecord], events: Events) -> None:
    """Each run has its own calls, of wrapped clients and of run.observe, whole and streamed."""

    @track
    def handle(number: int) -> str:
        openai.chat.completions.create(number=number)
        for _ in openai.chat.completions.create(number=number, stream=True):
            pass
        current_run().observe(answer(number, "observed"))
        return "done"

    on_threads(handle)
    check(records, events, tracking, calls=3)


def test_streams(tracking: Tracking, track: Decorate, openai: Any, records: list[RunRecord], events: Events) -> None:
    """So do runs whose consumer reads to the end, closes the stream, or drops it."""

    @track
    def handle(number: int) -> Iterator[str]:
        openai.chat.completions.create(number=number)
        yield from ("Hello", "you")

    def consume(number: int) -> None:
        stream = handle(number)
        next(stream)
        if number % 3 == 0:
            list(stream)
        elif number % 3 == 1:
            stream.close()

    on_threads(consume)
    check(records, events, tracking, calls=1)
    assert Counter(record.outcome for record in records)["success"] == len(range(0, len(ALL), 3))


def test_event_loops(
    tracking: Tracking, track: Decorate, openai: Any, records: list[RunRecord], events: Events
) -> None:
    """So do the concurrent runs of an event loop on each thread."""

    @track
    async def handle(number: int) -> AsyncIterator[str]:
        openai.chat.completions.create(number=number)
        await asyncio.sleep(0)
        for _ in openai.chat.completions.create(number=number, stream=True):
            yield "word"

    async def consume(number: int) -> None:
        async for _ in handle(number):
            await asyncio.sleep(0)

    async def serve(thread: int) -> None:
        await asyncio.gather(*map(consume, range(thread * RUNS, (thread + 1) * RUNS)))

    on_threads(lambda thread: asyncio.run(serve(thread)), times=1)
    check(records, events, tracking, calls=2)


def test_calls_of_one_run(tracking: Tracking, openai: Any, records: list[RunRecord]) -> None:
    """The calls that many threads make in one run, and the tokens that they state, are added."""
    with track_ai("chat", tracking=tracking) as run:
        on_threads(run.bind(lambda number: openai.chat.completions.create(number=number)))
        on_threads(lambda _: run.add_usage(input_tokens=1, output_tokens=1))

    tracking.flush(30)  # the record of many calls is built on a thread
    assert records[0].calls == len(ALL)
    assert input_tokens(records[0]) == sum(map(tokens, ALL)) + len(ALL)


def test_properties_of_one_run(tracking: Tracking) -> None:
    """Threads that use a run for the first time at the same moment get the same id and the same AI Config."""
    found: list[tuple[str, int]] = []

    def use(_number: int) -> None:
        found.append((run.id, id(run.config.model)))

    for _ in range(20):
        found.clear()
        with track_ai("chat", tracking=tracking) as run:
            on_threads(use, times=1)
        assert len(found) == THREADS
        assert len(set(found)) == 1


def test_failures_are_counted(tracking: Tracking) -> None:
    """No failure is lost from the diagnostics."""
    with track_ai("chat", tracking=tracking) as run:
        on_threads(lambda _: run.evaluate("quality", "no number"), times=500)  # type: ignore[arg-type]

    assert tracking.stats().diagnostics["evaluate"] == THREADS * 500


def test_votes() -> None:
    """Of the votes on one run, one is the first."""
    store, first = MemoryStore(), []

    def vote(number: int) -> None:
        if store.keep(str(number % RUNS), "positive", seconds=60) is None:
            first.append(number % RUNS)

    on_threads(vote)
    assert sorted(first) == list(range(RUNS))


def test_counting_tokens(o200k: None) -> None:
    """Every thread counts the same."""
    texts = [f"{word} " * 200 for word in ("Hello", "Grüße", "世界", "x1y2")]
    expected = {text: count_tokens(text, model="gpt-4o") for text in texts}
    on_threads(lambda number: check_tokens(texts[number % 4], expected))


def check_tokens(text: str, expected: dict[str, int]) -> None:
    """Count the tokens of a text again."""
    assert count_tokens(text, model="gpt-4o") == expected[text]


def test_the_first_requests_make_one_tracking(fresh_process: EndProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    """First requests that come together share one Tracking and one client."""
    with DevServer(FLAGS) as server:
        monkeypatch.setenv("LDAI_DEV_SERVER", server.url)
        monkeypatch.setenv("LDAI_START_WAIT", "30")  # on a busy machine, the connection takes longer than by default
        found: list[object] = []

        @track_ai("chat")
        def handle(_number: int) -> None:
            assert current_run().config.enabled
            found.append(process.tracking)

        on_threads(handle, times=2)
        fresh_process()
    assert len(found) == THREADS * 2
    assert len(set(map(id, found))) == 1


def test_every_event_arrives(no_leaks: None, o200k: None, openai: Any) -> None:
    """LaunchDarkly gets every event of every run once."""
    with DevServer(FLAGS) as server:
        options: dict[str, Any] = dict.fromkeys(("base_uri", "stream_uri", "events_uri"), server.url)
        config = Config("test", diagnostic_opt_out=True, event_processor_class=SpoolingEventProcessor, **options)
        with closing(LDClient(config)) as client:
            tracking = Tracking(client)

            @track_ai("chat", tracking=tracking)
            def handle(number: int) -> str:
                openai.chat.completions.create(number=number)
                return "done"

            on_threads(handle)
            assert tracking.flush(30).pending == 0
            assert tracking.stats().dropped == {}
        successes = server.events(key="$ld:ai:generation:success")
        inputs = [event["metricValue"] for event in server.events(key="$ld:ai:tokens:input")]

    assert len({event["data"]["runId"] for event in successes}) == len(successes) == len(ALL)
    assert sum(inputs) == sum(map(tokens, ALL))
