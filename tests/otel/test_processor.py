"""The spans of instrumented provider calls are the usage of the run they are in; no call counts twice."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
import weakref
from contextlib import suppress
from typing import Any

import pytest
from opentelemetry.trace import StatusCode

from ldai_integrations import RunRecord, Tracking, current_run, track_ai, wrap_client
from ldai_integrations.opentelemetry import UsageSpanProcessor
from ldai_integrations.records import Usage
from ldai_integrations.testing import Clock, RecordingSink
from ldai_integrations.usage import read_span

from .conftest import Telemetry

RESPONSE: dict[str, Any] = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "model": "gpt-4o-mini",
    "choices": [{"message": {"role": "assistant", "content": "Hello"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 20, "completion_tokens": 8, "total_tokens": 28},
}
SPAN: dict[str, Any] = {
    "gen_ai__operation__name": "chat",
    "gen_ai__usage__input_tokens": 20,
    "gen_ai__usage__output_tokens": 8,
    "gen_ai__response__model": "gpt-4o-mini-2024-07-18",
    "gen_ai__response__finish_reasons": ["stop"],
    "gen_ai__response__id": "chatcmpl-1",
}
UNNAMED = {name: value for name, value in SPAN.items() if name != "gen_ai__response__id"}


def usage_of(sink: RecordingSink) -> tuple[int | None, int | None]:
    """Return the input and output tokens of the only run."""
    [record] = sink.wait()
    assert record.usage is not None
    assert record.usage.source == "provider"
    return record.usage.input_tokens, record.usage.output_tokens


def test_a_call(tracking: Tracking, telemetry: Telemetry, sink: RecordingSink) -> None:
    """The tokens, the model and the reasons of a span are the run's, and the tokens are exact."""
    with track_ai("bot", tracking=tracking):
        telemetry.call(**SPAN, gen_ai__usage__cache_read__input_tokens=15)
    [record] = sink.wait()

    assert record.usage == Usage(20, 8, 28, cached_input_tokens=15)
    assert (record.response_model, record.finish_reasons) == ("gpt-4o-mini-2024-07-18", ("stop",))


def test_several_calls(tracking: Tracking, telemetry: Telemetry, sink: RecordingSink) -> None:
    """Calls add up, also two that look the same."""
    with track_ai("bot", tracking=tracking):
        telemetry.call(**UNNAMED)
        telemetry.call(**UNNAMED)
        telemetry.call(gen_ai__usage__input_tokens=1, gen_ai__usage__output_tokens=2, gen_ai__response__id="other")

    assert usage_of(sink) == (41, 18)


@pytest.mark.parametrize("span", [SPAN, UNNAMED])
@pytest.mark.parametrize("response", [RESPONSE, {**RESPONSE, "id": None}])
def test_what_was_observed_too(
    tracking: Tracking, telemetry: Telemetry, sink: RecordingSink, response: dict[str, Any], span: dict[str, Any]
) -> None:
    """A call that ``run.observe`` sees as well counts once, and another one counts besides."""
    with track_ai("bot", tracking=tracking) as run:
        telemetry.call(**span)
        run.observe(response)
        telemetry.call(gen_ai__usage__input_tokens=1, gen_ai__usage__output_tokens=2)

    assert usage_of(sink) == (21, 10)


def test_an_observed_call_stands_for_one(tracking: Tracking, telemetry: Telemetry, sink: RecordingSink) -> None:
    """Of two calls with the same tokens, of which one was observed, the other one counts."""
    with track_ai("bot", tracking=tracking) as run:
        telemetry.call(**UNNAMED)
        telemetry.call(**UNNAMED)
        run.observe(RESPONSE)

    assert usage_of(sink) == (40, 16)


def test_calls_with_other_names(tracking: Tracking, telemetry: Telemetry, sink: RecordingSink) -> None:
    """Two responses that are named differently are two, even with the same tokens."""
    with track_ai("bot", tracking=tracking) as run:
        telemetry.call(**SPAN)
        run.observe({**RESPONSE, "id": "chatcmpl-2"})

    assert usage_of(sink) == (40, 16)


