"""What is not invented and not lost: input tokens, the usage of parsing errors, finish reasons, and observed lines."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from typing import Any

import pydantic
import pytest
from ldai.tracker import TokenUsage

from ldai_integrations import Run, track_ai, wrap_client
from ldai_integrations.records import Usage
from ldai_integrations.testing import OfflineLaunchDarkly, RecordingSink, counting_tokens

from ..clients import makers
from .provider import IN, OUT, Provider

ASK: list[Any] = [{"role": "user", "content": "Hi"}]


class City(pydantic.BaseModel):
    """What a model is asked for."""

    name: str


def test_the_prompt_of_the_config_is_not_counted(launchdarkly: OfflineLaunchDarkly, runs: RecordingSink) -> None:
    """Without a provider call, the input is unknown: the messages of the AI Config are not counted."""

    @track_ai(config_key="other")
    def handler(run: Run) -> str:
        assert run.config.enabled
        return "An answer"

    handler()
    usage = runs.wait()[0].usage
    assert usage is not None
    assert usage.input_tokens is None
    assert "output_tokens" in usage.estimated
    assert not [name for name, _ in launchdarkly.events.of_runs() if name == "tokens:input"]


def test_the_prompt_that_was_used_is_counted(runs: RecordingSink) -> None:
    """Messages that ``run.messages()`` returned are an estimate of the input."""

    @track_ai(config_key="other")
    def handler(run: Run) -> str:
        run.messages(user="Hi")
        return "An answer"

    handler()
    usage = runs.wait()[0].usage
    assert usage is not None
    assert usage.input_tokens is not None
    assert usage.input_tokens > 100
    assert "input_tokens" in usage.estimated


def test_names_and_tokens_are_not_counted(runs: RecordingSink) -> None:
    """The fields of a returned object with ids, times or the feedback token are no output of the model."""

    def handler() -> dict[str, Any]:
        return {"answer": "Hello there", "feedback_token": "eyJydW4i" * 60, "feedbackToken": "x" * 400, "chat_id": "7"}

    track_ai(config_key="other")(handler)()
    track_ai(config_key="other")(lambda: "Hello there")()
    with_token, without = (record.usage for record in runs.wait(2))
    assert with_token == without is not None


def test_stated_tokens_are_no_estimate(launchdarkly: OfflineLaunchDarkly, runs: RecordingSink) -> None:
    """If the application states the tokens on LaunchDarkly's tracker, the log does not say that they are estimated."""

    @track_ai(config_key="other")
    def handler(run: Run) -> str:
        run.tracker.track_tokens(TokenUsage(total=IN + OUT, input=IN, output=OUT))
        return "An answer"

    handler()
    usage = runs.wait()[0].usage
    assert usage is not None
    assert (usage.input_tokens, usage.output_tokens, usage.source) == (IN, OUT, "provider")
    assert "estimated" not in launchdarkly.tracking.stats().diagnostics


@pytest.mark.parametrize("streamed", [False, True])
def test_the_input_of_a_call_is_that_of_its_request(
    streamed: bool, provider: Provider, openai: Any, runs: RecordingSink
) -> None:
    """If the provider sends no usage, the input is estimated from the request, and not from ``run.messages()``."""
    provider.serve(tokens=None)
    client = wrap_client(openai)

    @track_ai(config_key="chat")
    def handler(run: Run) -> None:
        run.messages()
        response = client.chat.completions.create(model="gpt-4o-mini", messages=ASK, stream=streamed)
        for _chunk in response if streamed else ():
            pass

    handler()
    usage = runs.wait()[0].usage
    assert usage is not None
    assert usage.input_tokens is not None
    assert usage.input_tokens < 12
    assert usage.source == "estimate"


