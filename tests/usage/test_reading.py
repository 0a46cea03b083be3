"""Responses and streams of every provider are read alike."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest
from openai.types.chat import ChatCompletionChunk
from pydantic import BaseModel

from ldai_integrations import RunRecord, Tracking, track_ai
from ldai_integrations.records import Usage
from ldai_integrations.usage import Reading, StreamReader, extract, extract_stream, read

from .bodies import BODIES, Body

WHOLE = [body for body in BODIES if body.whole is not None]
STREAMED = [body for body in BODIES if body.events]


def name(body: Body) -> str:
    """Return the id of a case."""
    return body.provider


@pytest.mark.parametrize("body", WHOLE, ids=name)
def test_a_whole_response_gives_the_providers_usage(body: Body) -> None:
    """Input includes cached tokens and output includes reasoning, whoever the provider is."""
    assert extract(body.whole) == body.usage
    assert body.usage.source == "provider"


@pytest.mark.parametrize("body", STREAMED, ids=name)
def test_a_stream_gives_the_same_usage(body: Body) -> None:
    """Running totals, and counts in several events, give the figures of the whole response."""
    assert extract_stream(body.events) == body.usage


@pytest.mark.parametrize("body", BODIES, ids=name)
def test_the_figures_of_a_body_show_a_wrong_shape(body: Body) -> None:
    """A part that is larger than its whole would be added to it, whatever the shape says."""
    usage = body.usage

    assert 2 * (usage.cached_input_tokens or 0) < (usage.input_tokens or 1)
    assert 2 * (usage.cache_write_input_tokens or 0) < (usage.input_tokens or 1)
    assert 2 * (usage.reasoning_tokens or 0) < (usage.output_tokens or 1)


TOTALS = ("total_tokens", "totalTokens", "totalTokenCount")


def without_total(value: Any) -> Any:
    """Return a response whose usage has no total."""
    if isinstance(value, list):
        return [without_total(one) for one in value]
    if not isinstance(value, dict):
        return value
    return {key: without_total(one) for key, one in value.items() if key not in TOTALS}


@pytest.mark.parametrize("body", BODIES, ids=name)
def test_the_usage_needs_no_total(body: Body) -> None:
    """The shape knows what belongs to the input and the output; a total only confirms it."""
    if body.usage.input_tokens is None or body.usage.output_tokens is None:
        return
    for events in (body.events, [body.whole]):
        if events and events[0] is not None:
            assert extract_stream(without_total(events)) == body.usage


def found_in(reading: Reading) -> tuple[object, ...]:
    """Return what was read besides the usage."""
    answer = reading.text, reading.reasoning, reading.tool_calls
    return (*answer, reading.model, reading.finish_reasons, reading.error)


@pytest.mark.parametrize("body", WHOLE, ids=name)
def test_a_whole_response_is_read_completely(body: Body) -> None:
    """Text, reasoning, tool calls, model and finish reasons of every provider are read."""
    reading = read(body.whole)

    assert reading is not None
    assert found_in(reading) == (body.text, body.reasoning, body.tool_calls, body.model, body.finish_reasons, None)


@pytest.mark.parametrize("body", WHOLE, ids=name)
def test_a_whole_response_is_complete_as_text(body: Body, tracking: Tracking, records: list[RunRecord]) -> None:
    """The JSON of a whole response is no stream that broke off, so that its usage is not a lower bound."""
    with track_ai(config_key="chat", tracking=tracking) as run:
        run.observe(json.dumps(body.whole))

    usage = records[0].usage
    assert usage is not None
    assert (usage.lower_bound, usage.output_tokens) == (False, body.usage.output_tokens)


@pytest.mark.parametrize("body", STREAMED, ids=name)
def test_a_stream_is_read_completely(body: Body) -> None:
    """The deltas of a stream have the text, the tool calls and the finish reasons of the whole response."""
    reader = StreamReader()
    for event in body.events:
        reader.feed(event)
    reading = reader.reading()

    assert reader.recognised
    assert found_in(reading) == (body.text, body.reasoning, body.tool_calls, body.model, body.finish_reasons, None)


BESIDE: dict[str, Any] = {
    "nothing": {},
    "reasoning": {"delta": {"reasoning_content": "hm"}},
    "a refusal": {"delta": {"refusal": "no"}},
    "no text": {"delta": {"content": None}},
    "parts": {"delta": {"content": [{"type": "text", "text": "part"}]}},
    "a tool call": {"delta": {"tool_calls": [{"index": 0, "function": {"name": "look_up", "arguments": "{}"}}]}},
    "a function call": {"delta": {"function_call": {"name": "look_up", "arguments": "{}"}}},
    "a reason": {"choice": {"finish_reason": "stop"}},
    "usage in the choice": {"choice": {"usage": {"prompt_tokens": 9, "completion_tokens": 2}}},
    "an error in the choice": {"choice": {"error": {"code": "overloaded"}}},
    "no delta": {"choice": {"delta": None, "text": "word"}},
    "usage": {"event": {"usage": {"prompt_tokens": 9, "completion_tokens": 2}}},
    "Groq's usage": {"event": {"x_groq": {"usage": {"prompt_tokens": 9, "completion_tokens": 2}}}},
    "an error": {"event": {"error": {"code": "overloaded"}}},
    "another model": {"event": {"model": "gpt-5"}},
    "another id": {"event": {"id": "chatcmpl-2"}},
    "no choice": {"event": {"choices": []}},
}


def chunk_with(beside: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Return a chunk of text, and what it carries besides."""
    choice = {"index": 0, "delta": {"content": "word "}, "finish_reason": None}
    choice |= {"delta": {"content": "word ", **beside.get("delta", {})}, **beside.get("choice", {})}
    head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "gpt-4o"}
    return {**head, "choices": [choice], **beside.get("event", {})}