def test_tokens_of_a_cache_that_were_left_out(tracking: Tracking, telemetry: Telemetry, sink: RecordingSink) -> None:
    """A call whose input the instrumentation counts differently is the same call, and keeps the counts that we read."""
    with track_ai("bot", tracking=tracking) as run:
        telemetry.call(gen_ai__usage__input_tokens=5, gen_ai__usage__output_tokens=8)
        usage = {**RESPONSE["usage"], "prompt_tokens_details": {"cached_tokens": 15}}
        run.observe({**RESPONSE, "usage": usage})

    assert usage_of(sink) == (20, 8)


def test_zeros(tracking: Tracking, telemetry: Telemetry, sink: RecordingSink) -> None:
    """A span with zeros is a call whose provider sent no usage, so that the tokens are a lower bound."""
    with track_ai("bot", tracking=tracking):
        telemetry.call(gen_ai__usage__input_tokens=0, gen_ai__usage__output_tokens=0)
        telemetry.call(**UNNAMED)
    with track_ai("bot", tracking=tracking):
        telemetry.call(gen_ai__usage__input_tokens=0, gen_ai__usage__output_tokens=0)
    both, alone = sink.wait(2)

    assert (both.usage, both.calls) == (Usage(20, 8, 28, lower_bound=True), 2)
    assert (alone.usage, alone.calls, alone.outcome) == (None, 1, "success")


@pytest.mark.parametrize(
    "says", [{"gen_ai__operation__name": "chat"}, {"llm__request__type": "chat"}, {"openinference__span__kind": "LLM"}]
)
def test_without_tokens(tracking: Tracking, telemetry: Telemetry, sink: RecordingSink, says: dict[str, Any]) -> None:
    """A span of a model without tokens, as some instrumentations write for streams, is a call with estimated tokens.

    So the run is a generation, although earlier runs had calls with tokens.
    """

    def handler() -> str:
        telemetry.call(**says, gen_ai__response__model="gpt-4o-mini-2024-07-18")
        return "You asked where your parcel is."

    with track_ai("bot", tracking=tracking):
        telemetry.call(**SPAN)
    track_ai("bot", tracking=tracking)(handler)()
    _, record = sink.wait(2)

    assert (record.outcome, record.calls, record.response_model) == ("success", 1, "gpt-4o-mini-2024-07-18")
    assert record.usage is not None
    assert record.usage.estimated >= {"output_tokens"}
    assert record.usage.output_tokens is not None
    assert 5 <= record.usage.output_tokens <= 9


def test_what_is_not_a_call_of_a_model(tracking: Tracking, telemetry: Telemetry, sink: RecordingSink) -> None:
    """Spans of agents, chains and tools without tokens are not calls."""
    with track_ai("bot", tracking=tracking):
        telemetry.call(gen_ai__operation__name="invoke_agent")
        telemetry.call(gen_ai__operation__name="execute_tool")
        telemetry.call(openinference__span__kind="CHAIN")
        telemetry.call(**SPAN)
    [record] = sink.wait()

    assert (record.calls, record.usage) == (1, Usage(20, 8, 28))


@pytest.mark.parametrize("inner_has_tokens", [False, True])
def test_tokens_on_one_of_two_nested_spans(
    tracking: Tracking, telemetry: Telemetry, sink: RecordingSink, inner_has_tokens: bool
) -> None:
    """Of a framework's span and an instrumentation's in it, the one with tokens is the call."""
    chat, counts = {"gen_ai.operation.name": "chat"}, {"gen_ai.usage.input_tokens": 20, "gen_ai.usage.output_tokens": 8}
    with track_ai("bot", tracking=tracking), telemetry.tracer.start_as_current_span("outer") as outer:
        with telemetry.tracer.start_as_current_span("inner") as inner:
            inner.set_attributes({**chat, **(counts if inner_has_tokens else {})})
        outer.set_attributes({**chat, **({} if inner_has_tokens else counts)})
    [record] = sink.wait()

    assert (record.calls, record.usage) == (1, Usage(20, 8, 28))