@pytest.mark.parametrize(
    ("include_usage", "remedy"),
    [
        (False, "include_usage='always'"),
        (True, "include_usage='always'"),
        ("always", "The stream ended before its usage"),
    ],
)
def test_the_remedy_for_missing_usage(
    include_usage: Any,
    remedy: str,
    provider: Provider,
    openai: Any,
    runs: RecordingSink,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The log line names what the application has not done yet, and says so if the server was asked."""
    provider.serve(tokens=None)
    client: Any = wrap_client(openai, include_usage=include_usage)
    with track_ai(config_key="chat"):
        for _chunk in client.chat.completions.create(model="gpt-4o-mini", messages=ASK, stream=True):
            pass
    usage = runs.wait()[0].usage
    assert usage is not None
    assert usage.source == "estimate"
    (line,) = [one.getMessage() for one in caplog.records if "sent no usage" in one.getMessage()]
    assert remedy in line
    assert ("Ask for it" in line) is (include_usage != "always")


def test_the_remedy_for_an_observed_stream(
    provider: Provider, openai: Any, runs: RecordingSink, caplog: pytest.LogCaptureFixture
) -> None:
    """The log line of a stream of a client that nobody wraps names the option of the call."""
    provider.serve(tokens=None)
    with track_ai(config_key="chat") as run:
        stream = openai.chat.completions.create(model="gpt-4o-mini", messages=ASK, stream=True)
        assert list(run.observe(stream))
    assert runs.wait()
    (line,) = caplog.messages
    assert line.endswith("unless the call has done so, with stream_options={'include_usage': True} in the call.")
    assert "wrap_client" not in line


def test_the_remedy_for_a_stream_that_is_passed_on(
    launchdarkly: OfflineLaunchDarkly, runs: RecordingSink, caplog: pytest.LogCaptureFixture
) -> None:
    """The log line of a provider's stream that only the response shows names the option of the call."""
    choice = {"index": 0, "delta": {"content": "Hello"}, "finish_reason": None}
    head = {"id": "c", "object": "chat.completion.chunk", "model": "gpt-4o-mini"}
    frames = [{**head, "choices": [choice]}, {**head, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}]

    @track_ai(config_key="chat")
    def handler() -> Iterator[str]:
        yield from (f"data: {json.dumps(frame)}\n\n" for frame in frames)

    assert list(handler())
    [record] = runs.wait()
    assert record.usage is not None
    assert "output_tokens" in record.usage.estimated
    (line,) = caplog.messages
    assert line.startswith("A provider's stream in a run of 'chat' has no usage")
    assert line.endswith("with stream_options={'include_usage': True} in the call.")


@pytest.mark.parametrize("is_left", [False, True])
def test_the_remedy_for_a_stream_that_breaks_off_where_it_is_passed_on(
    is_left: bool, launchdarkly: OfflineLaunchDarkly, runs: RecordingSink, caplog: pytest.LogCaptureFixture
) -> None:
    """The log line of a stream with an error event says that it broke off. There is none if its reader left it."""
    begun = {"id": "m", "type": "message", "role": "assistant", "model": "claude-3", "usage": {"input_tokens": 70_001}}
    frames: list[dict[str, Any]] = [
        {"type": "message_start", "message": begun},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hello"}},
        {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}},
    ]

    @track_ai(config_key="chat")
    def handler() -> Iterator[str]:
        yield from (f"event: {frame['type']}\ndata: {json.dumps(frame)}\n\n" for frame in frames)

    stream: Any = handler()
    if is_left:
        assert [next(stream), next(stream)]
        stream.close()
    else:
        assert list(stream)
    [record] = runs.wait()
    assert record.outcome == ("cancelled" if is_left else "error")
    assert record.usage is not None
    assert (record.usage.input_tokens, record.usage.lower_bound) == (70_001, True)
    assert ["ended without a finish reason" in line for line in caplog.messages] == ([] if is_left else [True])


@pytest.mark.parametrize("is_read", [True, False])
def test_the_remedy_for_a_stream_without_an_end(
    is_read: bool, launchdarkly: OfflineLaunchDarkly, runs: RecordingSink, caplog: pytest.LogCaptureFixture
) -> None:
    """The log line says who ended a stream before its finish reason: the server, or the application."""
    chunks = [{"id": "1", "choices": [{"index": 0, "delta": {"content": text}}]} for text in ("Hello", " there")]
    with track_ai(config_key="chat") as run:
        stream = run.observe(iter(chunks))
        next(stream)
        if is_read:
            assert len(list(stream)) == 1
    [record] = runs.wait()
    assert record.usage is not None
    assert record.usage.lower_bound
    (line,) = caplog.messages
    assert ("ended without a finish reason" in line) is is_read
    assert ("Read streams until their finish reason" in line) is not is_read


