"""What each provider answers on the wire, by its documentation: always "Hello there", 20 tokens in and 9 out."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from .event_stream import encode

JSON, SSE, AMAZON = "application/json", "text/event-stream", "application/vnd.amazon.eventstream"


@dataclass
class Answer:
    """An HTTP answer. The parts of its body are sent one by one."""

    parts: list[bytes]
    content_type: str = JSON
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)


Answering = Callable[[dict[str, Any]], Answer]


def whole(body: Any, **headers: str) -> Answer:
    """Answer with one JSON document."""
    return Answer([json.dumps(body).encode()], headers={name.replace("_", "-"): text for name, text in headers.items()})


def sse(*events: Any, named: bool = False, done: bool = False) -> Answer:
    """Answer with Server-Sent Events."""
    parts = [
        (f"event: {event['type']}\n" if named else "").encode() + f"data: {json.dumps(event)}\n\n".encode()
        for event in events
    ]
    return Answer(parts + ([b"data: [DONE]\n\n"] if done else []), SSE)


_CHAT_USAGE = {"prompt_tokens": 20, "completion_tokens": 9, "total_tokens": 29}
_USAGE = {"input_tokens": 20, "output_tokens": 9}
_TOOL_CALL = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"city":"Oslo"}'}}


def chat(request: dict[str, Any]) -> Answer:
    """Answer as OpenAI's chat completions do; a stream tells its usage only if it is asked for."""
    head = {"id": "chatcmpl-1", "created": 1, "model": "gpt-4o-mini-2024-07-18"}
    if not request.get("stream"):
        message: dict[str, Any] = {"role": "assistant", "content": "Hello there", "refusal": None}
        if request.get("tools"):
            message["tool_calls"] = [_TOOL_CALL]
        choice = {"index": 0, "message": message, "finish_reason": "stop", "logprobs": None}
        return whole({**head, "object": "chat.completion", "choices": [choice], "usage": _CHAT_USAGE})
    head["object"] = "chat.completion.chunk"
    deltas: list[dict[str, Any]] = [{"role": "assistant", "content": ""}, {"content": "Hello"}, {"content": " there"}]
    if request.get("tools"):
        deltas.append({"tool_calls": [{"index": 0, **_TOOL_CALL}]})
    choices = [{"index": 0, "delta": delta, "finish_reason": None} for delta in deltas]
    frames: list[dict[str, Any]] = [{**head, "choices": [choice]} for choice in choices]
    frames.append({**head, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
    return sse(*_with_usage(request, head, frames), done=True)


def _with_usage(request: dict[str, Any], head: dict[str, Any], frames: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Add the usage to the chunks of a stream as OpenAI does, if it is asked for: all but the last have ``null``."""
    if not (request.get("stream_options") or {}).get("include_usage"):
        return frames
    return [*({**frame, "usage": None} for frame in frames), {**head, "choices": [], "usage": _CHAT_USAGE}]


def completion(request: dict[str, Any]) -> Answer:
    """Answer as OpenAI's completions do."""
    head = {"id": "cmpl-1", "object": "text_completion", "created": 1, "model": "gpt-3.5-turbo-instruct"}
    if not request.get("stream"):
        choice = {"index": 0, "text": "Hello there", "finish_reason": "stop", "logprobs": None}
        return whole({**head, "choices": [choice], "usage": _CHAT_USAGE})
    parts = (("Hello", None), (" there", "stop"))
    choices = [{"index": 0, "text": text, "finish_reason": reason} for text, reason in parts]
    return sse(*_with_usage(request, head, [{**head, "choices": [choice]} for choice in choices]), done=True)


def responses(request: dict[str, Any]) -> Answer:
    """Answer as OpenAI's Responses API does."""
    text = {"type": "output_text", "text": "Hello there", "annotations": []}
    message = {"id": "msg_1", "type": "message", "role": "assistant", "status": "completed", "content": [text]}
    response: dict[str, Any] = {
        "id": "resp_1",
        "object": "response",
        "created_at": 1,
        "status": "completed",
        "model": "gpt-4o-mini-2024-07-18",
        "output": [message],
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "usage": {
            **_USAGE,
            "total_tokens": 29,
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens_details": {"reasoning_tokens": 0},
        },
    }
    if not request.get("stream"):
        return whole(response)
    begun = {**response, "status": "in_progress", "output": [], "usage": None}
    place = {"item_id": "msg_1", "output_index": 0, "content_index": 0}
    part = {**text, "text": ""}
    events: list[dict[str, Any]] = [
        {"type": "response.created", "response": begun},
        {"type": "response.output_item.added", "output_index": 0, "item": {**message, "content": []}},
        {"type": "response.content_part.added", **place, "part": part},
        {"type": "response.output_text.delta", **place, "delta": "Hello", "logprobs": []},
        {"type": "response.output_text.delta", **place, "delta": " there", "logprobs": []},
        {"type": "response.output_text.done", **place, "text": "Hello there", "logprobs": []},
        {"type": "response.completed", "response": response},
    ]
    return sse(*({**event, "sequence_number": number} for number, event in enumerate(events)), named=True)


def openai_embeddings(request: dict[str, Any]) -> Answer:
    """Answer as OpenAI's embeddings do."""
    vector = base64.b64encode(bytes(8)).decode() if request.get("encoding_format") == "base64" else [0.0, 0.0]
    data = [{"object": "embedding", "index": 0, "embedding": vector}]
    usage = {"prompt_tokens": 20, "total_tokens": 20}
    return whole({"object": "list", "data": data, "model": "text-embedding-3-small", "usage": usage})


def messages(request: dict[str, Any]) -> Answer:
    """Answer as Anthropic's Messages API does; a tool is called once, and its result answered."""
    message: dict[str, Any] = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "claude-for-tests",
        "content": [{"type": "text", "text": "Hello there"}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": _USAGE,
    }
    if request.get("tools") and request["messages"][-1]["role"] == "user" and len(request["messages"]) == 1:
        call = {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {"city": "Oslo"}}
        message = {**message, "id": "msg_0", "content": [call], "stop_reason": "tool_use"}
    if not request.get("stream"):
        return whole(message)
    start = {**message, "content": [], "stop_reason": None, "usage": {"input_tokens": 20, "output_tokens": 1}}
    deltas = [{"type": "text_delta", "text": text} for text in ("Hello", " there")]
    return sse(
        {"type": "message_start", "message": start},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "ping"},
        *({"type": "content_block_delta", "index": 0, "delta": delta} for delta in deltas),
        {"type": "content_block_stop", "index": 0},
        {
            "type": "message_delta",
            "delta": {"stop_reason": "end_turn", "stop_sequence": None},
            "usage": {"output_tokens": 9},
        },
        {"type": "message_stop"},
        named=True,
    )


def _gemini(text: str | None, output_tokens: int | None, call: bool = False) -> dict[str, Any]:
    part = {"functionCall": {"name": "weather", "args": {"city": "Oslo"}}} if call else {"text": text}
    usage = {"promptTokenCount": 20, "totalTokenCount": 20 + (output_tokens or 0)}
    if output_tokens is not None:
        usage["candidatesTokenCount"] = output_tokens
    return {
        "candidates": [{"content": {"role": "model", "parts": [part]}, "finishReason": "STOP", "index": 0}],
        "usageMetadata": usage,
        "modelVersion": "gemini-2.5-flash",
        "responseId": "gem-0" if call else "gem-1",
    }


def gemini(request: dict[str, Any]) -> Answer:
    """Answer as Gemini's generateContent does; a function is called once, and its result answered."""
    return whole(_gemini("Hello there", 9, call=bool(request.get("tools")) and len(request["contents"]) == 1))


def gemini_stream(request: dict[str, Any]) -> Answer:
    """Answer as Gemini's streamGenerateContent does, with running totals."""
    return sse(_gemini("Hello", 4), _gemini(" there", 9))


def gemini_embeddings(request: dict[str, Any]) -> Answer:
    """Answer as Gemini's batchEmbedContents does, which tells no usage."""
    return whole({"embeddings": [{"values": [0.0, 0.0]}]})


def mistral(request: dict[str, Any]) -> Answer:
    """Answer as Mistral's chat does; the last chunk of a stream has the usage."""
    head: dict[str, Any] = {"id": "mis-1", "created": 1, "model": "mistral-small-latest"}
    if not request.get("stream"):
        choice = {"index": 0, "message": {"role": "assistant", "content": "Hello there"}, "finish_reason": "stop"}
        return whole({**head, "object": "chat.completion", "choices": [choice], "usage": _CHAT_USAGE})
    deltas = ({"role": "assistant", "content": ""}, {"content": "Hello"}, {"content": " there"})
    choices = [{"index": 0, "delta": delta, "finish_reason": None} for delta in deltas]
    last = {"index": 0, "delta": {"content": ""}, "finish_reason": "stop"}
    frames: list[dict[str, Any]] = [{**head, "object": "chat.completion.chunk", "choices": [one]} for one in choices]
    frames.append({**head, "object": "chat.completion.chunk", "choices": [last], "usage": _CHAT_USAGE})
    return sse(*frames, done=True)


def mistral_embeddings(request: dict[str, Any]) -> Answer:
    """Answer as Mistral's embeddings do."""
    usage = {"prompt_tokens": 20, "completion_tokens": 0, "total_tokens": 20}
    data = [{"object": "embedding", "index": 0, "embedding": [0.0, 0.0]}]
    return whole({"id": "emb-1", "object": "list", "data": data, "model": "mistral-embed", "usage": usage})


_INTERACTION_USAGE = {"total_input_tokens": 20, "total_output_tokens": 9, "total_tokens": 29}


def interaction(request: dict[str, Any]) -> Answer:
    """Answer as Gemini's Interactions API does."""
    body: dict[str, Any] = {"id": "int-1", "object": "interaction", "status": "completed", "model": "gemini-2.5-flash"}
    done = {**body, "usage": _INTERACTION_USAGE}
    step = {"type": "model_output", "content": [{"type": "text", "text": "Hello there"}]}
    if not request.get("stream"):
        return whole({**done, "steps": [step]})
    begun = {**body, "status": "in_progress"}
    return sse(
        {"event_type": "interaction.created", "interaction": begun},
        {"event_type": "interaction.status_update", "interaction_id": "int-1", "status": "in_progress"},
        {"event_type": "step.start", "index": 0, "step": {"type": "model_output"}},
        {"event_type": "step.delta", "index": 0, "delta": {"type": "text", "text": "Hello"}},
        {"event_type": "step.delta", "index": 0, "delta": {"type": "text", "text": " there"}},
        {"event_type": "step.stop", "index": 0},
        {"event_type": "interaction.completed", "interaction": done},
    )


def conversation(request: dict[str, Any]) -> Answer:
    """Answer as Mistral's Conversations API does."""
    usage = {**_CHAT_USAGE, "connector_tokens": None, "connectors": None}
    entry = {"object": "entry", "type": "message.output", "id": "msg-1", "role": "assistant", "content": "Hello there"}
    entry["model"] = "mistral-small-latest"
    if not request.get("stream"):
        body = {"object": "conversation.response", "conversation_id": "conv-1", "outputs": [entry], "usage": usage}
        return whole(body)
    piece = {"id": "msg-1", "role": "assistant", "output_index": 0, "content_index": 0, "model": entry["model"]}
    return sse(
        {"type": "conversation.response.started", "conversation_id": "conv-1"},
        {"type": "message.output.delta", **piece, "content": "Hello"},
        {"type": "message.output.delta", **piece, "content": " there"},
        {"type": "conversation.response.done", "usage": usage},
        named=True,
    )


_BILLED = {"billed_units": _USAGE, "tokens": _USAGE}


def cohere_v2(request: dict[str, Any]) -> Answer:
    """Answer as Cohere's chat does."""
    if not request.get("stream"):
        message = {"role": "assistant", "content": [{"type": "text", "text": "Hello there"}]}
        return whole({"id": "co-1", "finish_reason": "COMPLETE", "message": message, "usage": _BILLED})
    return sse(
        {"type": "message-start", "id": "co-1", "delta": {"message": {"role": "assistant", "content": []}}},
        {"type": "content-start", "index": 0, "delta": {"message": {"content": {"type": "text", "text": ""}}}},
        {"type": "content-delta", "index": 0, "delta": {"message": {"content": {"text": "Hello"}}}},
        {"type": "content-delta", "index": 0, "delta": {"message": {"content": {"text": " there"}}}},
        {"type": "content-end", "index": 0},
        {"type": "message-end", "id": "co-1", "delta": {"finish_reason": "COMPLETE", "usage": _BILLED}},
    )


def cohere_v1(request: dict[str, Any]) -> Answer:
    """Answer as Cohere's first chat API does, which streams lines of JSON."""
    body = {"response_id": "co-1", "generation_id": "gen-1", "text": "Hello there", "finish_reason": "COMPLETE"}
    body = {**body, "chat_history": [], "meta": _BILLED}  # type: ignore[dict-item]
    if not request.get("stream"):
        return whole(body)
    events = [
        {"event_type": "stream-start", "generation_id": "gen-1", "is_finished": False},
        {"event_type": "text-generation", "text": "Hello", "is_finished": False},
        {"event_type": "text-generation", "text": " there", "is_finished": False},
        {"event_type": "stream-end", "finish_reason": "COMPLETE", "response": body, "is_finished": True},
    ]
    return Answer([json.dumps(event).encode() + b"\n" for event in events], "application/stream+json")


def cohere_embeddings(request: dict[str, Any]) -> Answer:
    """Answer as Cohere's embed does."""
    billed = {"api_version": {"version": "2"}, "billed_units": {"input_tokens": 20}}
    vectors = {"float": [[0.0, 0.0]]}
    by_type = {"id": "e-1", "response_type": "embeddings_by_type", "texts": ["a"], "embeddings": vectors}
    return whole({**by_type, "meta": billed})


_CONVERSE_USAGE = {"inputTokens": 20, "outputTokens": 9, "totalTokens": 29}


def converse(request: dict[str, Any]) -> Answer:
    """Answer as Bedrock's Converse does."""
    message = {"role": "assistant", "content": [{"text": "Hello there"}]}
    usage = {"usage": _CONVERSE_USAGE, "metrics": {"latencyMs": 9}}
    return whole({"output": {"message": message}, "stopReason": "end_turn", **usage})


def converse_stream(request: dict[str, Any]) -> Answer:
    """Answer as Bedrock's ConverseStream does, with the usage after the stop."""
    deltas = [{"contentBlockIndex": 0, "delta": {"text": text}} for text in ("Hello", " there")]
    parts = [
        encode("messageStart", {"role": "assistant"}),
        *(encode("contentBlockDelta", delta) for delta in deltas),
        encode("contentBlockStop", {"contentBlockIndex": 0}),
        encode("messageStop", {"stopReason": "end_turn"}),
        encode("metadata", {"usage": _CONVERSE_USAGE, "metrics": {"latencyMs": 9}}),
    ]
    return Answer(parts, AMAZON)


def invoke_claude(request: dict[str, Any]) -> Answer:
    """Answer as Bedrock's InvokeModel does for Claude, which counts in its body."""
    return messages({**request, "stream": False})


def invoke_mistral(request: dict[str, Any]) -> Answer:
    """Answer as Bedrock's InvokeModel does for Mistral, which counts in the headers only."""
    body = {"outputs": [{"text": "Hello there", "stop_reason": "stop"}]}
    return whole(body, X_Amzn_Bedrock_Input_Token_Count="20", X_Amzn_Bedrock_Output_Token_Count="9")


def invoke_claude_stream(request: dict[str, Any]) -> Answer:
    """Answer as Bedrock's InvokeModelWithResponseStream does for Claude."""
    events = [json.loads(part.split(b"data: ")[1]) for part in messages({**request, "stream": True}).parts]
    metrics = {"inputTokenCount": 20, "outputTokenCount": 9, "invocationLatency": 9, "firstByteLatency": 3}
    events[-1]["amazon-bedrock-invocationMetrics"] = metrics
    chunks = ({"bytes": base64.b64encode(json.dumps(event).encode()).decode()} for event in events)
    return Answer([encode("chunk", chunk) for chunk in chunks], AMAZON)


#: Ends of paths, the first that fits.
ANSWERS: tuple[tuple[str, Answering], ...] = (
    ("/openai/v1/chat/completions", chat),
    ("/deployments/gpt-4o-mini/chat/completions", chat),
    ("/openai/v1/completions", completion),
    ("/openai/v1/responses", responses),
    ("/openai/v1/embeddings", openai_embeddings),
    ("/anthropic/v1/messages", messages),
    (":generateContent", gemini),
    (":streamGenerateContent", gemini_stream),
    ("mbedContents", gemini_embeddings),
    ("/interactions", interaction),
    ("/mistral/v1/conversations", conversation),
    ("/mistral/v1/conversations/conv-1", conversation),
    ("/mistral/v1/chat/completions", mistral),
    ("/mistral/v1/embeddings", mistral_embeddings),
    ("/cohere/v2/chat", cohere_v2),
    ("/cohere/v1/chat", cohere_v1),
    ("/embed", cohere_embeddings),
    ("/converse", converse),
    ("/converse-stream", converse_stream),
    ("mistral.mistral-7b/invoke", invoke_mistral),
    ("/invoke", invoke_claude),
    ("/invoke-with-response-stream", invoke_claude_stream),
)
