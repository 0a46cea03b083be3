"""Handlers that pass on a provider's stream that they requested themselves, so that no call is seen."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import flask
import pytest

from ldai_integrations import track_ai
from ldai_integrations.records import RunRecord
from ldai_integrations.testing import RecordingSink

IN, OUT = 70_001, 9_007


def chat(name: str, reason: str = "stop") -> list[dict[str, Any]]:
    """Return the events of a chat completion."""
    chunk = {"id": name, "object": "chat.completion.chunk", "model": "gpt-4o"}
    usage = {"prompt_tokens": IN, "completion_tokens": OUT, "total_tokens": IN + OUT}
    return [
        *({**chunk, "choices": [{"index": 0, "delta": {"content": word}}]} for word in ("Hello", " there")),
        {**chunk, "choices": [{"index": 0, "delta": {}, "finish_reason": reason}]},
        {**chunk, "choices": [], "usage": usage},
    ]


def message() -> list[dict[str, Any]]:
    """Return the events of a message of Anthropic."""
    begun = {"id": "m", "type": "message", "model": "claude", "content": [], "usage": {"input_tokens": IN}}
    return [
        {"type": "message_start", "message": begun},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hello there"}},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": OUT}},
    ]


def growing(host: str) -> list[dict[str, Any]]:
    """Return the events of a stream whose usage grows with its text."""
    events: list[dict[str, Any]] = []
    for word, count, reason in (("Hello", 11, ""), (" there", 23, ""), (".", OUT, "stop")):
        if host == "gemini":
            candidate = {"content": {"parts": [{"text": word}]}, **({"finishReason": "STOP"} if reason else {})}
            usage = {"promptTokenCount": IN, "candidatesTokenCount": count, "totalTokenCount": IN + count}
            events.append({"responseId": "g", "candidates": [candidate], "usageMetadata": usage})
        elif host == "vllm":
            choice = {"index": 0, "delta": {"content": word}, "finish_reason": reason or None}
            usage = {"prompt_tokens": IN, "completion_tokens": count, "total_tokens": IN + count}
            chunk = {"id": "v", "object": "chat.completion.chunk", "model": "m"}
            events.append({**chunk, "choices": [choice], "usage": usage})
        elif host == "llama.cpp":  # as older servers end it
            events.append({"content": word, "tokens_predicted": count, "tokens_evaluated": IN, "stop": bool(reason)})
        else:
            counts = {"generated_token_count": count, "input_token_count": IN}
            result = {"generated_text": word, "stop_reason": "eos_token" if reason else "not_finished", **counts}
            events.append({"model_id": "m", "results": [result]})
    return events


def relayed(
    events: list[dict[str, Any]], runs: RecordingSink, *, leaves: bool = False, returns: bool = False
) -> RunRecord:
    """Return the record of a handler that passes on the events; its client may leave after the second one."""

    def relay() -> Iterator[bytes]:
        for event in events:
            yield b"data: %b\n\n" % json.dumps(event).encode()

    def respond() -> flask.Response:
        return flask.Response(relay(), mimetype="text/event-stream")

    body: Any = track_ai(config_key="chat")(respond)().response if returns else track_ai(config_key="chat")(relay)()
    for _ in range(2) if leaves else events:
        next(body)
    body.close() if leaves else list(body)
    return runs.wait()[0]


@pytest.mark.parametrize("returns", [False, True])
@pytest.mark.parametrize("leaves", [False, True], ids=["broken", "left"])
@pytest.mark.parametrize("make", [lambda: chat("a"), message], ids=["openai", "anthropic"])
def test_a_stream_without_its_end(
    make: Callable[[], list[dict[str, Any]]], runs: RecordingSink, *, leaves: bool, returns: bool
) -> None:
    """The tokens of a relayed stream that broke off, or that the client left, are a lower bound."""
    events = make()
    record = relayed(events if leaves else events[:2], runs, leaves=leaves, returns=returns)

    assert record.outcome == ("cancelled" if leaves else "success")
    assert record.usage is not None
    assert record.usage.lower_bound
    assert record.usage.output_tokens != OUT


@pytest.mark.parametrize("how", ["relayed", "returned", "observed"])
@pytest.mark.parametrize("host", ["gemini", "vllm", "llama.cpp", "watsonx"])
def test_usage_that_grows(host: str, how: str, runs: RecordingSink) -> None:
    """If a stream ends while its usage still grows, this usage is a lower bound; the usage at its end is exact."""
    for events in (growing(host)[:2], growing(host)):
        if how == "observed":
            with track_ai(config_key="chat") as run:
                list(run.observe(iter(events)))
        else:
            relayed(events, runs, returns=how == "returned")

    broken, whole = runs.wait(2)
    assert broken.usage is not None
    assert whole.usage is not None
    assert (broken.usage.output_tokens, broken.usage.lower_bound) == (23, True)
    assert (whole.usage.output_tokens, whole.usage.lower_bound) == (OUT, False)


def test_an_answer_that_never_came(runs: RecordingSink) -> None:
    """The tokens of a relayed stream that broke off before any output are a lower bound."""
    record = relayed(message()[:1], runs)

    assert record.usage is not None
    assert (record.usage.input_tokens, record.usage.output_tokens, record.usage.lower_bound) == (IN, None, True)


@pytest.mark.parametrize("returns", [False, True])
def test_a_tool_loop(runs: RecordingSink, *, returns: bool) -> None:
    """The record of several relayed answers has the finish reason of each, and the sum of their tokens."""
    record = relayed([*chat("a", "tool_calls"), *chat("b")], runs, returns=returns)

    assert record.finish_reasons == ("tool_calls", "stop")
    assert record.usage is not None
    assert (record.usage.input_tokens, record.usage.output_tokens) == (2 * IN, 2 * OUT)
    assert (record.usage.lower_bound, record.usage.source) == (False, "provider")


def test_a_text_that_the_client_leaves(runs: RecordingSink) -> None:
    """The estimate of a text is a lower bound if nobody read it to its end."""

    @track_ai(config_key="chat")
    def words() -> Iterator[str]:
        yield "Hello "
        yield "there"

    body: Any = words()
    next(body)
    body.close()
    record = runs.wait()[0]
    assert record.usage is not None
    assert (record.usage.source, record.usage.lower_bound) == ("estimate", True)
