"""Methods that only the newest versions of the clients have."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from ldai_integrations import RunRecord, Tracking, track_ai, wrap_client
from ldai_integrations.records import Usage

from .answers import Answer, messages, responses, sse, whole
from .makers import Make, anthropic, async_anthropic, async_openai, genai, mistral, openai
from .provider import Provider

TOLD = Usage(input_tokens=7317, output_tokens=3863, total_tokens=11180)
HI: Any = {"role": "user", "content": "Hi"}
_COUNTS = {"input_tokens": 7317, "output_tokens": 3863, "total_tokens": 11180}
_DETAILS = {
    "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
    "output_tokens_details": {"reasoning_tokens": 0},
}
_TOTALS = {"total_input_tokens": 7317, "total_output_tokens": 3863, "total_tokens": 11180}
_ANSWER = {"type": "predicate", "name": "kind", "probability": 0.5}
DECISION = whole({"model": "gpt-6-luna", "answers": [_ANSWER], "usage": {**_COUNTS, **_DETAILS}})
GEMINI_DECISION = whole({"answers": {"kind": {"type": "noul"}}, "usage": _TOTALS})
ASK: dict[str, Any] = {"model": "gpt-6-luna", "input": "Hi", "questions": [{"type": "predicate", "name": "kind"}]}
GEMINI_ASK: dict[str, Any] = {
    "model": "models/gemini",
    "input": "Hi",
    "questions": {"kind": {"type": "noul", "instructions": "Is it kind?"}},
}
DECISIONS: dict[str, tuple[Make, Answer, Callable[[Any], Any]]] = {
    "openai": (openai, DECISION, lambda client: client.decisions.create(**ASK)),
    "openai, post": (openai, DECISION, lambda client: client.post("/decisions", body=ASK, cast_to=object)),
    "openai, async": (async_openai, DECISION, lambda client: asyncio.run(client.decisions.create(**ASK))),
    "genai": (genai, GEMINI_DECISION, lambda client: client.decisions.create(**GEMINI_ASK)),
    "genai, async": (genai, GEMINI_DECISION, lambda client: asyncio.run(client.aio.decisions.create(**GEMINI_ASK))),
}


@pytest.mark.parametrize("name", DECISIONS)
def test_decisions(name: str, provider: Provider, tracking: Tracking, records: list[RunRecord]) -> None:
    """A decision is a call with the provider's tokens."""
    make, answer, decide = DECISIONS[name]
    client = _new_enough(make(provider.url), "decisions")
    provider.queued = [lambda _request: answer]

    with track_ai(config_key="chat", tracking=tracking):
        decide(client)

    usage = records[0].usage
    assert usage is not None
    assert (records[0].calls, usage.source, usage.total_tokens) == (1, "provider", 11180)
    assert (usage.input_tokens, usage.output_tokens) == (7317, 3863)


def test_a_thread_of_messages(provider: Provider, tracking: Tracking, records: list[RunRecord]) -> None:
    """Each turn of a conversation that Anthropic's server holds is a call."""
    client = _new_enough(anthropic(provider.url), "beta.messages.thread")
    provider.queued = [lambda request: messages(request)] * 3

    with track_ai(config_key="chat", tracking=tracking):
        thread = client.beta.messages.thread(model="claude-for-tests", max_tokens=64)
        for one in (thread, thread, thread.fork()):
            assert one.send(HI).content[0].text == "Hello there"

    assert (records[0].calls, records[0].usage) == (3, Usage(input_tokens=60, output_tokens=27, total_tokens=87))


def test_an_async_thread_of_messages(provider: Provider, tracking: Tracking, records: list[RunRecord]) -> None:
    """The same for an async client."""

    async def call() -> None:
        client = _new_enough(async_anthropic(provider.url), "beta.messages.thread")
        thread = client.beta.messages.thread(model="claude-for-tests", max_tokens=64)
        assert (await thread.send(HI)).content[0].text == "Hello there"
        await client.close()

    with track_ai(config_key="chat", tracking=tracking):
        asyncio.run(call())

    assert (records[0].calls, records[0].usage) == (1, Usage(input_tokens=20, output_tokens=9, total_tokens=29))


