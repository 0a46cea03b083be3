"""What a run learns from the calls of a wrapped client: the same through every provider and every kind of call."""

from __future__ import annotations

import contextvars
import json
import threading
from collections.abc import Callable
from typing import Any

import pytest

from ldai_integrations import RunRecord, Tracking, current_run, track_ai, wrap_client
from ldai_integrations.records import Usage

from ..conftest import Clock
from . import makers
from .answers import Answer, chat, cohere_v2, messages, whole
from .cases import CASES, CHAT, COHERE, EMBEDDINGS, USAGE, Case, totals
from .makers import Make, anthropic, bedrock, genai, openai
from .provider import Provider

TOLD = Usage(input_tokens=20, output_tokens=9, total_tokens=29)


def _ignore() -> None:
    return None


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_every_call_feeds_its_run(
    case: Case, provider: Provider, tracking: Tracking, clock: Clock, records: list[RunRecord]
) -> None:
    """The answer is the provider's, and its usage and the time to its first text are the run's."""
    client = wrap_client(case.make(provider.url))

    with track_ai(config_key="chat", tracking=tracking):
        assert case.run(client, lambda: clock.advance(10)) == "Hello there"

    record = records[0]
    assert (record.outcome, totals(record.usage)) == ("success", TOLD)
    if case.first_token >= 0:
        assert record.time_to_first_token_ms == (case.first_token * 10 if case.first_token else None)
    else:  # parts of the stream are read ahead
        assert record.time_to_first_token_ms is not None
    assert tracking.stats().diagnostics == {}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_outside_of_a_run_a_call_is_the_clients_own(case: Case, provider: Provider, records: list[RunRecord]) -> None:
    """Outside of a run, the request and the type of the answer are the same, and nothing is reported."""
    made = case.make(provider.url)
    wrapped = wrap_client(case.make(provider.url))

    assert case.run(made, _ignore) == case.run(wrapped, _ignore) == "Hello there"
    assert provider.requests[0] == provider.requests[1]
    assert records == []


@pytest.mark.parametrize(("name", "make", "call", "told"), EMBEDDINGS, ids=[case[0] for case in EMBEDDINGS])
def test_embeddings(
    name: str,
    make: Make,
    call: Callable[[Any], Any],
    told: bool,
    provider: Provider,
    tracking: Tracking,
    records: list[RunRecord],
) -> None:
    """Embeddings have an input only: the figure of the provider, or an estimate if it sends none."""
    client = wrap_client(make(provider.url))
    with track_ai(config_key="chat", tracking=tracking):
        call(client)

    usage = records[0].usage
    assert usage is not None
    assert (usage.input_tokens, usage.total_tokens) == ((20, 20) if told else (2, 2))
    assert not usage.output_tokens
    assert usage.source == ("provider" if told else "estimate")