def as_object(value: Any) -> Any:
    """Return a dict as an object of no known class, which is asked for each of its fields."""
    if isinstance(value, list):
        return [as_object(one) for one in value]
    if not isinstance(value, dict):
        return value
    return SimpleNamespace(**{name: as_object(one) for name, one in value.items()})


class Computed(BaseModel):
    """A chunk whose usage is no field of it."""

    id: str
    object: str
    model: str
    choices: list[Any]

    @property
    def usage(self) -> Any:
        """Work it out."""
        return {"prompt_tokens": 9, "completion_tokens": 2}


def test_what_a_model_computes_is_read() -> None:
    """A property of a pydantic model is read like a field."""
    reader = StreamReader()
    for _ in range(3):
        reader.feed(Computed(**chunk_with({})))

    assert reader.usage() == Usage(input_tokens=9, output_tokens=2, total_tokens=11)


@pytest.mark.parametrize("kind", [dict, ChatCompletionChunk.construct])
@pytest.mark.parametrize("beside", BESIDE)
def test_a_chunk_is_read_alike_whatever_it_is_made_of(beside: str, kind: Any) -> None:
    """The faster way, for chunks that contain text only, reads the same as the general one."""
    events = [chunk_with(BESIDE[one]) for one in ("nothing", "nothing", beside, "nothing")]
    short, long = StreamReader(), StreamReader()

    assert [short.feed(kind(**event)) for event in events] == [long.feed(as_object(event)) for event in events]
    assert short.reading() == long.reading()
    assert short.reading().text.startswith("word word ")


@pytest.mark.parametrize(
    "event",
    [
        {"type": "response.mcp_call_arguments.delta", "delta": "{", "output_index": 0},
        {"type": "response.code_interpreter_call_code.delta", "delta": "x = 1", "output_index": 0},
        {"type": "response.shell_call_command.delta", "delta": "ls", "output_index": 0, "command_index": 0},
        {"type": "response.new_tool_call_input.delta", "delta": "x", "output_index": 0},
        {"type": "response.audio.transcript.delta", "delta": "Hi"},
        {"type": "response.new_text.delta", "delta": "Hi"},
        {"choices": [{"delta": {"audio": {"id": "a", "transcript": "Hi"}}}]},
    ],
    ids=["mcp", "code", "shell", "a new tool", "speech", "a new text", "a transcript"],
)
def test_what_a_model_writes_for_tools_and_says_counts_as_a_first_token(event: Any) -> None:
    """The code and the arguments for the provider's own tools are deltas, and so is the transcript of speech."""
    assert StreamReader().feed(event) is True


@pytest.mark.parametrize("kind", ["audio", "output_audio"])
def test_sound_is_no_text(kind: str) -> None:
    """A delta of sound is written in Base64, and its tokens cannot be counted like those of a text."""
    reader = StreamReader()

    assert reader.feed({"type": f"response.{kind}.delta", "delta": "UklGRiQAAABXQVZF"}) is False
    assert not reader.reading().has_output


