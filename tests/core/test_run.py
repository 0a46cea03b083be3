"""One run: its interface for handlers, and its record."""

from __future__ import annotations

import asyncio
import gc
import threading
import tracemalloc
import uuid
import weakref
from typing import Any, cast

import pytest
from ldclient import Context, LDClient

from ldai_integrations import ConfigurationError, Run, RunRecord, Settings, Tracking, current_run, run_opened, track_ai
from ldai_integrations.records import Usage
from ldai_integrations.sinks import LogSink

from ..conftest import Clock, Events


def block(tracking: Tracking, key: str = "chat", **options: Any) -> track_ai:
    """Return a block that opens a run."""
    return track_ai(config_key=key, tracking=tracking, **options)


def test_what_a_provider_call_needs(tracking: Tracking) -> None:
    """Model, parameters and messages fit a provider's client and are new objects each time."""
    with block(tracking, variables={"company": "Acme"}) as run:
        messages = run.messages(user="Hello?")
        run.parameters["temperature"] = 2

        assert (run.model, run.parameters) == ("gpt-4o-mini", {"temperature": 0.2})
        assert messages == [
            {"role": "system", "content": "You help Acme."},
            {"role": "user", "content": "Hello?"},
        ]
        messages.clear()
        assert run.messages() == [{"role": "system", "content": "You help Acme."}]


def test_how_a_run_looks(tracking: Tracking) -> None:
    """The text of a run says its state and how many provider calls it has."""
    answer = {"object": "chat.completion", "model": "gpt-4o", "choices": [{"finish_reason": "stop"}]}
    with block(tracking) as run:
        texts = [repr(run)]
        for number in "ab":
            run.observe({**answer, "id": number})
            texts.append(repr(run))

    assert texts == [
        "<Run of 'chat', open, 0 provider calls>",
        "<Run of 'chat', open, 1 provider call>",
        "<Run of 'chat', open, 2 provider calls>",
    ]
    assert repr(run) == "<Run of 'chat', finished, 2 provider calls>"


def test_an_agents_instructions(tracking: Tracking) -> None:
    """The instructions of an agent come as a system message."""
    with block(tracking, "agent", mode="agent", variables={"company": "Acme"}) as run:
        assert run.messages(user="Hello?") == [
            {"role": "system", "content": "Help Acme."},
            {"role": "user", "content": "Hello?"},
        ]


def test_the_variation_is_the_contexts(tracking: Tracking, records: list[RunRecord]) -> None:
    """Targeting rules decide for the LaunchDarkly context of the run, and the record names what was served."""
    ada = Context.builder("ada").set("plan", "premium").build()
    with block(tracking, ld_context=lambda: ada) as run:
        assert run.model == "gpt-4o"

    record = records[0]
    assert (record.variation_key, record.version, record.model_name) == ("large", 3, "gpt-4o")
    assert (record.provider_name, record.mode, record.default_served) == ("OpenAI", "completion", False)
    assert record.ld_context is ada


def test_an_ai_config_is_evaluated_once(tracking: Tracking, events: Events) -> None:
    """Runs of one request share the evaluation of an AI Config; another set of variables is rendered anew."""
    with block(tracking, "summary"):
        configs, prompts = [], []
        for company in ("Acme", "Acme", "Knits"):
            with block(tracking, variables={"company": company}) as run:
                configs.append(run.config)
                prompts.append(run.messages()[0]["content"])

    assert configs[0] == configs[1]
    assert prompts == ["You help Acme.", "You help Acme.", "You help Knits."]
    assert [event.data for event in events.named("usage:completion-config-template")].count("chat") == 2


def test_outside_of_a_run() -> None:
    """Outside of a run, ``current_run`` returns a run that does nothing."""
    run = current_run()
    run.add_usage(input_tokens=1)
    run.tool_call("search")
    run.first_token()
    run.fail(ValueError())
    run.tracker.track_success()
    run.tracker.track_success()
    run.finish()

    assert run.observe("anything") == "anything"
    assert (run.config.enabled, run.model, run.parameters, run.messages()) == (False, "", {}, [])
    assert run.messages(user="Hello?") == [{"role": "user", "content": "Hello?"}]
    assert isinstance(run, Run)


def test_a_receiver_of_run_opened(tracking: Tracking) -> None:
    """The signal sends the open run under its config key; a receiver that raises is counted and nothing else."""
    opened = []

    def receive(config_key: str, *, run: Run) -> None:
        opened.append((config_key, run.finished))
        raise RuntimeError("broken")

    with run_opened.connected_to(receive), block(tracking):
        pass

    assert opened == [("chat", False)]
    assert tracking.stats().diagnostics == {"receiver of run_opened": 1}