def test_what_the_user_observes_as_well_counts_once(
    provider: Provider, tracking: Tracking, records: list[RunRecord]
) -> None:
    """``run.observe`` of what a wrapped client gave changes nothing: responses, streams, dicts, managers, raw ones."""
    client: Any = wrap_client(openai(provider.url))
    amazon: Any = wrap_client(bedrock(provider.url))
    claude: Any = wrap_client(anthropic(provider.url))
    with track_ai(config_key="chat", tracking=tracking) as run:
        answer = client.chat.completions.create(**CHAT)
        assert run.observe(run.observe(answer)) is answer
        stream = client.chat.completions.create(**CHAT, **USAGE)
        assert run.observe(stream) is stream
        list(stream)
        raw = client.chat.completions.with_raw_response.create(**CHAT)
        run.observe(raw)
        run.observe(raw.parse())
        list(run.observe(client.chat.completions.with_raw_response.create(**CHAT, **USAGE).parse()))
        turn = [{"role": "user", "content": [{"text": "Hi"}]}]
        run.observe(amazon.converse(modelId="m", messages=turn))
        list(run.observe(amazon.converse_stream(modelId="m", messages=turn))["stream"])
        asked = {"model": "claude-for-tests", "max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}]}
        with run.observe(claude.messages.stream(**asked)) as messages:
            run.observe(run.observe(messages).get_final_message())
        run.tracker.track_openai_metrics(lambda: client.chat.completions.create(**CHAT))
        run.tracker.track_bedrock_converse_metrics(amazon.converse(modelId="m", messages=turn))

    assert len(provider.requests) == 9
    assert totals(records[0].usage) == Usage(input_tokens=180, output_tokens=81, total_tokens=261)


def test_what_a_framework_makes_of_an_answer_counts_once(
    provider: Provider, tracking: Tracking, records: list[RunRecord]
) -> None:
    """A result that names the response it was made of is known; one of a call that was not seen is not."""
    client = wrap_client(openai(provider.url))
    usage = {"input_tokens": 20, "output_tokens": 9, "total_tokens": 29}

    def message(response_id: str) -> Any:
        return {
            "type": "ai",
            "content": "Hello there",
            "response_metadata": {"id": response_id},
            "usage_metadata": usage,
        }

    with track_ai(config_key="chat", tracking=tracking) as run:
        client.chat.completions.create(**CHAT)
        run.observe(message("chatcmpl-1"))
        run.observe(message("chatcmpl-other"))

    assert totals(records[0].usage) == Usage(input_tokens=40, output_tokens=18, total_tokens=58)


def test_calls_without_unique_names_add_up(provider: Provider, tracking: Tracking, records: list[RunRecord]) -> None:
    """Answers of a server that gives all of them the same id are calls of their own."""
    client = wrap_client(openai(provider.url))
    with track_ai(config_key="chat", tracking=tracking):
        for _ in range(3):
            client.chat.completions.create(**CHAT)

    assert totals(records[0].usage) == Usage(input_tokens=60, output_tokens=27, total_tokens=87)


def test_tools(provider: Provider, tracking: Tracking, records: list[RunRecord]) -> None:
    """Tool calls of answers and of streams are the run's."""
    client: Any = wrap_client(openai(provider.url))
    tools = [{"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}]
    with track_ai(config_key="chat", tracking=tracking):
        client.chat.completions.create(**CHAT, tools=tools)
        list(client.chat.completions.create(**CHAT, tools=tools, stream=True))

    assert records[0].tool_calls == ("weather", "weather")


def test_calls_that_a_method_makes_by_itself(provider: Provider, tracking: Tracking, records: list[RunRecord]) -> None:
    """Where one method calls the model several times, to have functions called, each of its calls counts."""

    def weather(city: str) -> str:
        """Tell the weather.

        Args:
            city: Where.
        """
        return "rain"

    google: Any = wrap_client(genai(provider.url))
    with track_ai(config_key="chat", tracking=tracking):
        answer = google.models.generate_content(model="gemini-2.5-flash", contents="Hi", config={"tools": [weather]})
        assert answer.text == "Hello there"
    claude: Any = wrap_client(anthropic(provider.url))
    tool = pytest.importorskip("anthropic").beta_tool(weather)
    with track_ai(config_key="chat", tracking=tracking):
        asked = {"model": "claude-for-tests", "max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}]}
        answer = claude.beta.messages.tool_runner(tools=[tool], **asked).until_done()
        assert answer.content[0].text == "Hello there"

    assert len(provider.requests) == 4
    twice = Usage(input_tokens=40, output_tokens=18, total_tokens=58)
    assert [totals(record.usage) for record in records] == [twice, twice]
    assert [record.tool_calls for record in records] == [("weather",), ("weather",)]


@pytest.mark.parametrize("make", [openai, anthropic], ids=["openai", "anthropic"])
def test_an_error_is_the_providers(
    make: Make, provider: Provider, tracking: Tracking, records: list[RunRecord]
) -> None:
    """The exception of the client is raised unchanged, and is the error of the run, whose usage is unknown."""
    client: Any = wrap_client(make(provider.url))
    provider.fail(times=2)
    package = pytest.importorskip(make.__name__)
    create = client.chat.completions.create if make is openai else client.messages.create
    with pytest.raises(package.InternalServerError), track_ai(config_key="chat", tracking=tracking):
        create(**CHAT, max_tokens=9)

    assert len(provider.requests) == 2
    assert (records[0].outcome, records[0].usage) == ("error", None)
    assert isinstance(records[0].error, package.InternalServerError)


def test_a_retry_counts_once(provider: Provider, tracking: Tracking, records: list[RunRecord]) -> None:
    """A request that the client sends again because it failed is one call."""
    client = wrap_client(openai(provider.url))
    provider.fail(times=1)
    with track_ai(config_key="chat", tracking=tracking):
        client.chat.completions.create(**CHAT)

    assert len(provider.requests) == 2
    assert totals(records[0].usage) == TOLD


def test_an_error_in_a_stream(provider: Provider, tracking: Tracking, records: list[RunRecord]) -> None:
    """An error event in a stream is raised by the client, and the run is an error with what came before."""
    package = pytest.importorskip("openai")
    client: Any = wrap_client(openai(provider.url))
    begun = chat({"stream": True}).parts[:2]
    broken = [*begun, b'data: {"error": {"message": "overloaded", "type": "server_error"}}\n\n']
    provider.queued.append(lambda _request: Answer(broken, "text/event-stream"))
    seen = []
    with pytest.raises(package.APIError, match="overloaded"), track_ai(config_key="chat", tracking=tracking):
        seen.extend(client.chat.completions.create(**CHAT, stream=True))
    with track_ai(config_key="chat", tracking=tracking):
        provider.queued.append(lambda _request: Answer(broken, "text/event-stream"))
        with client.chat.completions.with_streaming_response.create(**CHAT, stream=True) as response:
            assert len(list(response.iter_lines())) == 6

    assert [record.outcome for record in records] == ["error", "error"]
    usage = records[0].usage
    assert usage is not None
    assert (usage.output_tokens, usage.source) == (1, "estimate")


def test_threads_with_a_copied_context(provider: Provider, tracking: Tracking, records: list[RunRecord]) -> None:
    """A call in another thread counts for the run whose context it was given, and without one for none."""
    client = wrap_client(openai(provider.url))

    def call() -> None:
        client.chat.completions.create(**CHAT)

    with track_ai(config_key="chat", tracking=tracking):
        threads = [threading.Thread(target=contextvars.copy_context().run, args=(call,)) for _ in range(4)]
        threads.append(threading.Thread(target=call))
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert len(provider.requests) == 5
    assert totals(records[0].usage) == Usage(input_tokens=80, output_tokens=36, total_tokens=116, lower_bound=True)
    assert tracking.stats().diagnostics == {"call_outside_run": 1}


def test_after_the_run_nothing_changes(provider: Provider, tracking: Tracking, records: list[RunRecord]) -> None:
    """A call after the end of its run, and the rest of a stream, are not reported."""
    client: Any = wrap_client(openai(provider.url))
    with track_ai(config_key="chat", tracking=tracking):
        context = contextvars.copy_context()
        stream = client.chat.completions.create(**CHAT, **USAGE)
        next(stream)
    stream_later = context.run(lambda: client.chat.completions.create(**CHAT, **USAGE))

    assert type(stream_later) is pytest.importorskip("openai").Stream
    assert len(list(stream)) == 4
    assert len(list(stream_later)) == 5
    assert len(records) == 1


def test_each_run_has_its_own_calls(provider: Provider, tracking: Tracking, records: list[RunRecord]) -> None:
    """A call counts for the innermost run, and a stream for the run that it was asked in, wherever it is consumed."""
    client: Any = wrap_client(openai(provider.url))

    @track_ai(config_key="agent-free", tracking=tracking)
    def inner() -> Any:
        client.chat.completions.create(**CHAT)
        return current_run().config_key

    with track_ai(config_key="chat", tracking=tracking):
        stream = client.chat.completions.create(**CHAT, **USAGE)
        inner()
        list(stream)

    assert {record.config_key: totals(record.usage) for record in records} == {"chat": TOLD, "agent-free": TOLD}


def test_a_returned_stream_of_a_wrapped_client(
    provider: Provider, tracking: Tracking, clock: Clock, records: list[RunRecord]
) -> None:
    """The run of a handler that returns the stream ends with the stream, which counts once."""
    client: Any = wrap_client(openai(provider.url))

    @track_ai(config_key="chat", tracking=tracking)
    def handler() -> Any:
        return client.chat.completions.create(**CHAT, **USAGE)

    stream = handler()
    clock.advance(70)

    assert records == []
    assert len(list(stream)) == 5
    assert (records[0].outcome, records[0].duration_ms, totals(records[0].usage)) == ("success", 70, TOLD)


def test_results_of_a_batch(provider: Provider, tracking: Tracking, records: list[RunRecord]) -> None:
    """A run that only reads the results of a batch has no call: the batch was billed to nobody's run."""
    batch: dict[str, Any] = {"id": "b", "type": "message_batch", "processing_status": "ended", "request_counts": {}}
    batch["results_url"] = f"{provider.url}/anthropic/v1/messages/batches/b/results"
    result = {"custom_id": "a", "result": {"type": "succeeded", "message": json.loads(messages({}).parts[0])}}
    lines = Answer([json.dumps(result).encode() + b"\n"], "application/x-jsonl")
    provider.queued += [lambda _request: whole(batch), lambda _request: lines]
    client: Any = wrap_client(anthropic(provider.url))
    with track_ai(config_key="chat", tracking=tracking):
        assert [line.custom_id for line in client.messages.batches.results("b")] == ["a"]

    assert (records[0].calls, records[0].usage) == (0, None)


@pytest.mark.parametrize("fails", [False, True])
def test_a_reranker(fails: bool, provider: Provider, tracking: Tracking, records: list[RunRecord]) -> None:
    """A reranker is a call of its run without tokens, and no answer in place of one that failed."""
    ranked = {"id": "r-1", "results": [], "meta": {"billed_units": {"search_units": 1}}}
    provider.queued += [cohere_v2, lambda _request: whole(ranked)]
    if fails:
        provider.queued[0] = lambda _request: Answer([b"{}"], status=400)
    client: Any = wrap_client(makers.cohere_v2(provider.url))
    with track_ai(config_key="chat", tracking=tracking):
        try:
            client.chat(**COHERE)
        except Exception:
            assert fails
        client.rerank(model="rerank-v3.5", query="Hi", documents=["Hello", "there"])

    record = records[0]
    assert (record.calls, record.failed_calls, record.outcome) == (2, fails, "error" if fails else "success")
    assert totals(record.usage) == (None if fails else TOLD)
    assert record.cost is None or record.cost.lower_bound