def test_what_was_observed_has_tokens(tracking: Tracking, telemetry: Telemetry, sink: RecordingSink) -> None:
    """A span without tokens is not counted beside the call that it describes."""
    with track_ai("bot", tracking=tracking) as run:
        telemetry.call(gen_ai__operation__name="chat")
        run.observe(RESPONSE)
    [record] = sink.wait()

    assert (record.calls, record.usage) == (1, Usage(20, 8, 28))


def failed_span(telemetry: Telemetry, **attributes: Any) -> None:
    """Make a span of a call that the provider refused."""
    with telemetry.tracer.start_as_current_span("chat") as span:
        span.set_attributes({"gen_ai.operation.name": "chat", **attributes})
        span.set_status(StatusCode.ERROR)


def test_a_failed_call(tracking: Tracking, telemetry: Telemetry, sink: RecordingSink) -> None:
    """A handler that answers a failed call politely is an error, and its apology has no tokens."""

    def handler() -> str:
        failed_span(telemetry, **{"error.type": "RateLimitError"})
        return "I am sorry, please try again later."

    track_ai("bot", tracking=tracking)(handler)()
    [record] = sink.wait()

    assert (record.outcome, record.calls, record.failed_calls, record.usage) == ("error", 1, 1, None)


def test_a_fallback(tracking: Tracking, telemetry: Telemetry, sink: RecordingSink, clock: Clock) -> None:
    """A call that succeeds after a failed one makes a success."""
    with track_ai("bot", tracking=tracking):
        failed_span(telemetry)
        clock.advance(1_000)
        telemetry.call(**SPAN)
    [record] = sink.wait()

    assert (record.outcome, record.calls, record.failed_calls) == ("success", 2, 1)
    assert record.usage == Usage(20, 8, 28)


@pytest.mark.parametrize(
    ("failure", "failed_calls", "lower_bound"),
    [
        ({"error.type": "429"}, 1, False),
        ({"error.type": "openai.RateLimitError"}, 1, False),
        ({"error.type": "openai.APIConnectionError"}, 1, False),
        ({"error.type": "httpx.ConnectTimeout"}, 1, False),
        ({"error.type": "504"}, 1, True),
        ({"error.type": "openai.APITimeoutError"}, 1, True),
        ({"error.type": "json.decoder.JSONDecodeError"}, 1, True),
        ({"error.type": "_OTHER", "gen_ai.response.id": "chatcmpl-2"}, 1, True),
        ({"error.type": "asyncio.exceptions.CancelledError"}, 0, True),
    ],
)
def test_a_failed_call_that_the_provider_may_bill(
    tracking: Tracking,
    telemetry: Telemetry,
    sink: RecordingSink,
    clock: Clock,
    failure: dict[str, Any],
    failed_calls: int,
    lower_bound: bool,
) -> None:
    """The tokens of other calls are a lower bound if a provider may bill a call of which only the failure is known."""
    with track_ai("bot", tracking=tracking):
        failed_span(telemetry, **failure)
        clock.advance(1_000)
        telemetry.call(**SPAN)
    [record] = sink.wait()

    assert record.usage is not None
    assert (record.calls, record.failed_calls, record.outcome) == (2, failed_calls, "success")
    assert (record.usage.input_tokens, record.usage.lower_bound) == (20, lower_bound)


@pytest.mark.parametrize(("reason", "failed_calls"), [("stop", 0), ("error", 1)])
def test_a_reader_that_stops_at_the_finish_reason(
    tracking: Tracking, telemetry: Telemetry, sink: RecordingSink, reason: str, failed_calls: int
) -> None:
    """A call whose answer was complete did not fail, although an instrumentation says that its span did."""

    def handler() -> str:
        failed_span(telemetry, **{"error.type": "_OTHER", "gen_ai.response.finish_reasons": [reason]})
        return "Your parcel is here."

    track_ai("bot", tracking=tracking)(handler)()
    [record] = sink.wait()

    assert (record.calls, record.failed_calls) == (1, failed_calls)
    assert record.outcome == ("error" if failed_calls else "success")
    assert (record.usage is not None and record.usage.estimated >= {"output_tokens"}) is not bool(failed_calls)