def test_the_remedy_for_a_stream_whose_answer_is_not_valid(
    provider: Provider, openai: Any, runs: RecordingSink, caplog: pytest.LogCaptureFixture
) -> None:
    """A client that validates the answer may end the stream before its usage; the log line says what to do then."""
    provider.serve()
    client = wrap_client(openai)
    manager = client.responses.stream(model="m", input="Hi", text_format=City)
    with track_ai(config_key="chat"), manager as stream, pytest.raises(ValueError, match="validation error"):
        list(stream)
    [record] = runs.wait()
    assert record.usage is not None
    assert record.usage.lower_bound
    (line,) = caplog.messages
    assert line.endswith("validate the answer yourself after the stream.")


def test_a_whole_response_without_usage(
    provider: Provider, openai: Any, runs: RecordingSink, caplog: pytest.LogCaptureFixture
) -> None:
    """The log line of a response that is not a stream does not say to ask for its usage."""
    provider.serve(tokens=None)
    client: Any = wrap_client(openai, include_usage="always")
    with track_ai(config_key="chat"):
        client.chat.completions.create(model="gpt-4o-mini", messages=ASK)

    usage = runs.wait()[0].usage
    assert usage is not None
    assert usage.source == "estimate"
    assert caplog.messages == [
        "A provider's response in a run of 'chat' lacks usage, so its tokens are estimated. Configure the server, or a "
        "gateway in front of it, to send it."
    ]


def test_usage_that_the_body_asks_for(
    provider: Provider, openai: Any, runs: RecordingSink, caplog: pytest.LogCaptureFixture
) -> None:
    """A stream whose extra_body asks for the usage has asked for it."""
    provider.serve(tokens=None)
    asking: Any = {"extra_body": {"stream_options": {"include_usage": True}}}
    with track_ai(config_key="chat"):
        stream = wrap_client(openai).chat.completions.create(model="gpt-4o-mini", messages=ASK, stream=True, **asking)
        assert list(stream)

    assert runs.wait()
    assert ["although the call asked for it" in line for line in caplog.messages] == [True]