@pytest.mark.parametrize("body", STREAMED, ids=name)
def test_only_content_counts_as_a_first_token(body: Body) -> None:
    """An event has a delta if it has text, reasoning or a tool call, and not if it has only a role or usage."""
    reader = StreamReader()

    assert tuple(at for at, event in enumerate(body.events) if reader.feed(event)) == body.deltas


@pytest.mark.parametrize(
    "event",
    [
        {"choices": [{"delta": {"reasoning_content": "hm"}}]},
        {"choices": [{"delta": {"content": [{"type": "thinking", "thinking": [{"text": "hm"}]}]}}]},
        {"type": "response.reasoning_summary_text.delta", "delta": "hm"},
        {"type": "content_block_delta", "delta": {"type": "thinking_delta", "thinking": "hm"}},
        {"contentBlockDelta": {"delta": {"reasoningContent": {"text": "hm"}}}},
        {"candidates": [{"content": {"parts": [{"text": "hm", "thought": True}]}}]},
        {"model": "m", "done": False, "message": {"content": "", "thinking": "hm"}},
        {"type": "tool-plan-delta", "delta": {"message": {"tool_plan": "hm"}}},
        {"event_type": "step.delta", "delta": {"content": {"text": "hm"}}},
    ],
)
def test_reasoning_is_a_first_token_but_no_text(event: Any) -> None:
    """A reasoning delta is the first token, and not a part of the visible text."""
    reader = StreamReader()

    assert reader.feed(event)
    reading = reader.reading()
    assert (reading.text, reading.reasoning) == ("", "hm")


@pytest.mark.parametrize(
    ("event", "error"),
    [
        ({"type": "error", "error": {"type": "overloaded_error", "message": "secret"}}, "overloaded_error"),
        ({"type": "error", "code": "rate_limit_exceeded", "message": "secret"}, "rate_limit_exceeded"),
        ({"type": "error", "error": "secret"}, "error"),
        ({"error": {"message": "secret", "code": 503}}, "503"),
        ({"error": {"code": 429, "message": "secret", "status": "RESOURCE_EXHAUSTED"}}, "RESOURCE_EXHAUSTED"),
        ({"error": "secret"}, "error"),
        ({"error": "secret", "error_type": "overloaded"}, "overloaded"),
        ({"throttlingException": {"message": "secret"}}, "throttlingException"),
        ({"event": "throttlingException", "payload": {"message": "secret"}}, "throttlingException"),
        ({"choices": [], "error": {"code": "server_error", "message": "secret"}}, "server_error"),
        ({"choices": [{"error": {"type": "upstream"}}]}, "upstream"),
        ({"type": "response.failed", "response": {"error": {"code": "server_error"}}}, "server_error"),
    ],
)
def test_an_error_is_known_by_its_type_only(event: Any, error: str) -> None:
    """Of an error object in a stream, the type or the code is read, and never the message."""
    reader = StreamReader()
    reader.feed(event)

    assert reader.recognised
    assert reader.reading().error == error
    assert "secret" not in str(reader.reading())


@pytest.mark.parametrize(
    "value",
    [
        None,
        "text",
        b"data",
        3,
        [],
        {},
        {"answer": "Hello"},
        {"completion": "Hello"},
        {"text": "Hello", "id": 1},
        {"messages": ["Hello"]},
        {"done": True},
        {"error": {"detail": "no"}},
        {"error": "no", "path": "/", "status": 404},
        {"type": "tool_result", "error": "no"},
        {"type": "tool_result", "error": {"message": "no", "code": "offline"}},
        {"step": "search", "error": "no"},
        object(),
    ],
)
def test_what_no_provider_wrote_is_left_alone(value: Any) -> None:
    """An application's own values are not taken for a provider's response."""
    assert read(value) is None
    assert extract(value) is None


def test_a_usage_object_alone_is_enough() -> None:
    """A usage object is read without its response."""
    assert extract({"input_tokens": 3, "output_tokens": 4}) == Usage(3, 4, 7)