class Client:
    """A client of Ollama, whose call is a span: it needs a second before it, and one after it."""

    def __init__(self, telemetry: Telemetry, clock: Clock, error: BaseException | None = None) -> None:
        self._telemetry = telemetry
        self._clock = clock
        self._error = error

    def chat(self, **_asked: object) -> dict[str, Any]:
        """Answer, or fail as the span says."""
        self._clock.advance(1_000)
        self._telemetry.call(gen_ai__operation__name="chat") if self._error is None else failed_span(self._telemetry)
        self._clock.advance(1_000)
        if self._error is not None:
            raise self._error
        return {"model": "llama3", "done": True, "prompt_eval_count": 70001, "eval_count": 13337}


Client.__module__ = "ollama._client"


def test_a_cancelled_call_whose_span_failed(
    tracking: Tracking, telemetry: Telemetry, sink: RecordingSink, clock: Clock
) -> None:
    """A call that its consumer cancelled has not failed, and counts once, although its span is an error."""
    with track_ai("bot", tracking=tracking), suppress(asyncio.CancelledError):
        wrap_client(Client(telemetry, clock, asyncio.CancelledError())).chat(model="llama3", messages=[])
    [record] = sink.wait()

    assert (record.calls, record.failed_calls) == (1, 0)


@pytest.mark.parametrize("fails", [False, True])
def test_spans_without_tokens_before_a_call(
    tracking: Tracking, telemetry: Telemetry, sink: RecordingSink, clock: Clock, fails: bool
) -> None:
    """A span without tokens that ended before a call is a call of its own, and that of the call is not."""
    with track_ai("bot", tracking=tracking):
        failed_span(telemetry) if fails else telemetry.call(gen_ai__operation__name="chat")
        clock.advance(1_000)
        wrap_client(Client(telemetry, clock)).chat(model="llama3", messages=[])
    [record] = sink.wait()

    assert record.usage is not None
    assert (record.calls, record.failed_calls, record.usage.input_tokens) == (2, int(fails), 70001)
    assert record.usage.lower_bound is not fails


def test_a_call_that_succeeds_while_another_one_fails(
    tracking: Tracking, telemetry: Telemetry, sink: RecordingSink, clock: Clock
) -> None:
    """A call replaces one that had started before and fails later."""
    with track_ai("bot", tracking=tracking):
        lost = telemetry.tracer.start_span("chat", start_time=time.time_ns() - 5_000_000_000)
        telemetry.call(gen_ai__usage__input_tokens=70001, gen_ai__usage__output_tokens=13337)
        clock.advance(1_000)
        lost.set_attribute("gen_ai.operation.name", "chat")
        lost.set_status(StatusCode.ERROR)
        lost.end()
    [record] = sink.wait()

    assert (record.outcome, record.calls, record.failed_calls) == ("success", 2, 1)


def test_calls_are_in_the_order_of_their_starts(tracking: Tracking, telemetry: Telemetry, sink: RecordingSink) -> None:
    """A call that starts first is the first one, even if its span is reported last and has times of its own."""
    second = time.time_ns()
    with track_ai("bot", tracking=tracking):
        first = telemetry.tracer.start_span("first", start_time=second - 5_000_000_000)
        for span, reason, at in ((telemetry.tracer.start_span("second"), "length", None), (first, "stop", second)):
            span.set_attributes({"gen_ai.operation.name": "chat", "gen_ai.response.finish_reasons": [reason]})
            span.end(at)
    [record] = sink.wait()

    assert record.finish_reasons == ("stop", "length")


