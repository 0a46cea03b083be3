"""What each provider answers to a checked request: a text, JSON or a tool call, with counts that no tokenizer has."""

from __future__ import annotations

import base64
import itertools
import json
from collections.abc import Callable
from typing import Any

from ..clients.answers import AMAZON, Answer, sse, whole
from ..clients.event_stream import encode
from .schemas import Body, check

INPUT, OUTPUT, TOTAL = 7317, 3863, 11180
PIECES = ["Hello", " there"]
CITY = {"city": "Oslo"}

_numbers = itertools.count(1)


def _wants_tool(body: Body) -> bool:
    """Return whether the request offers a tool, and contains no result of one."""
    results = ("tool_call_id", "function_call_output", "tool_result", "toolResult", "functionResponse")
    sent = json.dumps(body)
    return ("tools" in body or "toolConfig" in body) and not any(result in sent for result in results)


def _texts(body: Body) -> list[str]:
    """Return the pieces of the text: JSON if the request asks for it."""
    asked = {"response_format", "output_config", "outputConfig"} & set(body)
    asks = bool(asked) or "responseJsonSchema" in body.get("generationConfig", ()) or "format" in body.get("text", ())
    return [json.dumps(CITY)] if asks else PIECES


def _chat(body: Body) -> Answer:
    number = next(_numbers)
    head = {"id": f"chat-{number}", "created": 1, "model": "answering-model"}
    usage = {"prompt_tokens": INPUT, "completion_tokens": OUTPUT, "total_tokens": TOTAL}
    if body.get("stream"):
        deltas: list[dict[str, Any]] = [
            {"role": "assistant", "content": ""},
            *({"content": one} for one in _texts(body)),
        ]
        frames: list[dict[str, Any]] = [
            {"choices": [{"index": 0, "delta": one, "finish_reason": None}]} for one in deltas
        ]
        frames.append({"choices": [{"index": 0, "delta": {"content": ""}, "finish_reason": "stop"}]})
        if (body.get("stream_options") or {}).get("include_usage"):
            frames.append({"choices": [], "usage": usage})
        elif "stream_options" not in body:  # Mistral always tells it
            frames[-1]["usage"] = usage
        return sse(*({**head, "object": "chat.completion.chunk", **frame} for frame in frames), done=True)
    message: dict[str, Any] = {"role": "assistant", "content": "".join(_texts(body))}
    reason = "stop"
    if _wants_tool(body):
        function = {"name": "weather", "arguments": json.dumps(CITY)}
        message |= {"content": "", "tool_calls": [{"id": f"c{number:08}", "type": "function", "function": function}]}
        reason = "tool_calls"
    choice = {"index": 0, "message": message, "finish_reason": reason}
    return whole({**head, "object": "chat.completion", "choices": [choice], "usage": usage})


def _responses(body: Body) -> Answer:
    number = next(_numbers)
    text = {"type": "output_text", "text": "".join(_texts(body)), "annotations": []}
    message = {"id": "msg_1", "type": "message", "role": "assistant", "status": "completed", "content": [text]}
    call = {
        "type": "function_call",
        "id": "fc_1",
        "call_id": "call_1",
        "name": "weather",
        "arguments": json.dumps(CITY),
    }
    response: dict[str, Any] = {
        "id": f"resp_{number}",
        "object": "response",
        "created_at": 1,
        "status": "completed",
        "model": "answering-model",
        "output": [call if _wants_tool(body) else message],
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "usage": {
            "input_tokens": INPUT,
            "output_tokens": OUTPUT,
            "total_tokens": TOTAL,
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens_details": {"reasoning_tokens": 0},
        },
    }
    if not body.get("stream"):
        return whole(response)
    place = {"item_id": "msg_1", "output_index": 0, "content_index": 0}
    delta = {"type": "response.output_text.delta", **place, "logprobs": []}
    events: list[dict[str, Any]] = [
        {"type": "response.created", "response": {**response, "status": "in_progress", "output": [], "usage": None}},
        {"type": "response.output_item.added", "output_index": 0, "item": {**message, "content": []}},
        {"type": "response.content_part.added", **place, "part": {**text, "text": ""}},
        *({**delta, "delta": piece} for piece in _texts(body)),
        {"type": "response.completed", "response": response},
    ]
    return sse(*({**event, "sequence_number": index} for index, event in enumerate(events)), named=True)