def test_a_receiver_that_raises(tracking: Tracking, events: Events) -> None:
    """A receiver of run_finished that raises, or is a coroutine function, affects neither request nor events."""
    from ldai_integrations import run_finished

    async def coroutine(config_key: str, *, record: RunRecord) -> None: ...

    def broken(config_key: str, *, record: RunRecord) -> None:
        raise RuntimeError("broken")

    for receiver in (broken, coroutine):
        with run_finished.connected_to(receiver), block(tracking):
            pass

    assert tracking.stats().diagnostics == {"receiver of run_finished": 2}
    assert len(events.named("generation:success")) == 2


def test_long_output_is_counted_on_another_thread(client: LDClient, o200k: None, events: Events) -> None:
    """Text that takes milliseconds to count is counted on another thread; a flush waits for it."""
    threads = []

    class Sink:
        def emit(self, record: RunRecord) -> None:
            threads.append(threading.current_thread())

    tracking = Tracking(client, sinks=[Sink()])
    track_ai(config_key="chat", tracking=tracking)(lambda: "word " * 10)()
    track_ai(config_key="chat", tracking=tracking)(lambda: "word " * 100_000)()
    tracking.flush()

    assert threads[0] is threading.current_thread()
    assert threads[1] is not threading.current_thread()
    assert [event.metric_value for event in events.named("tokens:output")] == [11, 100_001]


def test_estimates_fill_only_what_is_missing(tracking: Tracking, records: list[RunRecord], o200k: None) -> None:
    """A count that the provider reported is kept; the other one is estimated and marked as an estimate."""
    with block(tracking) as run:
        run.messages(user="Hello?")
        run.add_usage(output_tokens=20)

    usage = records[0].usage
    assert usage is not None
    assert usage.output_tokens == 20
    assert usage.input_tokens is not None
    assert usage.source == "partial"
    assert usage.estimated == {"input_tokens", "total_tokens"}


def test_estimates_may_be_kept_to_oneself(client: LDClient, o200k: None, events: Events) -> None:
    """With ``report_estimates=False`` only the provider's own figures go to LaunchDarkly."""
    tracking = Tracking(client, settings=Settings(report_estimates=False))
    track_ai(config_key="chat", tracking=tracking)(lambda: "Hello there")()
    with block(tracking) as run:
        run.add_usage(output_tokens=20)
    tracking.flush()

    assert [name for name, _ in events.of_runs() if name.startswith("tokens")] == ["tokens:output"]


@pytest.mark.parametrize(("cancelled_as", "sent"), [("cancelled", []), ("error", ["error"]), ("success", ["success"])])
def test_what_a_cancelled_run_counts_as(client: LDClient, events: Events, cancelled_as: Any, sent: list[str]) -> None:
    """A cancelled run is neither success nor error, unless the settings say so."""
    tracking = Tracking(client, settings=Settings(cancelled_as=cancelled_as))
    with block(tracking) as run:
        run.fail(asyncio.CancelledError())
    tracking.flush()

    assert [event.key.rpartition(":")[2] for event in events.custom if ":generation:" in event.key] == sent
    assert len(events.named("duration:total")) == 1


def test_a_failure_that_the_handler_deals_with(tracking: Tracking, records: list[RunRecord]) -> None:
    """``run.fail`` makes the run an error although its handler returns an answer."""
    error = TimeoutError()
    with block(tracking) as run:
        run.fail(error)
        run.fail(ValueError("a later one"))

    assert (records[0].outcome, records[0].error) == ("error", error)


def test_data_that_is_not_a_mapping(tracking: Tracking, events: Events, caplog: pytest.LogCaptureFixture) -> None:
    """An event whose data cannot be read is logged and fails no request."""
    with block(tracking) as run:
        run.track("purchase", 1, cast(Any, "private"))

    assert events.named("purchase") == []
    assert "track failed for 'chat' (TypeError" in caplog.text
    assert "private" not in caplog.text


def test_a_failure_that_is_not_an_exception(
    tracking: Tracking, records: list[RunRecord], caplog: pytest.LogCaptureFixture
) -> None:
    """``run.fail`` with a text makes the run an error, and is logged."""
    with block(tracking) as run:
        run.fail(cast(Any, "no answer"))

    assert records[0].outcome == "error"
    assert "run.fail() was given a str" in caplog.text