def test_each_cause_of_an_estimate_is_logged(
    provider: Provider,
    openai: Any,
    launchdarkly: OfflineLaunchDarkly,
    runs: RecordingSink,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Every cause has a line of its own for each AI Config, once, and each run with an estimate is counted."""
    provider.serve(tokens=None)

    def ask(include_usage: Any, **how: Any) -> None:
        response = wrap_client(openai, include_usage=include_usage).chat.completions.create(
            model="gpt-4o-mini", messages=ASK, **how
        )
        for _chunk in response if how else ():
            pass

    for config_key in ("chat", "other"):
        for _ in range(2):
            with track_ai(config_key=config_key):
                ask("always")
            with track_ai(config_key=config_key):
                ask("always", stream=True)
            with track_ai(config_key=config_key):
                ask(False, stream=True)

    runs.wait(12)
    lines = [(line.split(" run of ")[1][:7].strip(",' "), line.split(". ")[1][:10]) for line in caplog.messages]
    causes = ["Configure ", "The stream", "Ask for it"]
    assert lines == [*(("chat", cause) for cause in causes), *(("other", cause) for cause in causes)]
    assert launchdarkly.tracking.stats().diagnostics == {"estimated": 12}


@pytest.mark.parametrize("how", ["wrapped", "observed"])
@pytest.mark.parametrize("caught", [False, True])
@pytest.mark.parametrize("reason", ["length", "invalid"])
def test_parsing_errors_keep_the_usage(
    reason: str, caught: bool, how: str, provider: Provider, openai: Any, runs: RecordingSink
) -> None:
    """A response that cannot be parsed has been paid for; the call is a failed one."""
    if how == "observed" and reason == "invalid":
        return  # pydantic's error does not carry the response
    provider.serve(words=('{"name": ', "1}"), finish_reason="length" if reason == "length" else "stop")
    client = wrap_client(openai) if how == "wrapped" else openai

    @track_ai(config_key="chat")
    def handler(run: Run) -> str:
        try:
            client.chat.completions.parse(model="gpt-4o-mini", messages=ASK, response_format=City)
        except Exception as exc:
            if how == "observed":
                run.observe(exc)
            if not caught:
                raise
        return "sorry"

    name = "could not parse" if reason == "length" else "validation error"
    with nullcontext() if caught else pytest.raises(Exception, match=f"(?i){name}"):
        handler()
    record = runs.wait()[0]
    assert record.usage is not None
    assert (record.usage.input_tokens, record.usage.output_tokens) == (IN, OUT)
    assert (record.outcome, record.calls, record.failed_calls) == ("error", 1, 1)


_PARSING: dict[str, tuple[Callable[[str], Any], Callable[[Any], Any]]] = {
    "anthropic": (
        makers.anthropic,
        lambda client: client.messages.parse(model="m", max_tokens=9, messages=ASK, output_format=City),
    ),
    "anthropic beta": (
        makers.anthropic,
        lambda client: client.beta.messages.parse(model="m", max_tokens=9, messages=ASK, output_format=City),
    ),
    "mistral": (makers.mistral, lambda client: client.chat.parse(model="m", messages=ASK, response_format=City)),
}


@pytest.mark.parametrize(("make", "parse"), _PARSING.values(), ids=_PARSING)
def test_an_answer_that_could_not_be_parsed_is_added_to_the_next_one(
    make: Callable[[str], Any], parse: Callable[[Any], Any], provider: Provider, runs: RecordingSink
) -> None:
    """An answer that a client cannot parse has been paid for, also if the application then asks again."""
    client = make(provider.url)
    if make is makers.anthropic and not hasattr(client.messages, "parse"):
        pytest.skip("an old client, which does not parse")
    wrapped = wrap_client(client)
    provider.serve("m", tokens=(1013, 77), words=("no JSON",))

    @track_ai(config_key="chat")
    def handler() -> str:
        with pytest.raises(ValueError, match=r"(?i)json|expecting"):
            parse(wrapped)
        provider.serve("m", tokens=(2017, 88), words=('{"name": "Oslo"}',))
        parse(wrapped)
        return "done"

    handler()
    record = runs.wait()[0]
    assert record.usage == Usage(3030, 165, 3195)
    assert (record.outcome, record.calls) == ("success", 2)


@pytest.mark.parametrize("how", ["wrapped", "observed"])
def test_one_finish_reason_for_each_call(how: str, provider: Provider, openai: Any, runs: RecordingSink) -> None:
    """A run has as many finish reasons as calls, in their order; the text is empty where there was none."""
    provider.serve("caller", tool="weather")
    provider.serve("long", finish_reason="length")
    provider.serve("down", status=503)
    client = wrap_client(openai) if how == "wrapped" else openai
    with track_ai(config_key="chat") as run:
        for model in ("caller", "down", "long", "text-embedding", "gpt-4o-mini"):
            try:
                if model == "text-embedding":
                    response = client.embeddings.create(model=model, input="Hi")
                else:
                    response = client.chat.completions.create(model=model, messages=ASK)
            except Exception as exc:
                response = exc
            run.observe(response)
    record = runs.wait()[0]
    assert record.finish_reasons == ("tool_calls", "", "length", "", "stop")
    assert (record.calls, record.failed_calls, record.tool_calls) == (5, 1, ("weather",))
    assert record.response_model == "gpt-4o-mini-2024-07-18"


CHUNKS: list[dict[str, Any]] = [
    {
        "id": "c1",
        "object": "chat.completion.chunk",
        "model": "m",
        "choices": [{"index": 0, "delta": {"content": "Hi"}}],
    },
    {
        "id": "c1",
        "object": "chat.completion.chunk",
        "model": "m",
        "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}],
    },
    {
        "id": "c1",
        "object": "chat.completion.chunk",
        "model": "m",
        "choices": [],
        "usage": {"prompt_tokens": IN, "completion_tokens": OUT, "total_tokens": IN + OUT},
    },
]
OLLAMA: list[dict[str, Any]] = [
    {"model": "llama3", "message": {"role": "assistant", "content": "Hi"}, "done": False},
    {
        "model": "llama3",
        "message": {"role": "assistant", "content": ""},
        "done": True,
        "done_reason": "stop",
        "prompt_eval_count": IN,
        "eval_count": OUT,
    },
]
LINES: dict[str, list[Any]] = {
    "sse": [f"data: {json.dumps(chunk)}" for chunk in CHUNKS] + ["data: [DONE]"],
    "sse with empty lines": [line for chunk in CHUNKS for line in (f"data: {json.dumps(chunk)}", "")],
    "sse with ends": [f"data: {json.dumps(chunk)}\n\n" for chunk in CHUNKS] + ["data: [DONE]\n\n"],
    "bytes": [f"data: {json.dumps(chunk)}".encode() for chunk in CHUNKS] + [b"data: [DONE]"],
    "ndjson": [json.dumps(event) for event in OLLAMA],
    "ndjson with ends": [json.dumps(event).encode() + b"\n" for event in OLLAMA],
}


@pytest.mark.parametrize("lines", LINES.values(), ids=LINES)
def test_observed_lines(lines: list[Any], launchdarkly: OfflineLaunchDarkly, runs: RecordingSink) -> None:
    """Lines of a provider's stream that are observed one by one are one call."""
    with track_ai(config_key="chat") as run:
        for line in lines:
            assert run.observe(line) is line
    record = runs.wait()[0]
    assert record.usage is not None
    assert (record.usage.input_tokens, record.usage.output_tokens) == (IN, OUT)
    assert (record.calls, record.finish_reasons) == (1, ("stop",))
    assert record.time_to_first_token_ms is not None
    assert launchdarkly.tracking.stats().diagnostics == {}


def test_two_observed_streams_of_lines(runs: RecordingSink) -> None:
    """The end of a stream of lines separates it from the next one."""
    with track_ai(config_key="chat") as run:
        for line in LINES["sse"] * 2:
            run.observe(line)
    record = runs.wait()[0]
    assert record.usage is not None
    assert (record.usage.input_tokens, record.calls) == (2 * IN, 2)


def test_two_observed_streams_of_ollama(runs: RecordingSink) -> None:
    """The same for NDJSON, whose last object says that it is done."""
    with track_ai(config_key="chat") as run:
        for line in LINES["ndjson"] * 2:
            run.observe(line)
    record = runs.wait()[0]
    assert record.usage is not None
    assert (record.usage.input_tokens, record.usage.output_tokens) == (2 * IN, 2 * OUT)


@pytest.mark.parametrize("text", ["Hello there", b"Hello there", '{"name": ', "an: answer"])
def test_other_text(
    text: Any, launchdarkly: OfflineLaunchDarkly, runs: RecordingSink, caplog: pytest.LogCaptureFixture
) -> None:
    """Text that is no line of a provider's stream is refused with a diagnostic, and counts nothing."""
    with track_ai(config_key="chat") as run:
        assert run.observe(text) is text
        assert run.observe(text) is text
    record = runs.wait()[0]
    assert (record.usage, record.calls) == (None, 0)
    assert launchdarkly.tracking.stats().diagnostics == {"observe_text": 2}
    (line,) = [one for one in caplog.records if one.name == "ldai_integrations"]
    assert "run.observe()" in line.getMessage()


@pytest.mark.parametrize("value", [object(), {"answer": "Hello"}, ["Hello"]], ids=["object", "dict", "list"])
def test_other_objects(
    value: object, launchdarkly: OfflineLaunchDarkly, runs: RecordingSink, caplog: pytest.LogCaptureFixture
) -> None:
    """An object without a provider's format, such as a response of an HTTP library, is refused with a diagnostic."""
    with track_ai(config_key="chat") as run:
        assert run.observe(value) is value
    record = runs.wait()[0]
    assert (record.usage, record.calls) == (None, 0)
    assert launchdarkly.tracking.stats().diagnostics == {"observe_unknown": 1}
    (line,) = [one for one in caplog.records if one.name == "ldai_integrations"]
    assert type(value).__name__ in line.getMessage()


@pytest.mark.parametrize("item", [object(), {"answer": "Hello"}, "Hello"], ids=["object", "dict", "text"])
def test_streams_of_other_objects(
    item: object, provider: Provider, openai: Any, launchdarkly: OfflineLaunchDarkly, runs: RecordingSink
) -> None:
    """A stream without a provider's format is refused with a diagnostic, unless its calls are seen."""
    client = wrap_client(openai)

    def events(*, seen: bool) -> Iterator[object]:
        (client if seen else openai).chat.completions.create(model="gpt-4o-mini", messages=ASK)
        yield item

    for seen in (True, False):
        with track_ai(config_key="chat") as run:
            assert list(run.observe(events(seen=seen))) == [item]
        assert runs.wait(1 if seen else 2)[-1].calls == seen
        assert launchdarkly.tracking.stats().diagnostics.get("observe_unknown", 0) == (0 if seen else 1)


@pytest.mark.parametrize("start", ["It is: ", '{"text": "'])
def test_a_long_text(start: str, runs: RecordingSink) -> None:
    """What is not kept of a long answer is extrapolated, also if the answer looks like JSON."""
    with counting_tokens():
        list(track_ai(config_key="chat")(lambda: iter([start, *["word " * 1_000] * 120]))())
        record = runs.wait()[0]
    assert record.usage is not None
    assert record.usage.output_tokens == pytest.approx(120_000, rel=0.01)