def _messages(body: Body) -> Answer:
    number = next(_numbers)
    call = {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": CITY}
    calls = _wants_tool(body)
    message: dict[str, Any] = {
        "id": f"msg_{number}",
        "type": "message",
        "role": "assistant",
        "model": "answering-model",
        "content": [call if calls else {"type": "text", "text": "".join(_texts(body))}],
        "stop_reason": "tool_use" if calls else "end_turn",
        "stop_sequence": None,
        "usage": {"input_tokens": INPUT, "output_tokens": OUTPUT},
    }
    if not body.get("stream"):
        return whole(message)
    start = {**message, "content": [], "stop_reason": None, "usage": {"input_tokens": INPUT, "output_tokens": 1}}
    deltas = [{"type": "text_delta", "text": piece} for piece in _texts(body)]
    end = {"delta": {"stop_reason": "end_turn", "stop_sequence": None}, "usage": {"output_tokens": OUTPUT}}
    return sse(
        {"type": "message_start", "message": start},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        *({"type": "content_block_delta", "index": 0, "delta": delta} for delta in deltas),
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", **end},
        {"type": "message_stop"},
        named=True,
    )


def _invoke_stream(body: Body) -> Answer:
    """Answer as Bedrock does, with the events of the Messages API in Amazon's encoding."""
    events = (part.partition(b"data: ")[2] for part in _messages({**body, "stream": True}).parts)
    return Answer([encode("chunk", {"bytes": base64.b64encode(event).decode()}) for event in events], AMAZON)


def _gemini(body: Body, *, stream: bool = False) -> Answer:
    number = next(_numbers)
    usage = {"promptTokenCount": INPUT, "candidatesTokenCount": OUTPUT, "totalTokenCount": TOTAL}
    parts: list[dict[str, Any]] = [{"text": piece} for piece in _texts(body)]
    if _wants_tool(body):
        parts = [{"functionCall": {"name": "weather", "args": CITY}}]

    def frame(parts: list[Any], **more: Any) -> dict[str, Any]:
        candidate = {"content": {"role": "model", "parts": parts}, "index": 0, **more}
        return {"candidates": [candidate], "modelVersion": "answering-model", "responseId": f"gem-{number}"}

    last = {**frame(parts[-1:] if stream else parts, finishReason="STOP"), "usageMetadata": usage}
    return sse(*(frame([part]) for part in parts[:-1]), last) if stream else whole(last)


def _cohere(body: Body) -> Answer:
    number = next(_numbers)
    counts = {"input_tokens": INPUT, "output_tokens": OUTPUT}
    usage = {"billed_units": counts, "tokens": counts}
    if body.get("stream"):
        return sse(
            {"type": "message-start", "id": f"co-{number}", "delta": {"message": {"role": "assistant", "content": []}}},
            {"type": "content-start", "index": 0, "delta": {"message": {"content": {"type": "text", "text": ""}}}},
            *(
                {"type": "content-delta", "index": 0, "delta": {"message": {"content": {"text": piece}}}}
                for piece in _texts(body)
            ),
            {"type": "content-end", "index": 0},
            {"type": "message-end", "id": f"co-{number}", "delta": {"finish_reason": "COMPLETE", "usage": usage}},
        )
    message: dict[str, Any] = {"role": "assistant", "content": [{"type": "text", "text": "".join(_texts(body))}]}
    reason = "COMPLETE"
    if _wants_tool(body):
        function = {"name": "weather", "arguments": json.dumps(CITY)}
        message = {"role": "assistant", "tool_calls": [{"id": "call_1", "type": "function", "function": function}]}
        reason = "TOOL_CALL"
    return whole({"id": f"co-{number}", "finish_reason": reason, "message": message, "usage": usage})


_CONVERSE = {"usage": {"inputTokens": INPUT, "outputTokens": OUTPUT, "totalTokens": TOTAL}, "metrics": {"latencyMs": 1}}


def _converse(body: Body) -> Answer:
    calls = _wants_tool(body)
    use = {"toolUse": {"toolUseId": "call_1", "name": "weather", "input": CITY}}
    message = {"role": "assistant", "content": [use if calls else {"text": "".join(_texts(body))}]}
    return whole({"output": {"message": message}, "stopReason": "tool_use" if calls else "end_turn", **_CONVERSE})


def _converse_stream(body: Body) -> Answer:
    deltas = [{"contentBlockIndex": 0, "delta": {"text": piece}} for piece in _texts(body)]
    parts = [
        encode("messageStart", {"role": "assistant"}),
        *(encode("contentBlockDelta", delta) for delta in deltas),
        encode("contentBlockStop", {"contentBlockIndex": 0}),
        encode("messageStop", {"stopReason": "end_turn"}),
        encode("metadata", _CONVERSE),
    ]
    return Answer(parts, AMAZON)


_ANSWERS: tuple[tuple[str, Callable[[Body], Answer]], ...] = (
    ("/chat/completions", _chat),
    ("/responses", _responses),
    ("/messages", _messages),
    ("/invoke", _messages),
    ("/invoke-with-response-stream", _invoke_stream),
    (":rawPredict", _messages),
    (":streamRawPredict", _messages),
    (":generateContent", _gemini),
    (":streamGenerateContent", lambda body: _gemini(body, stream=True)),
    ("/v2/chat", _cohere),
    ("/converse", _converse),
    ("/converse-stream", _converse_stream),
)


def answer(path: str, body: Body) -> Answer:
    """Answer a request; with status 400, and the reason, if the provider's schema does not have it."""
    try:
        check(path, body)
    except Exception as exc:
        message = f"{type(exc).__name__}: {exc}"
        error = {"message": message, "type": "invalid_request_error", "code": 400, "status": "INVALID_ARGUMENT"}
        return Answer([json.dumps({"type": "error", "message": message, "error": error}).encode()], status=400)
    return next(answering for end, answering in _ANSWERS if path.endswith(end))(body)
