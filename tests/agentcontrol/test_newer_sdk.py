"""``config(key=…)`` of launchdarkly-ai-server inside and outside of runs; skipped where the SDK is not installed."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import multiprocessing
import signal
import sys
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterator
from typing import Any

import pytest
from ldclient import Context

from ldai_integrations import Run, Settings, track_ai, wrap_client
from ldai_integrations.agentcontrol import call, connect, iterate
from ldai_integrations.exceptions import ConfigurationError
from ldai_integrations.judges import JudgeSettings
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
        self.judged = 0

    async def __call__(self, config: Any, *_: Any) -> dict[str, Any]:
        if self._error is not None:
            raise self._error
        if "evaluationMetricKey" in config:
            self.judged += 1
            await asyncio.sleep(0.3)
            return {"output": '{"score": 0.75, "reasoning": "Good"}', "usage": {"input": 5, "output": 6, "total": 11}}
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


def test_the_run_id(launchdarkly: OfflineLaunchDarkly) -> None:
    """The run has the SDK's run id, which the response names, unless its own id was read before."""
    ids: list[tuple[str, str]] = []

    @track_ai(config_key="chat", tracking=launchdarkly.tracking)
    def view(run: Run, reads_first: bool) -> None:
        own = run.id if reads_first else ""
        response = call(_config().invoke("Hi", USER))
        ids.append((own or response.track_data["runId"], run.id))

    view(reads_first=False)
    view(reads_first=True)

    assert [expected for expected, _ in ids] == [found for _, found in ids]
    assert _run_ids(launchdarkly) == {found for _, found in ids}
    assert [record.run_id for record in launchdarkly.sink.wait(2)] == [found for _, found in ids]


def test_judges_run_once(launchdarkly: OfflineLaunchDarkly) -> None:
    """The SDK runs the judges of the AI Config, also those that it draws, and the library does not run them again."""
    judge = ai_config("gpt-4o-mini", messages="Judge.", evaluationMetricKey="$ld:ai:judge:relevance")
    judge["_ldMeta"] |= {"mode": "judge", "variationKey": "strict"}
    judged = ai_config(
        "gpt-4o-mini",
        messages="Be brief.",
        judgeConfiguration={"judges": [{"key": "relevance", "samplingRate": 1.0}]},
    )
    asked: list[object] = []

    def ask(messages: list[dict[str, str]], config: object, /) -> str:
        asked.append((messages, config))
        return '{"score": 0.25}'

    settings = Settings(flush="never", judges=JudgeSettings(model=ask))
    with OfflineLaunchDarkly({"chat": judged, "relevance": judge}, settings=settings) as launchdarkly:
        call(sdk.shutdown())
        connect(launchdarkly.tracking)
        handler = _Handler()

        @track_ai(config_key="chat", tracking=launchdarkly.tracking)
        def view() -> None:
            call(sdk.config(key="chat", handler=handler).invoke("Hi", USER))

        view()
        launchdarkly.tracking.flush()

        run_id = _record(launchdarkly).run_id
        assert _record(launchdarkly).duration_ms < 300
        [score] = launchdarkly.events.named("judge:relevance")
        assert (score.metric_value, score.data["runId"], score.data["judgeConfigKey"]) == (0.75, run_id, "relevance")
        of_judge = [event for event in launchdarkly.events.custom if "relevance" in str(event.data) and event != score]
        runs = [event.data for event in of_judge if event.data.get("configKey") == "relevance"]
        assert {data["parentRunId"] for data in runs} == {run_id}
        assert run_id not in {data["runId"] for data in runs}
        assert (handler.judged, asked) == (1, [])


@pytest.mark.parametrize("streamed", [False, True])
def test_observing_it(streamed: bool, launchdarkly: OfflineLaunchDarkly) -> None:
    """``run.observe`` reads tokens and time to first token of a response or a stream, and nothing counts twice."""

    @track_ai(config_key="chat", tracking=launchdarkly.tracking)
    async def view(run: Run) -> None:
        if streamed:
            async for _ in run.observe(_config().stream("Hi", USER)):
                pass
        else:
            await run.observe(_config().invoke("Hi", USER))

    asyncio.run(view())

    record = _record(launchdarkly)
    assert record.usage is not None
    assert (record.usage.input_tokens, record.usage.output_tokens, record.usage.source) == (7317, 3863, "provider")
    assert (record.time_to_first_token_ms is not None) == streamed
    assert [event for event in _generations(launchdarkly) if event[0] != "tokens:ttf"] == [
        ("generation:success", 1),
        *TOKENS,
    ]


