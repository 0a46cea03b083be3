"""Responses as each provider writes them, whole and streamed, with what should be read from them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ldai_integrations.records import Usage
from ldai_integrations.usage import CalledTool, Reading, StreamReader


def reading_of(*events: Any) -> Reading:
    """Return what a stream of these events contains."""
    reader = StreamReader()
    for event in events:
        reader.feed(event)
    return reader.reading()


@dataclass(frozen=True)
class Body:
    """One answer: its body, the events of the same answer streamed, and what they mean.

    Use figures in which each part is smaller than half of its whole. Other figures add up with a wrong shape too.

    Attributes:
        deltas: The positions of the events with text, reasoning or a part of a tool call.
    """

    provider: str
    usage: Usage
    whole: Any = None
    events: list[Any] = field(default_factory=list)
    deltas: tuple[int, ...] = ()
    text: str = "Hello there"
    reasoning: str = ""
    tool_calls: tuple[CalledTool, ...] = ()
    model: str | None = "some-model"
    finish_reasons: tuple[str, ...] = ("stop",)


WEATHER = CalledTool("weather", '{"city":"Oslo"}')


def _chunk(delta: Any = None, finish: str | None = None, **more: Any) -> dict[str, Any]:
    choices = [] if delta is None else [{"index": 0, "delta": delta, "finish_reason": finish}]
    return {"id": "c1", "object": "chat.completion.chunk", "model": "some-model", "choices": choices, **more}


_OPENAI_USAGE = {
    "prompt_tokens": 20,
    "completion_tokens": 9,
    "total_tokens": 29,
    "prompt_tokens_details": {"cached_tokens": 4, "audio_tokens": 0},
    "completion_tokens_details": {"reasoning_tokens": 4},
}
_RESPONSES_USAGE = {
    "input_tokens": 20,
    "input_tokens_details": {"cached_tokens": 4},
    "output_tokens": 9,
    "output_tokens_details": {"reasoning_tokens": 4},
    "total_tokens": 29,
}
_LAUNCHDARKLY_USAGE = {
    "input": 20,
    "output": 9,
    "total": 29,
    "input_details": {"uncached": 15, "cache_read": 4, "cache_creation": 1},
}
_RESPONSE = {
    "id": "resp_1",
    "object": "response",
    "status": "completed",
    "error": None,
    "model": "some-model",
    "output": [
        {"type": "reasoning", "summary": [{"type": "summary_text", "text": "hm"}]},
        {"type": "message", "content": [{"type": "output_text", "text": "Hello there"}]},
        {"type": "function_call", "name": "weather", "arguments": '{"city":"Oslo"}'},
    ],
    "usage": _RESPONSES_USAGE,
}

BODIES = [
    Body(
        "openai chat",
        Usage(20, 9, 29, cached_input_tokens=4, reasoning_tokens=4),
        whole={
            "object": "chat.completion",
            "model": "some-model",
            "choices": [
                {
                    "index": 0,
                    "finish_reason": "stop",
                    "message": {
                        "role": "assistant",
                        "content": "Hello there",
                        "tool_calls": [
                            {"id": "t", "function": {"name": "weather", "arguments": '{"city":"Oslo"}'}},
                        ],
                    },
                }
            ],
            "usage": _OPENAI_USAGE,
        },
        events=[
            _chunk({"role": "assistant", "content": ""}),
            _chunk({"content": "Hello"}),
            _chunk({"content": " there"}),
            _chunk({"tool_calls": [{"index": 0, "id": "t", "function": {"name": "weather", "arguments": ""}}]}),
            _chunk({"tool_calls": [{"index": 0, "function": {"arguments": '{"city":'}}]}),
            _chunk({"tool_calls": [{"index": 0, "function": {"arguments": '"Oslo"}'}}]}),
            _chunk({}, "stop"),
            _chunk(usage=_OPENAI_USAGE),
        ],
        deltas=(1, 2, 3, 4, 5),
        tool_calls=(WEATHER,),
    ),
    Body(
        "openai completions",
        Usage(5, 2, 7),
        whole={
            "model": "some-model",
            "choices": [{"text": "Hello there", "index": 0, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7},
        },
    ),
    Body(
        "openai embeddings",
        Usage(input_tokens=8, total_tokens=8),
        whole={"object": "list", "data": [], "model": "some-model", "usage": {"prompt_tokens": 8, "total_tokens": 8}},
        text="",
        finish_reasons=(),
    ),
    Body(
        "openai responses",
        Usage(20, 9, 29, cached_input_tokens=4, reasoning_tokens=4),
        whole=_RESPONSE,
        events=[
            {"type": "response.created", "response": {**_RESPONSE, "status": "in_progress", "usage": None}},
            {"type": "response.output_item.added", "output_index": 0, "item": {"type": "reasoning", "summary": []}},
            {"type": "response.reasoning_summary_text.delta", "output_index": 0, "delta": "hm"},
            {"type": "response.output_item.added", "output_index": 1, "item": {"type": "message", "content": []}},
            {"type": "response.output_text.delta", "output_index": 1, "delta": "Hello"},
            {"type": "response.output_text.delta", "output_index": 1, "delta": " there"},
            {"type": "response.output_text.done", "output_index": 1, "text": "Hello there"},
            {
                "type": "response.output_item.added",
                "output_index": 2,
                "item": {"type": "function_call", "name": "weather", "arguments": ""},
            },
            {"type": "response.function_call_arguments.delta", "output_index": 2, "delta": '{"city":"Oslo"}'},
            {"type": "response.completed", "response": _RESPONSE},
        ],
        deltas=(2, 4, 5, 7, 8),
        reasoning="hm",
        tool_calls=(WEATHER,),
        finish_reasons=("completed",),
    ),
    Body(
        "anthropic",
        Usage(130, 15, 145, cached_input_tokens=15, cache_write_input_tokens=5),
        whole={
            "id": "msg_1",
            "type": "message",
            "model": "some-model",
            "content": [
                {"type": "text", "text": "Hello there"},
                {"type": "tool_use", "id": "t", "name": "weather", "input": {"city": "Oslo"}},
            ],
            "stop_reason": "tool_use",
            "usage": {
                "input_tokens": 110,
                "cache_read_input_tokens": 15,
                "cache_creation_input_tokens": 5,
                "output_tokens": 15,
            },
        },
        events=[
            {
                "type": "message_start",
                "message": {
                    "id": "msg_1",
                    "model": "some-model",
                    "content": [],
                    "usage": {
                        "input_tokens": 110,
                        "cache_read_input_tokens": 15,
                        "cache_creation_input_tokens": 5,
                        "output_tokens": 1,
                    },
                },
            },
            {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
            {"type": "ping"},
            {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hello"}},
            {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": " there"}},
            {"type": "content_block_stop", "index": 0},
            {
                "type": "content_block_start",
                "index": 1,
                "content_block": {"type": "tool_use", "id": "t", "name": "weather", "input": {}},
            },
            {
                "type": "content_block_delta",
                "index": 1,
                "delta": {"type": "input_json_delta", "partial_json": '{"city":"Oslo"}'},
            },
            {"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": {"output_tokens": 15}},
            {"type": "message_stop"},
        ],
        deltas=(3, 4, 6, 7),
        tool_calls=(WEATHER,),
        finish_reasons=("tool_use",),
    ),
    Body(
        "bedrock converse",
        Usage(23, 7, 30, cached_input_tokens=4, cache_write_input_tokens=1),
        whole={
            "output": {
                "message": {
                    "role": "assistant",
                    "content": [
                        {"text": "Hello there"},
                        {"toolUse": {"toolUseId": "t", "name": "weather", "input": {"city": "Oslo"}}},
                    ],
                }
            },
            "stopReason": "tool_use",
            "usage": {
                "inputTokens": 18,
                "outputTokens": 7,
                "totalTokens": 30,
                "cacheReadInputTokens": 4,
                "cacheWriteInputTokens": 1,
            },
        },
        events=[
            {"messageStart": {"role": "assistant"}},
            {"contentBlockDelta": {"contentBlockIndex": 0, "delta": {"text": "Hello"}}},
            {"contentBlockDelta": {"contentBlockIndex": 0, "delta": {"text": " there"}}},
            {"contentBlockStop": {"contentBlockIndex": 0}},
            {"contentBlockStart": {"contentBlockIndex": 1, "start": {"toolUse": {"name": "weather"}}}},
            {"contentBlockDelta": {"contentBlockIndex": 1, "delta": {"toolUse": {"input": '{"city":"Oslo"}'}}}},
            {"messageStop": {"stopReason": "tool_use"}},
            {
                "metadata": {
                    "usage": {
                        "inputTokens": 18,
                        "outputTokens": 7,
                        "totalTokens": 30,
                        "cacheReadInputTokens": 4,
                        "cacheWriteInputTokens": 1,
                    }
                }
            },
        ],
        deltas=(1, 2, 4, 5),
        tool_calls=(WEATHER,),
        model=None,
        finish_reasons=("tool_use",),
    ),
    Body(
        "gemini",
        Usage(12, 50, 62, reasoning_tokens=10),
        whole={
            "candidates": [
                {
                    "content": {
                        "role": "model",
                        "parts": [
                            {"text": "hm", "thought": True},
                            {"text": "Hello there"},
                            {"functionCall": {"name": "weather", "args": {"city": "Oslo"}}},
                        ],
                    },
                    "finishReason": "STOP",
                }
            ],
            "usageMetadata": {
                "promptTokenCount": 12,
                "candidatesTokenCount": 40,
                "thoughtsTokenCount": 10,
                "totalTokenCount": 62,
            },
            "modelVersion": "some-model",
        },
        events=[
            {
                "candidates": [{"content": {"parts": [{"text": "hm", "thought": True}, {"text": "Hello"}]}}],
                "usageMetadata": {"promptTokenCount": 12, "totalTokenCount": 12},
                "modelVersion": "some-model",
            },
            {
                "candidates": [{"content": {"parts": [{"text": " there"}]}}],
                "usageMetadata": {"promptTokenCount": 12, "candidatesTokenCount": 5, "totalTokenCount": 17},
            },
            {
                "candidates": [
                    {
                        "content": {"parts": [{"functionCall": {"name": "weather", "args": {"city": "Oslo"}}}]},
                        "finishReason": "STOP",
                    }
                ],
                "usageMetadata": {
                    "promptTokenCount": 12,
                    "candidatesTokenCount": 40,
                    "thoughtsTokenCount": 10,
                    "totalTokenCount": 62,
                },
            },
        ],
        deltas=(0, 1, 2),
        reasoning="hm",
        tool_calls=(WEATHER,),
        finish_reasons=("STOP",),
    ),
    Body(
        "gemini interactions",
        Usage(9, 24, 33, cached_input_tokens=0, reasoning_tokens=11),
        whole={
            "object": "interaction",
            "model": "some-model",
            "status": "completed",
            "steps": [
                {"type": "thought", "summary": [{"type": "text", "text": "hm"}]},
                {"type": "text", "content": [{"type": "text", "text": "Hello there"}]},
            ],
            "usage": {
                "total_input_tokens": 9,
                "total_output_tokens": 13,
                "total_thought_tokens": 11,
                "total_cached_tokens": 0,
                "total_tokens": 33,
            },
        },
        events=[
            {"event_type": "interaction.created", "interaction": {"model": "some-model", "status": "in_progress"}},
            {"event_type": "step.start", "index": 0, "step": {"type": "thought"}},
            {
                "event_type": "step.delta",
                "index": 0,
                "delta": {"type": "thought_summary", "content": {"type": "text", "text": "hm"}},
            },
            {"event_type": "step.start", "index": 1, "step": {"type": "text"}},
            {"event_type": "step.delta", "index": 1, "delta": {"type": "text", "text": "Hello"}},
            {"event_type": "step.delta", "index": 1, "delta": {"type": "text", "text": " there"}},
            {
                "event_type": "interaction.completed",
                "interaction": {
                    "status": "completed",
                    "usage": {
                        "total_input_tokens": 9,
                        "total_output_tokens": 13,
                        "total_thought_tokens": 11,
                        "total_cached_tokens": 0,
                        "total_tokens": 33,
                    },
                },
            },
        ],
        deltas=(2, 4, 5),
        reasoning="hm",
        finish_reasons=("completed",),
    ),
    Body(
        "cohere v2",
        Usage(69, 11, 80),
        whole={
            "id": "1",
            "finish_reason": "COMPLETE",
            "message": {
                "role": "assistant",
                "content": [{"type": "text", "text": "Hello there"}],
                "tool_calls": [{"id": "t", "function": {"name": "weather", "arguments": '{"city":"Oslo"}'}}],
            },
            "usage": {
                "billed_units": {"input_tokens": 7, "output_tokens": 10},
                "tokens": {"input_tokens": 69, "output_tokens": 11},
            },
        },
        events=[
            {"type": "message-start", "delta": {"message": {"role": "assistant", "content": [], "tool_calls": []}}},
            {"type": "content-start", "index": 0, "delta": {"message": {"content": {"type": "text", "text": ""}}}},
            {"type": "content-delta", "index": 0, "delta": {"message": {"content": {"text": "Hello"}}}},
            {"type": "content-delta", "index": 0, "delta": {"message": {"content": {"text": " there"}}}},
            {
                "type": "tool-call-start",
                "index": 0,
                "delta": {"message": {"tool_calls": {"function": {"name": "weather", "arguments": ""}}}},
            },
            {
                "type": "tool-call-delta",
                "index": 0,
                "delta": {"message": {"tool_calls": {"function": {"arguments": '{"city":"Oslo"}'}}}},
            },
            {
                "type": "message-end",
                "delta": {
                    "finish_reason": "COMPLETE",
                    "usage": {
                        "billed_units": {"input_tokens": 7, "output_tokens": 10},
                        "tokens": {"input_tokens": 69, "output_tokens": 11},
                    },
                },
            },
        ],
        deltas=(2, 3, 4, 5),
        tool_calls=(WEATHER,),
        model=None,
        finish_reasons=("COMPLETE",),
    ),
    Body(
        "cohere v1",
        Usage(69, 11, 80),
        whole={
            "response_id": "1",
            "generation_id": "2",
            "text": "Hello there",
            "finish_reason": "COMPLETE",
            "meta": {"tokens": {"input_tokens": 69, "output_tokens": 11}, "billed_units": {"input_tokens": 7}},
        },
        events=[
            {"is_finished": False, "event_type": "stream-start", "generation_id": "2"},
            {"is_finished": False, "event_type": "text-generation", "text": "Hello"},
            {"is_finished": False, "event_type": "text-generation", "text": " there"},
            {
                "is_finished": True,
                "event_type": "stream-end",
                "response": {
                    "response_id": "1",
                    "generation_id": "2",
                    "text": "Hello there",
                    "finish_reason": "COMPLETE",
                    "meta": {"tokens": {"input_tokens": 69, "output_tokens": 11}},
                },
            },
        ],
        deltas=(1, 2),
        model=None,
        finish_reasons=("COMPLETE",),
    ),
    Body(
        "cohere generate",
        Usage(7, 12, 19),
        whole={
            "id": "1",
            "generations": [{"id": "2", "text": "Hello there", "finish_reason": "COMPLETE"}],
            "meta": {"billed_units": {"input_tokens": 7, "output_tokens": 12}},
        },
        model=None,
        finish_reasons=("COMPLETE",),
    ),
    Body(
        "ollama chat",
        Usage(21, 8, 29),
        whole={
            "model": "some-model",
            "message": {
                "role": "assistant",
                "content": "Hello there",
                "tool_calls": [{"function": {"name": "weather", "arguments": {"city": "Oslo"}}}],
            },
            "done": True,
            "done_reason": "stop",
            "prompt_eval_count": 21,
            "eval_count": 8,
        },
        events=[
            {"model": "some-model", "message": {"role": "assistant", "content": "Hello"}, "done": False},
            {"model": "some-model", "message": {"role": "assistant", "content": " there"}, "done": False},
            {
                "model": "some-model",
                "message": {
                    "content": "",
                    "tool_calls": [{"function": {"name": "weather", "arguments": {"city": "Oslo"}}}],
                },
                "done": False,
            },
            {
                "model": "some-model",
                "message": {"content": ""},
                "done": True,
                "done_reason": "stop",
                "prompt_eval_count": 21,
                "eval_count": 8,
            },
        ],
        deltas=(0, 1, 2),
        tool_calls=(WEATHER,),
    ),
    Body(
        "ollama generate",
        Usage(None, 8, 8),
        whole={"model": "some-model", "response": "Hello there", "done": True, "done_reason": "stop", "eval_count": 8},
    ),
    Body(
        "hugging face",
        Usage(None, 3, None),
        whole=None,
        events=[
            {"token": {"id": 1, "text": "Hello", "special": False}},
            {"token": {"id": 2, "text": " there", "special": False}},
            {
                "token": {"id": 3, "text": "</s>", "special": True},
                "generated_text": "Hello there",
                "details": {"finish_reason": "stop", "generated_tokens": 3},
            },
        ],
        deltas=(0, 1),
        model=None,
    ),
    Body(
        "bedrock titan",
        Usage(6, 42, 48),
        whole={
            "inputTextTokenCount": 6,
            "results": [{"tokenCount": 42, "outputText": "Hello there", "completionReason": "stop"}],
        },
        events=[
            {"outputText": "Hello", "index": 0, "totalOutputTextTokenCount": None, "inputTextTokenCount": 6},
            {
                "outputText": " there",
                "index": 0,
                "totalOutputTextTokenCount": 42,
                "completionReason": "stop",
                "inputTextTokenCount": None,
            },
        ],
        deltas=(0, 1),
        model=None,
    ),
    Body(
        "bedrock llama",
        Usage(6, 18, 24),
        whole={
            "generation": "Hello there",
            "prompt_token_count": 6,
            "generation_token_count": 18,
            "stop_reason": "stop",
        },
        events=[
            {"generation": "Hello", "prompt_token_count": 6, "generation_token_count": 1, "stop_reason": None},
            {
                "generation": " there",
                "prompt_token_count": None,
                "generation_token_count": 18,
                "stop_reason": "stop",
                "amazon-bedrock-invocationMetrics": {"inputTokenCount": 6, "outputTokenCount": 18},
            },
        ],
        deltas=(0, 1),
        model=None,
    ),
    Body(
        "bedrock mistral",
        Usage(16, 11, 27),
        events=[
            {"outputs": [{"text": "Hello", "stop_reason": None}]},
            {
                "outputs": [{"text": " there", "stop_reason": "stop"}],
                "amazon-bedrock-invocationMetrics": {"inputTokenCount": 16, "outputTokenCount": 11},
            },
        ],
        deltas=(0, 1),
        model=None,
    ),
    Body(
        "bedrock jurassic",
        Usage(3, 2, 5),
        whole={
            "id": 1,
            "prompt": {"text": "a b c", "tokens": [{}, {}, {}]},
            "completions": [
                {"data": {"text": "Hello there", "tokens": [{}, {}]}, "finishReason": {"reason": "endoftext"}}
            ],
        },
        model=None,
        finish_reasons=("endoftext",),
    ),
    Body(
        "voyage",
        Usage(total_tokens=12),
        whole={"object": "list", "data": [], "model": "some-model", "usage": {"total_tokens": 12}},
        text="",
        finish_reasons=(),
    ),
    Body(
        "launchdarkly",
        Usage(20, 9, 29, cached_input_tokens=4, cache_write_input_tokens=1),
        whole={"response": "Hello there", "usage": _LAUNCHDARKLY_USAGE, "track_data": {"runId": "r"}},
        events=[
            {"type": "chunk", "text": "Hello"},
            {"type": "chunk", "text": " there"},
            {
                "type": "done",
                "response": "Hello there",
                "usage": _LAUNCHDARKLY_USAGE,
                "judge_results": {"j": {"usage": {"input": 1, "output": 2, "total": 3}, "response": "Good"}},
            },
        ],
        deltas=(0, 1),
        model=None,
        finish_reasons=("done",),
    ),
]