def test_embeddings(tracking: Tracking, telemetry: Telemetry, sink: RecordingSink) -> None:
    """A call without output is recognised by its input."""
    embeddings = {"object": "list", "data": [], "model": "e", "usage": {"prompt_tokens": 7, "total_tokens": 7}}
    with track_ai("bot", tracking=tracking) as run:
        telemetry.call(gen_ai__usage__input_tokens=7)
        run.observe(embeddings)
        telemetry.call(gen_ai__usage__input_tokens=9)
    [record] = sink.wait()

    assert record.usage is not None
    assert record.usage.input_tokens == 16


def test_a_response_that_the_handler_returns(tracking: Tracking, telemetry: Telemetry, sink: RecordingSink) -> None:
    """A provider's response that the handler returns as it is counts once, and its tools are known."""
    call = {"id": "call_1", "type": "function", "function": {"name": "look_up", "arguments": "{}"}}
    response = {**RESPONSE, "choices": [{"message": {"tool_calls": [call]}, "finish_reason": "tool_calls"}]}

    @track_ai("bot", tracking=tracking)
    def handler() -> Any:
        telemetry.call(gen_ai__usage__input_tokens=1, gen_ai__usage__output_tokens=2)
        telemetry.call(**SPAN)
        return response

    handler()
    assert usage_of(sink) == (21, 10)
    assert sink.records[0].tool_calls == ("look_up",)


def test_text_that_the_handler_returns(tracking: Tracking, telemetry: Telemetry, sink: RecordingSink) -> None:
    """The tokens of a text are not counted if the call that made it is known."""

    @track_ai("bot", tracking=tracking)
    def handler() -> str:
        telemetry.call(**SPAN)
        return "Hello, is there anybody?"

    handler()

    assert usage_of(sink) == (20, 8)


def test_the_sum_of_an_agent(tracking: Tracking, telemetry: Telemetry, sink: RecordingSink) -> None:
    """The result of an agent that is observed adds nothing to the spans of the calls that it sums up."""
    with track_ai("bot", tracking=tracking) as run:
        telemetry.call(gen_ai__usage__input_tokens=1013, gen_ai__usage__output_tokens=77)
        telemetry.call(gen_ai__usage__input_tokens=2017, gen_ai__usage__output_tokens=88)
        run.observe({"content": "Done", "metrics": {"input_tokens": 3030, "output_tokens": 165}})
        telemetry.call(gen_ai__usage__input_tokens=5, gen_ai__usage__output_tokens=6)

    assert usage_of(sink) == (3035, 171)
    assert sink.records[0].calls == 3


def test_the_sum_of_a_long_agent(tracking: Tracking, telemetry: Telemetry, sink: RecordingSink) -> None:
    """The observed result of an agent adds nothing, however many calls it sums up."""
    with track_ai("bot", tracking=tracking) as run:
        for number in range(20):
            telemetry.call(gen_ai__usage__input_tokens=1013 + number, gen_ai__usage__output_tokens=77)
        run.observe({"content": "Done", "metrics": {"input_tokens": 20450, "output_tokens": 1540}})

    assert usage_of(sink) == (20450, 1540)
    assert sink.records[0].calls == 20


def test_the_result_of_an_agent_that_contains_more(
    tracking: Tracking, telemetry: Telemetry, sink: RecordingSink
) -> None:
    """An observed result that contains more than its spans makes their tokens a lower bound, and is not added."""
    with track_ai("bot", tracking=tracking) as run:
        telemetry.call(gen_ai__usage__input_tokens=1013, gen_ai__usage__output_tokens=77)
        run.observe({"content": "Done", "metrics": {"input_tokens": 3030, "output_tokens": 165}})

    assert usage_of(sink) == (1013, 77)
    usage = sink.records[0].usage
    assert usage is not None
    assert usage.lower_bound


def test_what_is_said_wins(tracking: Tracking, telemetry: Telemetry, sink: RecordingSink) -> None:
    """If the handler reports its tokens, spans are not counted."""
    with track_ai("bot", tracking=tracking) as run:
        telemetry.call(**SPAN)
        run.add_usage(input_tokens=21, output_tokens=8)

    assert usage_of(sink) == (21, 8)


