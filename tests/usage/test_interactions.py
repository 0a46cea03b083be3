"""Google's Interactions API and Mistral's Conversations API: what a server that keeps the conversation sends."""

from __future__ import annotations

from typing import Any

from ldai_integrations.records import Usage
from ldai_integrations.usage import CalledTool, read

from .bodies import reading_of

Json = dict[str, Any]

COUNTS: Json = {"total_input_tokens": 7317, "total_output_tokens": 3863, "total_tokens": 11180}
CHAT: Json = {"prompt_tokens": 7317, "completion_tokens": 3863, "total_tokens": 11180}
TOLD = Usage(7317, 3863, 11180)


def hop(name: str, status: str) -> list[Json]:
    """Return the events of one request of an interaction."""
    return [
        {"event_type": "interaction.created", "interaction": {"id": name, "status": "in_progress", "model": "m"}},
        {"event_type": "step.delta", "index": 0, "delta": {"type": "text", "text": "Hi"}},
        {"event_type": "interaction.completed", "interaction": {"id": name, "status": status, "usage": COUNTS}},
    ]


def test_an_interaction_that_is_continued() -> None:
    """Each request of an interaction that google-genai continues is a call, because each one is billed."""
    reading = reading_of(*hop("a", "requires_continuation"), *hop("b", "completed"))

    assert [(call.ids, call.usage) for call in reading.calls] == [(("a",), TOLD), (("b",), TOLD)]
    assert reading.finish_reasons == ("requires_continuation", "completed")


def test_running_totals_of_an_interaction() -> None:
    """Each usage of a stream is a total so far, and the last one is used."""
    so_far = {"total_input_tokens": 7317, "total_output_tokens": 9, "total_tokens": 7326}
    delta = {"event_type": "step.delta", "index": 0, "delta": {"type": "text", "text": "H"}}
    events = [
        {**delta, "metadata": {"total_usage": so_far}},
        {"event_type": "step.stop", "index": 0, "usage": COUNTS},
    ]

    assert reading_of(events[0]).usage == Usage(7317, 9, 7326)
    assert reading_of(*events).usage == TOLD


def test_a_function_call_of_an_interaction() -> None:
    """The name comes with the start of a step, and the arguments with its deltas."""
    step = {"type": "function_call", "id": "call_1", "name": "weather", "arguments": {}}
    deltas = [{"type": "arguments_delta", "arguments": text} for text in ('{"city":', '"Oslo"}')]
    reading = reading_of(
        {"event_type": "step.start", "index": 1, "step": step},
        *({"event_type": "step.delta", "index": 1, "delta": delta} for delta in deltas),
    )
    whole = read({"id": "a", "status": "requires_action", "steps": [{**step, "arguments": {"city": "Oslo"}}]})

    assert whole is not None
    assert reading.tool_calls == whole.tool_calls == (CalledTool("weather", '{"city":"Oslo"}'),)


def test_an_interaction_that_fails() -> None:
    """A failed interaction is an error with its usage, streamed or not."""
    failed = {"id": "a", "status": "failed", "errors": [{"code": "internal", "message": "no"}], "usage": COUNTS}
    whole = read({**failed, "steps": []})
    streamed = reading_of(hop("a", "")[0], {"event_type": "interaction.completed", "interaction": failed})

    assert whole is not None
    assert (whole.error, whole.usage) == (streamed.error, streamed.usage) == ("internal", TOLD)
    assert reading_of(hop("a", "")[0], {"event_type": "error", "error": {"code": "internal"}}).error == "internal"


def test_an_interaction_in_the_background() -> None:
    """An interaction that goes on has neither a finish reason nor usage."""
    for status in ("in_progress", "queued"):
        reading = read({"object": "interaction", "id": "a", "status": status})
        assert reading is not None
        assert (reading.ids, reading.finish_reasons, reading.usage) == (("a",), (), None)


def test_the_modalities_of_an_interaction() -> None:
    """Tokens of audio are a part of the input, which has another price."""
    parts = [{"modality": "text", "tokens": 317}, {"modality": "audio", "tokens": 7000}]
    reading = read(
        {"id": "a", "status": "completed", "steps": [], "usage": {**COUNTS, "input_tokens_by_modality": parts}}
    )

    assert reading is not None
    assert reading.usage == Usage(7317, 3863, 11180, input_audio_tokens=7000)


def test_a_conversation() -> None:
    """Text, functions, the model and what connectors add to the prompt are read, whole and streamed."""
    usage = {**CHAT, "connector_tokens": 500, "total_tokens": 11680}
    said = {"type": "message.output", "content": [{"type": "text", "text": "Hi"}, {"type": "tool_reference"}]}
    call = {"type": "function.call", "name": "weather", "arguments": {"city": "Oslo"}}
    whole = read({"object": "conversation.response", "outputs": [{**said, "model": "m"}, call], "usage": usage})
    call |= {"type": "function.call.delta", "id": "fc_1", "arguments": '{"city":'}
    streamed = reading_of(
        {"type": "conversation.response.started", "conversation_id": "conv_1"},
        {"type": "message.output.delta", "id": "msg_1", "content": "Hi", "model": "m"},
        call,
        {**call, "arguments": '"Oslo"}'},
        {"type": "conversation.response.done", "usage": usage},
    )

    for reading in (whole, streamed):
        assert reading is not None
        assert reading.usage == Usage(7317, 3863, 11680, other_tokens=500)
        assert (reading.text, reading.model) == ("Hi", "m")
        assert reading.tool_calls == (CalledTool("weather", '{"city":"Oslo"}'),)


def test_a_conversation_that_fails() -> None:
    """The error event of a conversation is an error."""
    started = {"type": "conversation.response.started", "conversation_id": "conv_1"}

    assert reading_of(started, {"type": "conversation.response.error", "code": 3000, "message": "no"}).error == "3000"