@pytest.mark.parametrize("is_left", [False, True])
@pytest.mark.parametrize("is_async", [False, True])
def test_the_first_chunk(is_async: bool, is_left: bool, launchdarkly: OfflineLaunchDarkly) -> None:
    """With ``run.observe``, the first token is the SDK's first chunk, also if the handler sends something before."""
    view = _view_with_a_headline(launchdarkly)

    if is_async:
        received = asyncio.run(_consume(view, 2 if is_left else 99))
    else:

        @track_ai(config_key="chat", tracking=launchdarkly.tracking)
        def sync_view(run: Run) -> Generator[str, None, None]:
            yield "One moment …"
            for event in iterate(run.observe(_config().stream("Hi", USER))):
                yield str(event.get("text"))

        with contextlib.closing(sync_view()) as items:
            received = list(itertools.islice(items, 2 if is_left else None))

    assert received[:2] == ["One moment …", "Hello"]
    record = _record(launchdarkly)
    assert record.time_to_first_token_ms is not None
    assert 9 <= record.time_to_first_token_ms <= record.duration_ms
    assert record.outcome == ("cancelled" if is_left else "success")
    assert record.usage is not None
    if is_left:
        assert "output_tokens" in record.usage.estimated
    else:
        assert (record.usage.input_tokens, record.usage.output_tokens) == (7317, 3863)


def _view_with_a_headline(launchdarkly: OfflineLaunchDarkly) -> Callable[[], AsyncGenerator[str, None]]:
    @track_ai(config_key="chat", tracking=launchdarkly.tracking)
    async def view(run: Run) -> AsyncGenerator[str, None]:
        yield "One moment …"
        async for event in run.observe(_config().stream("Hi", USER)):
            yield str(event.get("text"))

    return view


async def _consume(view: Callable[[], AsyncGenerator[str, None]], most: int) -> list[str]:
    """Return the first items of a handler, and close it."""
    received: list[str] = []
    async with contextlib.aclosing(view()) as items:
        async for item in items:
            received.append(item)
            if len(received) == most:
                break
    return received


def test_another_ai_config_in_a_run(launchdarkly: OfflineLaunchDarkly) -> None:
    """A run of the SDK inside a run of another key is a run of its own, whose events name their parent."""
    launchdarkly.serve("other", ai_config("gpt-4o"))

    @track_ai(config_key="other", tracking=launchdarkly.tracking)
    def view(run: Run) -> str:
        assert run.config.enabled
        call(_config().invoke("Hi", USER))
        return "Hello"

    view()

    record = _record(launchdarkly)
    inner = [event.data for event in launchdarkly.events.custom if "parentRunId" in str(event.data)]
    assert {(data["configKey"], data["parentRunId"]) for data in inner} == {("chat", record.run_id)}
    assert record.run_id not in {data["runId"] for data in inner}


def test_several_calls_in_a_run(launchdarkly: OfflineLaunchDarkly) -> None:
    """Several calls inside one run are one run with one outcome, and their tokens are added."""

    @track_ai(config_key="chat", tracking=launchdarkly.tracking)
    def view() -> None:
        for _ in range(2):
            call(_config().invoke("Hi", USER))

    view()

    record = _record(launchdarkly)
    assert record.usage is not None
    assert (record.usage.input_tokens, record.usage.output_tokens, record.usage.total_tokens) == (14634, 7726, 22360)
    assert _generations(launchdarkly) == [
        ("generation:success", 1),
        *[(name, 2 * tokens) for name, tokens in TOKENS],
    ]
    assert (record.calls, record.failed_calls) == (2, 0)
    assert _run_ids(launchdarkly) == {record.run_id}


class _Flaky(_Handler):
    """A handler that fails, or answers, as its list says."""

    def __init__(self, *fails: bool) -> None:
        super().__init__()
        self._fails = list(fails)

    async def __call__(self, *arguments: Any) -> dict[str, Any]:
        await asyncio.sleep(0.01)
        if self._fails.pop(0):
            raise ConnectionError
        return await super().__call__(*arguments)


@pytest.mark.parametrize("caught_failures", ["error", "success"])
@pytest.mark.parametrize("fails", [(True, False), (False, True), (True, True)])
def test_calls_that_fail(fails: tuple[bool, ...], caught_failures: Any, launchdarkly: OfflineLaunchDarkly) -> None:
    """A run is an error if no call of the SDK succeeded after the last failed one, and counts the failed ones."""
    settings = Settings(flush="never", caught_failures=caught_failures)
    with OfflineLaunchDarkly(
        {"chat": ai_config("gpt-4o-mini", messages="Be brief.")}, settings=settings
    ) as launchdarkly:
        call(sdk.shutdown())
        connect(launchdarkly.tracking)
        handler = _Flaky(*fails)

        @track_ai(config_key="chat", tracking=launchdarkly.tracking)
        def view() -> str:
            for _ in fails:
                with contextlib.suppress(ConnectionError):
                    call(sdk.config(key="chat", handler=handler).invoke("Hi", USER))
            return "Sorry"

        view()
        launchdarkly.tracking.flush()

        expected = "error" if fails[-1] and caught_failures == "error" else "success"
        record = _record(launchdarkly)
        assert (record.outcome, record.calls, record.failed_calls) == (expected, 2, sum(fails))
        assert record.duration_ms >= 20
        tokens = TOKENS if sum(fails) == 1 else []
        assert _generations(launchdarkly) == [(f"generation:{expected}", 1), *tokens]
        assert len(launchdarkly.events.named("duration:total")) == 1