def test_a_run_is_finished_once(tracking: Tracking, records: list[RunRecord], events: Events) -> None:
    """However many threads finish a run, it is reported once."""
    with block(tracking) as run:
        threads = [threading.Thread(target=run.finish) for _ in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert len(records) == 1
    assert len(events.named("duration:total")) == 1


def test_a_finished_run_keeps_nothing_alive(tracking: Tracking) -> None:
    """A tracker kept for later feedback keeps neither what was observed nor the request."""

    class Request(dict[str, Any]):
        pass

    request = Request()
    gone = weakref.ref(request)

    @track_ai(config_key="chat", tracking=tracking, variables=lambda request: {"company": "Acme"})
    def ask(request: Request) -> Any:
        return current_run().tracker

    tracker = ask(request)
    del request
    gc.collect()

    assert gone() is None
    assert tracker.resumption_token


def test_no_garbage_is_left(tracking: Tracking) -> None:
    """A run is freed when it is over, without the garbage collector."""
    runs = []
    gc.disable()
    try:
        for _ in range(3):
            with block(tracking) as run:
                run.observe({"choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 1}})
                runs.append(weakref.ref(run))
        del run
        tracking.flush()
        assert [reference() for reference in runs] == [None] * 3
    finally:
        gc.enable()


@pytest.mark.parametrize(
    ("usage", "tokens"),
    [
        (Usage(3, 4), "7 tokens"),
        (Usage(3, 4, lower_bound=True), "at least 7 tokens"),
        (Usage(3, 4, estimated=frozenset({"output_tokens"})), "7 tokens (estimated)"),
        (Usage(3), "unknown tokens"),
    ],
)
def test_the_log_sink(
    usage: Usage, tokens: str, client: LDClient, caplog: pytest.LogCaptureFixture, clock: Clock
) -> None:
    """One line per run, with its figures and without texts of the user; estimates and lower bounds are marked."""
    tracking = Tracking(client, sinks=[LogSink()], clock=clock)
    with caplog.at_level("INFO", logger="ldai_integrations.runs"), block(tracking) as run:
        run.add_usage(usage)
        clock.advance(25)

    [line] = caplog.records
    assert line.message == f"chat success in 25 ms, {tokens}"
    attributes: dict[str, Any] = vars(line)
    assert attributes["ldai_cost_usd"] > 0
    assert attributes["ldai_cost_lower_bound"] == ("at least" in tokens or "unknown" in tokens)


@pytest.mark.parametrize("wrong", [None, "sdk-key", object()])
def test_a_tracking_of_something_else(wrong: Any) -> None:
    """An object that is not an LDClient is refused at start."""
    with pytest.raises(ConfigurationError, match=r"give an ldclient.LDClient, or use Tracking.from_env\(\)"):
        Tracking(wrong)


def test_a_sink_without_emit(client: LDClient) -> None:
    """A sink without ``emit`` is refused at start."""
    with pytest.raises(ConfigurationError, match=r"has no emit\(record\) method"):
        Tracking(client, sinks=[print])  # type: ignore[list-item]


def test_sinks_that_are_not_a_list(client: LDClient, fresh_process: None) -> None:
    """A sink without a list around it is refused at start, before a client is created."""
    sinks: Any = LogSink()
    remedy = r"give a list, such as sinks=\[LogSink\(…\)\]"
    with pytest.raises(ConfigurationError, match=remedy):
        Tracking(client, sinks=sinks)
    with pytest.raises(ConfigurationError, match=remedy):
        Tracking.from_env(sinks=sinks, environ={"LDAI_CONFIG_FILE": "none.json"})


def test_usage_adds_up() -> None:
    """Counts are added, unknown ones stay unknown, and estimates stay named."""
    known = Usage(input_tokens=1, output_tokens=2, cached_input_tokens=1)
    estimated = Usage(output_tokens=5, estimated=frozenset({"output_tokens"}), lower_bound=True)

    assert known + known == Usage(input_tokens=2, output_tokens=4, total_tokens=6, cached_input_tokens=2)
    together = known + estimated
    assert (together.input_tokens, together.output_tokens, together.reasoning_tokens) == (1, 7, None)
    assert (together.source, together.lower_bound) == ("partial", True)
    assert (known.source, estimated.source) == ("provider", "estimate")
    with pytest.raises(TypeError):
        known + 1  # type: ignore[operator]


def test_the_id_is_asked_for_while_it_is_made(tracking: Tracking, monkeypatch: pytest.MonkeyPatch) -> None:
    """A signal handler that interrupts the making of the id gets the same one, and waits for nothing."""
    asked: list[str] = []

    def interrupted() -> uuid.UUID:
        monkeypatch.undo()
        asked.append(current_run().id)
        return uuid.uuid4()

    with block(tracking) as run:
        assert run.config.enabled
        monkeypatch.setattr(uuid, "uuid4", interrupted)
        assert [run.id] == asked


def test_keys_that_requests_make_up_are_not_kept(tracking: Tracking, events: Events) -> None:
    """A middleware may take the key from the address. Keys that LaunchDarkly cannot have leave nothing in memory."""
    usage = {"prompt_tokens": 12, "completion_tokens": 3, "total_tokens": 15}
    response = {"id": "x", "object": "chat.completion", "model": "m", "choices": [], "usage": usage}

    def run(number: int) -> None:
        with track_ai(config_key=f"{number}" + "x" * 100_000, tracking=tracking) as run:
            run.observe(response)

    run(0)
    tracemalloc.start()
    try:
        for number in range(1, 100):
            run(number)
        tracking.flush(30)
        events.custom.clear()
        gc.collect()
        left, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert left < 3_000_000