@pytest.mark.parametrize("late", [False, True])
def test_spans_within_spans(tracking: Tracking, telemetry: Telemetry, sink: RecordingSink, late: bool) -> None:
    """The sum that a framework writes around its calls is not counted as well, even if it comes first."""
    start = telemetry.tracer.start_span
    with track_ai("bot", tracking=tracking):
        agent = start("invoke_agent")
        around = telemetry_context(agent)
        task = start("task", context=around)
        inner = start("chat", context=telemetry_context(task))
        inner.set_attributes({"gen_ai.usage.input_tokens": 20, "gen_ai.usage.output_tokens": 8})
        agent.set_attributes({"gen_ai.usage.input_tokens": 20, "gen_ai.usage.output_tokens": 8})
        for span in (agent, task, inner) if late else (inner, task, agent):
            span.end()

    assert usage_of(sink) == (20, 8)


def telemetry_context(span: Any) -> Any:
    """Return the context in which a span is current."""
    from opentelemetry.trace import set_span_in_context

    return set_span_in_context(span)


def test_runs_within_runs(tracking: Tracking, telemetry: Telemetry, sink: RecordingSink) -> None:
    """A call counts in the innermost run, and the span of that run not in the outer one."""
    with track_ai("bot", tracking=tracking):
        with track_ai("helper", mode="agent", tracking=tracking):
            telemetry.call(**SPAN)
        telemetry.call(gen_ai__usage__input_tokens=1, gen_ai__usage__output_tokens=2)
    inner, outer = sink.wait(2)

    assert [(one.config_key, one.usage and one.usage.total_tokens) for one in (inner, outer)] == [
        ("helper", 28),
        ("bot", 3),
    ]


def test_another_thread(tracking: Tracking, telemetry: Telemetry, sink: RecordingSink) -> None:
    """A span that was started in the run counts wherever it ends."""
    with track_ai("bot", tracking=tracking):
        span = telemetry.tracer.start_span("chat")
        span.set_attributes({"gen_ai.usage.input_tokens": 20, "gen_ai.usage.output_tokens": 8})
        thread = threading.Thread(target=span.end)
        thread.start()
        thread.join()

    assert usage_of(sink) == (20, 8)


def test_outside_of_runs(tracking: Tracking, telemetry: Telemetry, sink: RecordingSink) -> None:
    """Spans outside of runs, after their end, and of something else, change nothing."""
    telemetry.call(**SPAN)
    with track_ai("bot", tracking=tracking) as run:
        late = telemetry.tracer.start_span("late")
        telemetry.call(http__request__method="POST", gen_ai__usage__input_tokens="many")
        run.add_usage(input_tokens=1, output_tokens=1)
    late.set_attributes({"gen_ai.usage.input_tokens": 20, "gen_ai.usage.output_tokens": 8})
    late.end()

    assert usage_of(sink) == (1, 1)
    assert current_run().finished


def test_runs_are_forgotten(tracking: Tracking, telemetry: Telemetry, sink: RecordingSink) -> None:
    """A run that is over is freed, even if a span that was started in it never ends."""
    with track_ai("bot", tracking=tracking) as run:
        span = telemetry.tracer.start_span("never ended")
        seen = weakref.ref(run)
    sink.wait()
    tracking.flush()
    del run
    gc.collect()

    assert seen() is None
    assert span.is_recording()


def test_two_processors(tracking: Tracking, telemetry: Telemetry, sink: RecordingSink) -> None:
    """A processor that was added twice, or to two providers of which one instruments the other's calls, counts once."""
    telemetry.traces.add_span_processor(UsageSpanProcessor())
    other = Telemetry()
    with track_ai("bot", tracking=tracking), other.tracer.start_as_current_span("around") as around:
        telemetry.call(**SPAN)
        around.set_attributes({"gen_ai.usage.input_tokens": 20, "gen_ai.usage.output_tokens": 8})

    assert usage_of(sink) == (20, 8)
    other.traces.shutdown()
    other.meters.shutdown()


