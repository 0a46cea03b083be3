"""Calls that several sources report: a wrapped client, ``run.observe``, a span, and the response that is sent."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import Tracer, set_span_in_context
from werkzeug.test import Client

from ldai_integrations import current_run, track_ai, wrap_client
from ldai_integrations.opentelemetry import UsageSpanProcessor
from ldai_integrations.records import RunRecord
from ldai_integrations.testing import OfflineLaunchDarkly, RecordingSink
from ldai_integrations.wsgi import WSGITrackingMiddleware

from .provider import Provider

SOURCES = ("client", "observed", "span", "body")
SUBSETS = [subset for size in range(1, 5) for subset in itertools.combinations(SOURCES, size)]
PATTERNS = {"one call": 1, "tool loop": 3, "parallel": 3}
TOKENS = [(7317, 3863), (1273, 647), (4055, 2145)]
ASK: list[Any] = [{"role": "user", "content": "Hi"}]


@pytest.fixture
def tracer() -> Tracer:
    """Return a tracer whose spans are read."""
    provider = TracerProvider()
    provider.add_span_processor(UsageSpanProcessor())
    return provider.get_tracer("instrumentation")


@dataclass
class Instrumented:
    """An application that calls a provider and reports each call by some sources, in some order."""

    openai: Any
    tracer: Tracer
    sources: tuple[str, ...]
    streamed: bool
    span_first: bool
    span_ids: bool

    def ask(self, model: str) -> list[Any]:
        """Call a model; return the response, or the chunks of its stream."""
        client = wrap_client(self.openai) if "client" in self.sources else self.openai
        span = self.tracer.start_span("chat", context=set_span_in_context(None))  # type: ignore[arg-type]
        options: Any = {"stream": True, "stream_options": {"include_usage": True}} if self.streamed else {}
        response = client.chat.completions.create(model=model, messages=ASK, **options)
        if "observed" in self.sources and (self.streamed or not self.span_first):
            response = current_run().observe(response)
        parts = list(response) if self.streamed else [response]
        if "span" in self.sources:
            usage = parts[-1].usage
            attributes = {"gen_ai.operation.name": "chat", "gen_ai.request.model": model}
            attributes |= {"gen_ai.response.id": parts[0].id} if self.span_ids else {}
            span.set_attributes(attributes)
            span.set_attributes({"gen_ai.usage.input_tokens": usage.prompt_tokens})
            span.set_attributes({"gen_ai.usage.output_tokens": usage.completion_tokens})
            span.end()
        if "observed" in self.sources and not self.streamed and self.span_first:
            current_run().observe(response)
        return parts

    def handle(self, environ: Any, start_response: Callable[..., Any], models: list[str], parallel: bool) -> Any:
        """Serve a request."""
        if parallel:
            with ThreadPoolExecutor(3) as pool:
                answers = list(pool.map(current_run().bind(self.ask), models))
        else:
            answers = [self.ask(model) for model in models]
        if "body" not in self.sources:
            start_response("200 OK", [("Content-Type", "text/plain")])
            return [b"Hello there"]
        if not self.streamed:
            start_response("200 OK", [("Content-Type", "application/json")])
            return [answers[-1][0].model_dump_json().encode()]
        start_response("200 OK", [("Content-Type", "text/event-stream")])
        return (f"data: {chunk.model_dump_json()}\n\n".encode() for chunk in answers[-1])


def total(record: RunRecord) -> tuple[int | None, int | None]:
    """Return input and output tokens of a record, which must be exact."""
    assert record.usage is not None
    assert not record.usage.lower_bound
    assert record.usage.source == "provider"
    return record.usage.input_tokens, record.usage.output_tokens


def combinations() -> Iterator[Any]:
    """Yield every combination of sources, forms and orders that makes a difference."""
    for sources, pattern, streamed in itertools.product(SUBSETS, PATTERNS, (False, True)):
        ids = (False, True) if "span" in sources else (False,)
        orders = ids if "observed" in sources and not streamed else (False,)  # a stream is observed before it is read
        sames = (False,) if pattern == "one call" else (False, True)
        for span_first, span_ids, same_tokens in itertools.product(orders, ids, sames):
            flags = {"streamed": streamed, "span first": span_first, "ids": span_ids, "same tokens": same_tokens}
            name = ", ".join(["+".join(sources), pattern, *(flag for flag, is_on in flags.items() if is_on)])
            yield pytest.param(sources, pattern, *flags.values(), id=name)


@pytest.mark.parametrize(
    ("sources", "pattern", "streamed", "span_first", "span_ids", "same_tokens"), list(combinations())
)
def test_each_call_counts_once(
    sources: tuple[str, ...],
    pattern: str,
    streamed: bool,
    span_first: bool,
    span_ids: bool,
    same_tokens: bool,
    provider: Provider,
    openai: Any,
    tracer: Tracer,
    launchdarkly: OfflineLaunchDarkly,
    runs: RecordingSink,
) -> None:
    """However many sources report a call, in whatever order, it counts once."""
    models = [f"model-{index}" for index in range(PATTERNS[pattern])]
    tokens = [TOKENS[0 if same_tokens else index] for index in range(len(models))]
    for model, pair in zip(models, tokens, strict=True):
        provider.serve(model, tokens=pair)
    app = Instrumented(openai, tracer, sources, streamed, span_first, span_ids)

    def serve(environ: Any, start_response: Any) -> Any:
        return app.handle(environ, start_response, models, pattern == "parallel")

    Client(WSGITrackingMiddleware(serve, launchdarkly.tracking, config_key="chat")).get("/").get_data()
    record = runs.wait()[0]
    if sources == ("body",):
        assert total(record) == tokens[-1]
    else:
        assert total(record) == (sum(pair[0] for pair in tokens), sum(pair[1] for pair in tokens))
        assert (record.calls, len(record.finish_reasons)) == (len(models), len(models))
    assert (record.outcome, record.failed_calls) == ("success", 0)


# Frameworks


class Fields:
    """An object of a framework, which stores its fields."""

    def __init__(self, **fields: Any) -> None:
        self.__dict__.update(fields)


def usage_of(*calls: tuple[int, int]) -> Any:
    """Return the usage of some calls, as agent frameworks have it."""
    inputs, outputs = (sum(counts) for counts in zip(*calls, strict=True))
    return Fields(requests=len(calls), input_tokens=inputs, output_tokens=outputs, total_tokens=inputs + outputs)


def agents_result(*calls: tuple[int, int]) -> Any:
    """Return a result as openai-agents has it, with its calls one by one."""
    responses = [Fields(output=[], usage=usage_of(call), response_id=None) for call in calls]
    return Fields(final_output="Hello", raw_responses=responses)


class PydanticResult(Fields):
    """A result as pydantic-ai has it, whose messages are what a method returns."""

    messages: list[Any]

    def new_messages(self) -> list[Any]:
        """Return the messages of the run."""
        return self.messages


def pydantic_result(*calls: tuple[int, int]) -> Any:
    """Return a result as pydantic-ai has it, with its calls one by one and their sum."""
    said = [Fields(kind="response", parts=[], usage=usage_of(call), state="complete") for call in calls]
    return PydanticResult(output="Hello", messages=said, _state=Fields(usage=usage_of(*calls)))


def sum_as_dict(*calls: tuple[int, int]) -> Any:
    """Return a plain dict of sums."""
    return {"usage": dict(vars(usage_of(*calls)))}


@pytest.mark.parametrize("observe_first", [False, True])
@pytest.mark.parametrize("calls", [1, 2, 3])
@pytest.mark.parametrize("result", [agents_result, pydantic_result, sum_as_dict, usage_of])
def test_aggregates(
    result: Callable[..., Any],
    calls: int,
    observe_first: bool,
    provider: Provider,
    openai: Any,
    runs: RecordingSink,
) -> None:
    """The sum that an agent framework reports adds nothing to the calls of a wrapped client."""
    client = wrap_client(openai)
    for index in range(calls):
        provider.serve(f"model-{index}", tokens=TOKENS[index])
    sums = sum(pair[0] for pair in TOKENS[:calls]), sum(pair[1] for pair in TOKENS[:calls])
    with track_ai(config_key="chat") as run:
        if observe_first:
            run.observe(result(*TOKENS[:calls]))
        for index in range(calls):
            client.chat.completions.create(model=f"model-{index}", messages=ASK)
        if not observe_first:
            run.observe(result(*TOKENS[:calls]))
    record = runs.wait()[0]
    assert (total(record), record.calls) == (sums, calls)


def test_an_aggregate_alone(runs: RecordingSink) -> None:
    """The sum alone is what the run used."""
    with track_ai(config_key="chat") as run:
        run.observe(sum_as_dict((334, 45)))
    assert total(runs.wait()[0]) == (334, 45)


@pytest.mark.parametrize("result", [agents_result, pydantic_result])
def test_an_aggregate_of_some_calls(
    result: Callable[..., Any], provider: Provider, openai: Any, runs: RecordingSink
) -> None:
    """The sum of an agent that made two of three calls adds nothing either."""
    client = wrap_client(openai)
    with track_ai(config_key="chat") as run:
        for index, tokens in enumerate(TOKENS):
            provider.serve(f"model-{index}", tokens=tokens)
            client.chat.completions.create(model=f"model-{index}", messages=ASK)
        run.observe(result(*TOKENS[1:]))
    record = runs.wait()[0]
    assert total(record) == (sum(pair[0] for pair in TOKENS), sum(pair[1] for pair in TOKENS))


def test_an_aggregate_with_more(provider: Provider, openai: Any, runs: RecordingSink) -> None:
    """If a sum has more than the calls that were seen, these are a lower bound."""
    client = wrap_client(openai)
    with track_ai(config_key="chat") as run:
        client.chat.completions.create(model="gpt-4o-mini", messages=ASK)
        run.observe(sum_as_dict((9000, 5000)))
    usage = runs.wait()[0].usage
    assert usage is not None
    assert usage.lower_bound
    assert (usage.input_tokens, usage.output_tokens) == TOKENS[0]


def message(index: int) -> Any:
    """Return an AI message as LangChain makes it of a response, with an id of its own."""
    inputs, outputs = TOKENS[index]
    return Fields(
        type="ai",
        content="Hello there",
        id=f"run-{index}",
        response_metadata={"model_name": f"model-{index}", "finish_reason": "stop"},
        usage_metadata={"input_tokens": inputs, "output_tokens": outputs, "total_tokens": inputs + outputs},
    )


@pytest.mark.parametrize("form", ["list", "state", "updates"])
@pytest.mark.parametrize("with_client", [False, True])
def test_message_lists(form: str, with_client: bool, provider: Provider, openai: Any, runs: RecordingSink) -> None:
    """LangChain's messages and LangGraph's states are read completely, and add nothing to a wrapped client."""
    client = wrap_client(openai)
    human = Fields(type="human", content="Hi", id="1", response_metadata={})
    said = [message(index) for index in range(3)]
    value: Any = {"list": [human, *said], "state": {"messages": [human, *said]}}.get(form)
    if form == "updates":
        value = [{"agent": {"messages": [one]}} for one in said]
    with track_ai(config_key="chat") as run:
        for index in range(3 if with_client else 0):
            provider.serve(f"model-{index}", tokens=TOKENS[index])
            client.chat.completions.create(model=f"model-{index}", messages=ASK)
        run.observe(value)
    record = runs.wait()[0]
    assert total(record) == (sum(pair[0] for pair in TOKENS), sum(pair[1] for pair in TOKENS))
    assert (record.calls, record.finish_reasons) == (3, ("stop", "stop", "stop"))


def test_a_wrapped_call_in_two_forms(provider: Provider, openai: Any, runs: RecordingSink) -> None:
    """A response of a wrapped client that the handler observes as dicts and as text is one call."""
    with track_ai(config_key="chat") as run:
        response = wrap_client(openai).chat.completions.create(model="gpt-4o-mini", messages=ASK)
        run.observe(response.model_dump())
        run.observe(response.model_dump())
        run.observe(response.model_dump_json())
    record = runs.wait()[0]
    assert (total(record), record.calls) == (TOKENS[0], 1)


@pytest.mark.parametrize("form", ["object", "dict", "json"])
def test_the_same_response_in_two_forms(form: str, provider: Provider, openai: Any, runs: RecordingSink) -> None:
    """An object, and the dict that was made of it, are one response."""

    def observe_twice() -> Iterator[Any]:
        response = openai.chat.completions.create(model="gpt-4o-mini", messages=ASK)
        yield response
        yield {"object": response, "dict": response.model_dump(), "json": json.loads(response.model_dump_json())}[form]

    with track_ai(config_key="chat") as run:
        for response in observe_twice():
            run.observe(response)
    record = runs.wait()[0]
    assert (total(record), record.calls) == (TOKENS[0], 1)


def test_a_whole_response_completes_its_stream(runs: RecordingSink) -> None:
    """A stream without usage is completed by the whole response, which is looked up and observed, with its cost."""
    about = {"id": "chatcmpl-1", "model": "gpt-4o-mini"}
    chunks = [
        {**about, "choices": [{"index": 0, "delta": {"content": "Hello"}}]},
        {**about, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]},
    ]
    message = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "Hello"}}
    usage = {"prompt_tokens": 7317, "completion_tokens": 3863, "total_tokens": 11180, "cost": 0.25}

    with track_ai(config_key="chat") as run:
        list(run.observe(iter(chunks)))
        run.observe({**about, "choices": [message], "usage": usage})

    [record] = runs.records
    assert record.usage is not None
    assert record.cost is not None
    assert (record.calls, record.usage.total_tokens, record.usage.source) == (1, 11180, "provider")
    assert str(record.cost.reported_cost) == "0.25"


@pytest.mark.parametrize("host", ["anthropic", "vllm"])
def test_a_whole_response_completes_a_stream_that_broke_off(host: str, runs: RecordingSink) -> None:
    """What the stream said so far about its usage does not replace the usage of the whole response."""
    events: list[dict[str, Any]]
    if host == "anthropic":
        message = {"id": "msg_1", "type": "message", "role": "assistant", "model": "claude-3", "content": []}
        start = {**message, "stop_reason": None, "usage": {"input_tokens": 7317, "output_tokens": 5}}
        delta = {"type": "text_delta", "text": "Hello"}
        events = [
            {"type": "message_start", "message": start},
            {"type": "content_block_delta", "index": 0, "delta": delta},
        ]
        usage = {"input_tokens": 7317, "output_tokens": 3863}
        whole = {**message, "content": [{"type": "text", "text": "Hello"}], "stop_reason": "end_turn", "usage": usage}
    else:
        about = {"id": "chatcmpl-1", "model": "m"}
        usage = {"prompt_tokens": 7317, "completion_tokens": 5, "total_tokens": 7322}
        events = [{**about, "choices": [{"index": 0, "delta": {"content": "Hello"}}], "usage": usage}]
        answer = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "Hello"}}
        whole = {**about, "choices": [answer], "usage": {"prompt_tokens": 7317, "completion_tokens": 3863}}

    with track_ai(config_key="chat") as run:
        list(run.observe(iter(events)))
        run.observe(whole)

    [record] = runs.records
    assert record.usage is not None
    assert (record.calls, record.usage.output_tokens, record.usage.lower_bound) == (1, 3863, False)
    assert record.usage.source == "provider"