@pytest.mark.parametrize("is_streamed", [False, True])
def test_responses_of_mistral(
    is_streamed: bool, provider: Provider, tracking: Tracking, records: list[RunRecord]
) -> None:
    """Mistral's Responses API is recorded like OpenAI's."""
    client = _new_enough(mistral(provider.url), "responses")
    head: dict[str, Any] = {
        "id": "resp_1",
        "object": "response",
        "created_at": 1,
        "model": "mistral-small-latest",
        "output": [],
    }
    head |= {"parallel_tool_calls": True, "tool_choice": "auto", "tools": []}
    done = {**head, "status": "completed", "usage": {**_COUNTS, **_DETAILS}}
    delta: dict[str, Any] = {
        "type": "response.output_text.delta",
        "item_id": "m",
        "output_index": 0,
        "content_index": 0,
    }
    events: list[dict[str, Any]] = [
        {"type": "response.created", "response": {**head, "status": "in_progress"}},
        {**delta, "delta": "Hi", "logprobs": []},
        {"type": "response.completed", "response": done},
    ]
    numbered = ({**event, "sequence_number": number} for number, event in enumerate(events))
    answer = sse(*numbered, named=True) if is_streamed else whole(done)
    provider.queued = [lambda _request: answer]

    with track_ai(config_key="chat", tracking=tracking):
        response = client.responses.create(model="mistral-small-latest", input="Hi", stream=is_streamed)
        if is_streamed:
            list(response)

    assert (records[0].calls, records[0].failed_calls) == (1, 0)
    assert records[0].usage is not None
    assert (records[0].usage.source, records[0].usage.total_tokens) == ("provider", 11180)
    assert (records[0].time_to_first_token_ms is not None) is is_streamed


@pytest.mark.parametrize("is_streamed", [False, True])
def test_transcriptions_of_mistral(
    is_streamed: bool, provider: Provider, tracking: Tracking, records: list[RunRecord]
) -> None:
    """A transcription is a call with the tokens that Mistral reports."""
    client = _new_enough(mistral(provider.url), "audio.transcriptions")
    usage = {"prompt_tokens": 7317, "completion_tokens": 3863, "total_tokens": 11180, "prompt_audio_seconds": 3}
    done = {"model": "voxtral-mini-latest", "text": "Hello", "language": "en", "segments": [], "usage": usage}
    events = [
        {"type": "transcription.text.delta", "text": "Hello"},
        {"type": "transcription.done", **done},
    ]
    answer = sse(*events, named=True) if is_streamed else whole(done)
    provider.queued = [lambda _request: answer]

    with track_ai(config_key="chat", tracking=tracking):
        transcriptions = client.audio.transcriptions
        method = transcriptions.stream if is_streamed else transcriptions.complete
        response = method(model="voxtral-mini-latest", file={"file_name": "a.mp3", "content": b"ID3"})
        if is_streamed:
            list(response)

    assert (records[0].calls, records[0].usage) == (1, TOLD)


def test_fields_that_mistral_has_not_received(provider: Provider, tracking: Tracking, records: list[RunRecord]) -> None:
    """A response without the field ``error`` is none, although Mistral's object for it has the field."""
    client = _new_enough(mistral(provider.url), "responses")
    provider.queued = [responses]

    with track_ai(config_key="chat", tracking=tracking):
        client.responses.create(model="mistral-small-latest", input="Hi")

    assert (records[0].calls, records[0].failed_calls, records[0].outcome) == (1, 0, "success")


def _new_enough(client: Any, path: str) -> Any:
    """Wrap a client that has a method or a resource."""
    part = client
    for name in path.split("."):
        part = getattr(part, name, None)
    if part is None:
        pytest.skip(f"an old client, which has no {path}")
    return wrap_client(client)