def test_envelopes_are_opened() -> None:
    """Events are read inside of those of AWS, openai-agents and LangGraph."""
    delta = {"type": "response.output_text.delta", "delta": "Hi"}
    reader = StreamReader()

    assert reader.feed({"event": "contentBlockDelta", "payload": {"delta": {"text": "Hi"}}})
    assert reader.feed({"chunk": {"bytes": b'{"outputText": "Hi", "inputTextTokenCount": 1}'}})
    assert not reader.feed({"chunk": {"bytes": b"no json"}})
    assert reader.feed(type("Event", (), {"type": "raw_response_event", "data": delta}))
    assert reader.feed((delta, {"langgraph_node": "agent"}))
    assert reader.reading().text == "Hi" * 4


def test_a_response_that_comes_only_at_the_end_is_read_there() -> None:
    """Text that is in no delta is read from the last event, once."""
    response = {"id": "r", "status": "completed", "output": [{"content": [{"text": "Hi"}]}]}
    reader = StreamReader()

    assert reader.feed({"type": "response.completed", "response": response})
    assert not reader.feed({"type": "response.completed", "response": response})
    assert reader.reading().text == "Hi"


def test_calls_of_one_stream_add_up() -> None:
    """The usage of several provider calls in the stream of an agent is added, and their tool calls are kept apart."""
    reader = StreamReader()
    for call in ("a", "b"):
        reader.feed({"type": "response.created", "response": {"id": call}})
        item = {"type": "function_call", "name": f"tool_{call}", "arguments": ""}
        reader.feed({"type": "response.output_item.added", "output_index": 0, "item": item})
        usage = {"input_tokens": 10, "output_tokens": 1, "total_tokens": 11}
        reader.feed({"type": "response.completed", "response": {"id": call, "status": "completed", "usage": usage}})

    assert reader.usage() == Usage(20, 2, 22)
    assert [call.name for call in reader.reading().tool_calls] == ["tool_a", "tool_b"]


def test_a_reading_may_be_taken_at_any_time() -> None:
    """A reading contains what has arrived, and the stream can go on after it."""
    reader = StreamReader()
    reader.feed({"choices": [{"delta": {"content": "Hel"}}]})
    early = reader.reading()
    reader.feed({"choices": [{"delta": {"content": "lo"}}]})

    assert (early.text, reader.reading().text) == ("Hel", "Hello")


def test_memory_is_bounded_and_what_is_dropped_is_counted() -> None:
    """A text is kept up to its limit, and the estimate includes the rest."""
    reader = StreamReader()
    for _ in range(300):
        reader.feed({"choices": [{"delta": {"content": " word" * 200}}]})
    reading = reader.reading()

    assert len(reading.text) == 262_144
    assert abs(reading.dropped_tokens - (300_000 - 262_144) / 5) <= 2
    assert abs((reading.estimate().output_tokens or 0) - 60_000) <= 2


def test_tool_calls_and_reasons_are_bounded() -> None:
    """The memory of a stream that has only tool calls is bounded."""
    reader = StreamReader()
    call = {"function": {"name": "f", "arguments": {}}}
    for _ in range(20):
        reader.feed({"model": "m", "done": True, "done_reason": "stop", "message": {"tool_calls": [call] * 100}})

    assert len(reader.reading().tool_calls) == 1_024
    for _ in range(2_000):
        reader.feed({"model": "m", "done": True, "done_reason": "stop"})
    assert len(reader.reading().calls) == len(reader.reading().finish_reasons) == 1_024


def test_an_estimate_of_a_reading_includes_reasoning() -> None:
    """The estimate includes reasoning that the provider shows."""
    silent = read({"choices": [{"message": {"content": "Hi"}}]})
    thinking = read({"choices": [{"message": {"content": "Hi", "reasoning_content": "let me think"}}]})

    assert silent is not None
    assert thinking is not None
    assert (thinking.estimate().output_tokens or 0) - (silent.estimate().output_tokens or 0) == 3


@pytest.mark.parametrize(("package", "usage"), [("litellm.types.utils", None), ("openai.types", Usage(0, 0, 0))])
def test_zeros_of_a_framework(package: str, usage: Usage | None) -> None:
    """LiteLLM writes zeros if the provider sent no usage. Those of a provider mean that nothing is billed."""
    kind = type("Usage", (), {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0, "__module__": package})
    message = {"role": "assistant", "content": "Hello there"}
    answer = read({"id": "c1", "choices": [{"message": message, "finish_reason": "stop"}], "usage": kind()})
    assert answer is not None
    assert (answer.text, answer.usage) == ("Hello there", usage)