def test_many_spans(tracking: Tracking, telemetry: Telemetry, sink: RecordingSink) -> None:
    """A call is counted in a run of very many spans."""
    with track_ai("bot", tracking=tracking):
        for _ in range(10_050):
            telemetry.tracer.start_span("another")
        telemetry.call(**SPAN)

    assert usage_of(sink) == (20, 8)


def test_failures_stay_ours(
    tracking: Tracking, telemetry: Telemetry, sink: RecordingSink, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A span that cannot be read does not disturb the application, and is a diagnostic."""
    monkeypatch.setattr("ldai_integrations.opentelemetry.read_span", lambda _attributes: 1 / 0)
    with track_ai("bot", tracking=tracking):
        telemetry.call(**SPAN)

    assert sink.wait()[0].outcome == "success"
    assert tracking.stats().diagnostics == {"span": 1}


@pytest.mark.parametrize(
    ("attributes", "usage"),
    [
        ({"gen_ai.usage.prompt_tokens": 20, "gen_ai.usage.completion_tokens": 8}, Usage(20, 8, 28)),
        (
            {"llm.usage.prompt_tokens": 20, "llm.usage.completion_tokens": 8, "llm.usage.total_tokens": 30},
            Usage(20, 10, 30),
        ),
        (
            {
                "llm.token_count.prompt": 20,
                "llm.token_count.completion": 8,
                "llm.token_count.prompt_details.cache_read": 5,
                "llm.token_count.completion_details.reasoning": 2,
            },
            Usage(20, 8, 28, 5, reasoning_tokens=2),
        ),
        (
            {
                "gen_ai.usage.input_tokens": 3,
                "gen_ai.usage.output_tokens": 8,
                "gen_ai.usage.total_tokens": 11,
                "gen_ai.usage.cache_read_input_tokens": 100,
                "gen_ai.usage.cache_write.input_tokens": 10,
            },
            Usage(113, 8, 121, 100, 10),
        ),
        ({"gen_ai.usage.input_tokens": True, "gen_ai.usage.output_tokens": -1}, None),
        ({}, None),
        (None, None),
    ],
    ids=["before 1.27", "OpenLLMetry", "OpenInference", "cache beside the input", "no counts", "nothing", "none"],
)
def test_dialects(attributes: dict[str, Any] | None, usage: Usage | None) -> None:
    """Every name that instrumentations use is read, and a value that is not a count is ignored."""
    reading = read_span(attributes)
    assert (reading.usage if reading is not None else None) == usage


def test_one_finish_reason() -> None:
    """A single finish reason, which some instrumentations write as a text, is read."""
    reading = read_span({"gen_ai.usage.output_tokens": 1, "gen_ai.response.finish_reason": "stop"})
    assert reading is not None
    assert reading.finish_reasons == ("stop",)
    assert isinstance(reading.usage, Usage)


def test_the_account_has_both(tracking: Tracking, telemetry: Telemetry, sink: RecordingSink) -> None:
    """The processor and the sink work together: the run's span has the tokens of its calls' spans."""
    with track_ai("bot", tracking=tracking):
        telemetry.call(**SPAN)
    record: RunRecord = sink.wait()[0]
    spans = telemetry.spans()
    written = spans["chat gpt-4o-mini"].attributes or {}

    assert record.usage is not None
    assert written["gen_ai.usage.input_tokens"] == record.usage.input_tokens == 20
    assert set(spans) == {"call", "chat gpt-4o-mini"}


def test_names_in_a_span_have_limits() -> None:
    """Very long names of a model and of a finish reason are cut, as in a response."""
    names = {"gen_ai.response.model": "m" * 9_999, "gen_ai.response.finish_reasons": ["s" * 9_999]}
    reading = read_span({"gen_ai.usage.output_tokens": 1, **names})
    assert reading is not None
    assert (reading.model, reading.finish_reasons) == ("m" * 256, ("s" * 256,))