def test_an_exception_after_the_call(launchdarkly: OfflineLaunchDarkly) -> None:
    """A view that fails after the SDK has answered is an error, with the tokens of the answer."""

    @track_ai(config_key="chat", tracking=launchdarkly.tracking)
    def view() -> None:
        call(_config().invoke("Hi", USER))
        raise ValueError("of the application")

    with pytest.raises(ValueError, match="of the application"):
        view()

    assert _generations(launchdarkly) == [("generation:error", 1), *TOKENS]


def test_the_variation_of_the_sdk(launchdarkly: OfflineLaunchDarkly) -> None:
    """The run is reported for the LD context and the variation that the SDK has used, also if the view's differ."""

    @track_ai(config_key="chat", tracking=launchdarkly.tracking, ld_context=lambda: Context.create("ben"))
    def view(run: Run) -> str:
        assert run.config.enabled
        large = ai_config("gpt-4o", messages="Be brief.", variation_key="large")
        large["_ldMeta"] |= {"modelKey": "OpenAI.gpt-4o", "modelVersion": 7}
        launchdarkly.serve("chat", large)
        call(_config().invoke("Hi", USER))
        return run.id

    run_id = view()

    record = _record(launchdarkly)
    assert (record.run_id, record.variation_key, record.ld_context) == (run_id, "large", Context.from_dict(USER))
    assert (record.model_name, record.provider_name) == ("gpt-4o", "OpenAI")
    launchdarkly.tracking.flush()
    events = [event for event in launchdarkly.events.custom if "generation" in event.key]
    assert [(event.context.key, event.data["variationKey"]) for event in events] == [("anna", "large")]
    assert (events[0].data["modelKey"], events[0].data["modelVersion"]) == ("OpenAI.gpt-4o", 7)


@pytest.mark.parametrize("fails", [False, True])
def test_a_wrapped_client_in_the_handler(fails: bool, launchdarkly: OfflineLaunchDarkly) -> None:
    """Provider calls that a wrapped client sees within a call of the SDK count once, and others count as well."""
    made: list[int] = []

    class Client:
        """A client with the methods of OpenAI's."""

        def __init__(self) -> None:
            self.chat = self.completions = self

        def create(self, *, model: str, messages: Any) -> dict[str, Any]:  # the arguments are OpenAI's
            made.append(1)
            usage = {"prompt_tokens": 700, "completion_tokens": 30, "total_tokens": 730}
            return {"id": f"chatcmpl-{len(made)}", "object": "chat.completion", "choices": [], "usage": usage}

    client: Any = wrap_client(Client())

    class Handler(_Handler):
        async def __call__(self, *_: Any) -> dict[str, Any]:
            for _attempt in range(2):
                client.chat.completions.create(model="gpt-4o-mini", messages=[])
            if fails:
                raise ConnectionError
            return {"output": "Hello", "usage": {"input": 1400, "output": 60, "total": 1460}}

    @track_ai(config_key="chat", tracking=launchdarkly.tracking)
    def view() -> None:
        with contextlib.suppress(ConnectionError):
            call(sdk.config(key="chat", handler=Handler()).invoke("Hi", USER))
        if not fails:
            client.chat.completions.create(model="gpt-4o-mini", messages=[])

    view()

    record = _record(launchdarkly)
    assert record.usage is not None
    counted = 2 if fails else 3
    assert (record.usage.input_tokens, record.usage.output_tokens) == (700 * counted, 30 * counted)
    assert (record.outcome, record.calls, record.failed_calls) == (("error", 3, 1) if fails else ("success", 3, 0))
    assert not record.usage.lower_bound


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


def test_our_client_without_connect(launchdarkly: OfflineLaunchDarkly) -> None:
    """``tracking.ld_client`` can be given to ``init_client`` of the SDK directly."""
    call(sdk.shutdown())
    client = launchdarkly.tracking.ld_client
    assert call(sdk.init_client({"sdkKey": "test"}, client=client)) is client

    @track_ai(config_key="chat", tracking=launchdarkly.tracking)
    async def view() -> str:
        return str((await _config().invoke("Hi", USER)).response)

    assert asyncio.run(view()) == "Hello there"
    assert _run_ids(launchdarkly) == {_record(launchdarkly).run_id}


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
