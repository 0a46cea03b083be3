"""A provider of OpenAI's, Anthropic's, Amazon's, Google's and Mistral's APIs on this machine.

A test chooses its answers by the model. Its token counts are those of no tokenizer, so that an estimate never looks
exact, and each of its responses has an id of its own.
"""

from __future__ import annotations

import itertools
import json
import re
import threading
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote

from ..clients.event_stream import encode

IN, OUT = 7317, 3863
#: A whole response with this usage.
COMPLETION = {
    "id": "c1",
    "object": "chat.completion",
    "model": "m",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hi"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": IN, "completion_tokens": OUT, "total_tokens": IN + OUT},
}


@dataclass
class Plan:
    """What a model answers.

    Attributes:
        tokens: Its input and output tokens; ``None`` if it reports none.
        usage: The usage object as it is sent, in place of ``tokens``.
        words: Its text, one word per chunk of a stream.
        tool: The name of a tool that it calls instead.
        tool_tokens: The tokens of the call that asks for the tool; if set, the model answers once it has the result.
        status: The HTTP status; from 400 on, the answer is an error.
        errors: How many requests fail before the others succeed; ``None`` if all do.
        late: How long it waits before the usage frame of a stream, in seconds.
        silent: Whether the usage frame never comes, although the connection stays open.
        pause: How long it waits before each chunk of a stream, in seconds.
        delay: How long it waits before the body of its answer, in seconds.
        breaks_after: After how many chunks of a stream the connection breaks.
        hangs_up: Whether the connection breaks before the body.
        finish_reason: Why it ends.
        encoding: The content encoding.
        usage_in_every_chunk: Whether each chunk of a stream has the usage so far.
        frames: The whole body, in place of everything else: one JSON document, or the events of a stream.
        body: The whole body as it is sent, in place of what the other fields say.
    """

    tokens: tuple[int, int] | None = (IN, OUT)
    usage: dict[str, Any] | None = None
    words: tuple[str, ...] = ("Hello", " there")
    tool: str = ""
    tool_tokens: tuple[int, int] | None = None
    status: int = 200
    errors: int | None = None
    late: float = 0.0
    silent: bool = False
    pause: float = 0.0
    delay: float = 0.0
    breaks_after: int | None = None
    hangs_up: bool = False
    finish_reason: str = "stop"
    encoding: str = ""
    usage_in_every_chunk: bool = False
    frames: list[dict[str, Any]] | None = None
    body: bytes | None = None


_BREAK = "break"
Step = bytes | float | str


class Text(bytes):
    """A part of a stream that has text or a tool call."""


@dataclass
class Provider:
    """The server, its plans by model, the requests that it got, and when it sent the first text since the last plan."""

    url: str
    plans: dict[str, Plan] = field(default_factory=dict)
    requests: list[dict[str, Any]] = field(default_factory=list)
    first_text_at: float | None = None
    released: threading.Event = field(default_factory=threading.Event)
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    def serve(self, model: str = "gpt-4o-mini", **plan: Any) -> Plan:
        """Choose what a model answers."""
        self.plans[model] = Plan(**plan)
        self.first_text_at = None
        return self.plans[model]

    def note_sent(self, step: bytes) -> None:
        """Note the time of the first text."""
        if isinstance(step, Text) and self.first_text_at is None:
            self.first_text_at = time.perf_counter()

    def answer(self, path: str, request: dict[str, Any]) -> tuple[int, str, str, list[Step]]:
        """Return status, content type, content encoding and body of an answer."""
        model = request.get("model") or unquote(re.split("/models?/", path)[-1].split("/")[0].split(":")[0])
        plan = self.plans.get(model, Plan())
        self.requests.append(request)
        number = next(self._numbers)
        if plan.tool_tokens is not None:
            plan = _step_of_loop(plan, request)
        if plan.status >= 400 and (plan.errors is None or plan.errors > 0):
            plan.errors = plan.errors - 1 if plan.errors is not None else None
            error = {"type": "error", "error": {"type": "overloaded", "message": "no", "code": "no"}, "message": "no"}
            return plan.status, "application/json", "", [json.dumps(error).encode()]
        if plan.frames is not None:
            steps: list[Step] = [_sse(frame) for frame in plan.frames]
            kind = "text/event-stream"
            if len(steps) == 1:
                steps, kind = [json.dumps(plan.frames[0]).encode()], "application/json"
        elif path.endswith("/messages"):
            steps, kind = _messages(plan, request, model, number)
        elif path.endswith("/responses"):
            steps, kind = _responses(plan, request, model, number)
        elif "/converse" in path:
            steps, kind = _bedrock(plan, number, streams=path.endswith("-stream"))
        elif path.endswith((":generateContent", ":streamGenerateContent")):
            steps, kind = _generate(plan, model, number, streams=":stream" in path)
        elif path.endswith("/embeddings"):
            steps, kind = [json.dumps(_embeddings(plan, model)).encode()], "application/json"
        else:
            # Mistral reports the usage of every stream.
            asks = "/mistral/" in path or bool((request.get("stream_options") or {}).get("include_usage"))
            steps, kind = _chat(plan, request, model, number, asks=asks)
        return 200, kind, plan.encoding, _with_faults(plan, steps)


def _with_faults(plan: Plan, steps: list[Step]) -> list[Step]:
    steps = [_BREAK] if plan.hangs_up else [plan.body] if plan.body is not None else steps
    return [plan.delay, *steps] if plan.delay else steps


def _step_of_loop(plan: Plan, request: dict[str, Any]) -> Plan:
    """Return what a model answers in a tool loop: it calls the tool until it sees a result."""
    sent = json.dumps(request)
    signs = ('"role": "tool"', '"tool_result"', '"toolResult"', '"function_call_output"', '"functionResponse"')
    if any(sign in sent for sign in signs):
        return replace(plan, tool="", tool_tokens=None)
    return replace(plan, tokens=plan.tool_tokens, tool_tokens=None)


def _usage(plan: Plan, *names: str) -> dict[str, Any]:
    if plan.usage is not None:
        return plan.usage
    if plan.tokens is None:
        return {}
    counts = (*plan.tokens, sum(plan.tokens))
    return dict(zip(names, counts, strict=False))


def _chat(plan: Plan, request: dict[str, Any], model: str, number: int, *, asks: bool) -> tuple[list[Step], str]:
    head = {"id": f"chatcmpl-{number:08}", "object": "chat.completion", "created": 1, "model": f"{model}-2024-07-18"}
    usage = _usage(plan, "prompt_tokens", "completion_tokens", "total_tokens")
    calls = [{"id": f"call_{number}", "type": "function", "function": {"name": plan.tool, "arguments": "{}"}}]
    if not request.get("stream"):
        message: dict[str, Any] = {"role": "assistant", "content": None if plan.tool else "".join(plan.words)}
        if plan.tool:
            message["tool_calls"] = calls
        choice = {"index": 0, "message": message, "finish_reason": "tool_calls" if plan.tool else plan.finish_reason}
        return [json.dumps({**head, "choices": [choice], **({"usage": usage} if usage else {})}).encode()], (
            "application/json"
        )
    head["object"] = "chat.completion.chunk"
    deltas: list[dict[str, Any]] = [{"role": "assistant", "content": ""}]
    deltas += [{"tool_calls": [{"index": 0, **calls[0]}]}] if plan.tool else [{"content": word} for word in plan.words]
    steps: list[Step] = []
    for index, delta in enumerate(deltas):
        if plan.breaks_after is not None and index >= plan.breaks_after:
            return [*steps, _BREAK], "text/event-stream"
        steps += [plan.pause] if plan.pause else []
        frame: dict[str, Any] = {**head, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]}
        if plan.usage_in_every_chunk:
            so_far = {**usage, "completion_tokens": index, "total_tokens": usage["prompt_tokens"] + index}
            frame["usage"] = so_far
        steps.append(Text(_sse(frame)) if index else _sse(frame))
    last = {"index": 0, "delta": {}, "finish_reason": "tool_calls" if plan.tool else plan.finish_reason}
    steps.append(_sse({**head, "choices": [last], **({"usage": usage} if plan.usage_in_every_chunk else {})}))
    if asks and usage:
        steps += [plan.late] if plan.late else []
        steps += ["silence"] if plan.silent else []
        steps.append(_sse({**head, "choices": [], "usage": usage}))
    return [*steps, b"data: [DONE]\n\n"], "text/event-stream"


def _messages(plan: Plan, request: dict[str, Any], model: str, number: int) -> tuple[list[Step], str]:
    usage = _usage(plan, "input_tokens", "output_tokens")
    message: dict[str, Any] = {
        "id": f"msg_{number:08}",
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": [{"type": "text", "text": "".join(plan.words)}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": usage,
    }
    if plan.tool:
        message["content"] = [{"type": "tool_use", "id": f"toolu_{number}", "name": plan.tool, "input": {}}]
        message["stop_reason"] = "tool_use"
    if not request.get("stream"):
        return [json.dumps(message).encode()], "application/json"
    start = {**message, "content": [], "stop_reason": None, "usage": {**usage, "output_tokens": 1}}
    deltas = [{"type": "text_delta", "text": word} for word in plan.words]
    block: dict[str, Any] = {"type": "text", "text": ""}
    if plan.tool:
        deltas, block = [{"type": "input_json_delta", "partial_json": "{}"}], message["content"][0]
    events: list[dict[str, Any]] = [
        {"type": "message_start", "message": start},
        {"type": "content_block_start", "index": 0, "content_block": block},
        *({"type": "content_block_delta", "index": 0, "delta": delta} for delta in deltas),
        {"type": "content_block_stop", "index": 0},
        {
            "type": "message_delta",
            "delta": {"stop_reason": message["stop_reason"], "stop_sequence": None},
            "usage": {"output_tokens": 0, **usage},  # cumulative, with the input
        },
        {"type": "message_stop"},
    ]
    if plan.breaks_after is not None:
        return [*(_sse(event) for event in events[: 2 + plan.breaks_after]), _BREAK], "text/event-stream"
    steps: list[Step] = []
    for event in events:
        has_text = event["type"] == "content_block_delta"
        steps += [plan.pause] if plan.pause and has_text else []
        steps.append(Text(_sse(event)) if has_text else _sse(event))
    return steps, "text/event-stream"


def _responses(plan: Plan, request: dict[str, Any], model: str, number: int) -> tuple[list[Step], str]:
    said = {"type": "output_text", "text": "".join(plan.words), "annotations": []}
    item: dict[str, Any] = {"id": f"msg_{number:08}", "type": "message", "role": "assistant", "content": [said]}
    if plan.tool:
        item = {"id": f"fc_{number:08}", "type": "function_call", "call_id": f"call_{number}", "name": plan.tool}
        item["arguments"] = "{}"
    usage = _usage(plan, "input_tokens", "output_tokens", "total_tokens")
    details = {"input_tokens_details": {"cached_tokens": 0}, "output_tokens_details": {"reasoning_tokens": 0}}
    response: dict[str, Any] = {
        "id": f"resp_{number:08}",
        "object": "response",
        "created_at": 1,
        "status": "completed",
        "model": f"{model}-2024-07-18",
        "output": [{**item, "status": "completed"}],
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "usage": {**details, **usage} if usage else None,
    }
    if not request.get("stream"):
        return [json.dumps(response).encode()], "application/json"
    begun = {**response, "status": "in_progress", "output": [], "usage": None}
    place = {"item_id": item["id"], "output_index": 0}
    part = {**place, "content_index": 0}
    if plan.tool:
        deltas = [{"type": "response.function_call_arguments.delta", **place, "delta": "{}"}]
        opened = {**item, "arguments": "", "status": "in_progress"}
        closed = [{"type": "response.function_call_arguments.done", **place, "name": plan.tool, "arguments": "{}"}]
    else:
        deltas = [{"type": "response.output_text.delta", **part, "delta": word, "logprobs": []} for word in plan.words]
        opened = {**item, "content": [], "status": "in_progress"}
        closed = [{"type": "response.output_text.done", **part, "text": said["text"], "logprobs": []}]
    events: list[dict[str, Any]] = [
        {"type": "response.created", "response": begun},
        {"type": "response.output_item.added", "output_index": 0, "item": opened},
        *([] if plan.tool else [{"type": "response.content_part.added", **part, "part": {**said, "text": ""}}]),
        *deltas,
        *closed,
        {"type": "response.output_item.done", "output_index": 0, "item": response["output"][0]},
        {"type": "response.completed", "response": response},
    ]
    steps: list[Step] = []
    seen = 0
    for sequence, event in enumerate(events):
        if event["type"].endswith(".delta"):
            if seen == plan.breaks_after:
                return [*steps, _BREAK], "text/event-stream"
            seen += 1
            steps += [plan.pause] if plan.pause else []
        sent = _sse({**event, "sequence_number": sequence})
        steps.append(Text(sent) if event["type"].endswith(".delta") else sent)
    return steps, "text/event-stream"


def _bedrock(plan: Plan, number: int, *, streams: bool) -> tuple[list[Step], str]:
    if streams:
        return _converse_stream(plan, number), "application/vnd.amazon.eventstream"
    return [json.dumps(_converse(plan, number)).encode()], "application/json"


def _converse(plan: Plan, number: int) -> dict[str, Any]:
    content: dict[str, Any] = {"text": "".join(plan.words)}
    if plan.tool:
        content = {"toolUse": {"toolUseId": f"tooluse_{number}", "name": plan.tool, "input": {}}}
    message = {"role": "assistant", "content": [content]}
    usage = _usage(plan, "inputTokens", "outputTokens", "totalTokens")
    stop = "tool_use" if plan.tool else "end_turn"
    return {"output": {"message": message}, "stopReason": stop, "usage": usage, "metrics": {"latencyMs": 1}}


def _converse_stream(plan: Plan, number: int) -> list[Step]:
    steps: list[Step] = [encode("messageStart", {"role": "assistant"})]
    deltas: list[dict[str, Any]] = [{"text": word} for word in plan.words]
    if plan.tool:
        tool = {"toolUse": {"toolUseId": f"tooluse_{number}", "name": plan.tool}}
        steps.append(encode("contentBlockStart", {"contentBlockIndex": 0, "start": tool}))
        deltas = [{"toolUse": {"input": "{}"}}]
    for delta in deltas:
        steps += [plan.pause] if plan.pause else []
        steps.append(Text(encode("contentBlockDelta", {"contentBlockIndex": 0, "delta": delta})))
    stop = "tool_use" if plan.tool else "end_turn"
    steps += [encode("contentBlockStop", {"contentBlockIndex": 0}), encode("messageStop", {"stopReason": stop})]
    steps += [plan.late] if plan.late else []
    steps += ["silence"] if plan.silent else []
    usage = _usage(plan, "inputTokens", "outputTokens", "totalTokens")
    return [*steps, encode("metadata", {"usage": usage, "metrics": {"latencyMs": 1}})]


def _generate(plan: Plan, model: str, number: int, *, streams: bool) -> tuple[list[Step], str]:
    parts: list[dict[str, Any]] = [{"text": word} for word in plan.words]
    if plan.tool:
        parts = [{"functionCall": {"name": plan.tool, "args": {}}}]
    chunks = [[part] for part in parts] if streams else [parts]
    steps: list[Step] = []
    for index, chunk in enumerate(chunks, 1):
        candidate: dict[str, Any] = {"content": {"role": "model", "parts": chunk}, "index": 0}
        usage = _usage(plan, "promptTokenCount", "candidatesTokenCount", "totalTokenCount")
        if index == len(chunks):
            candidate["finishReason"] = "STOP"
        elif plan.tokens is not None:  # running totals
            so_far = plan.tokens[1] * index // len(chunks)
            usage = {**usage, "candidatesTokenCount": so_far, "totalTokenCount": plan.tokens[0] + so_far}
        body = {
            "candidates": [candidate],
            "usageMetadata": usage,
            "modelVersion": model,
            "responseId": f"g-{number:08}",
        }
        steps += [plan.pause] if plan.pause and streams else []
        steps.append(Text(_sse(body)) if streams else json.dumps(body).encode())
    return steps, "text/event-stream" if streams else "application/json"


def _embeddings(plan: Plan, model: str) -> dict[str, Any]:
    usage = {"prompt_tokens": plan.tokens[0], "total_tokens": plan.tokens[0]} if plan.tokens else {}
    data = [{"object": "embedding", "index": 0, "embedding": [0.0, 0.0]}]
    return {"object": "list", "data": data, "model": model, "usage": usage}


def _sse(event: dict[str, Any]) -> bytes:
    name = f"event: {event['type']}\n" if "type" in event else ""
    return f"{name}data: {json.dumps(event)}\n\n".encode()


@contextmanager
def serving() -> Iterator[Provider]:
    """Serve until the block ends."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            status, kind, encoding, steps = provider.answer(self.path.partition("?")[0], json.loads(body))
            self.send_response(status)
            self.send_header("content-type", kind)
            if encoding:
                self.send_header("content-encoding", encoding)
                steps = list(_compressed(encoding, steps))
            self.send_header("transfer-encoding", "chunked")
            self.end_headers()
            try:
                self._send(steps)
            except OSError:  # the client has gone
                pass

        def _send(self, steps: list[Step]) -> None:
            for step in steps:
                if isinstance(step, bytes):
                    provider.note_sent(step)
                    self.wfile.write(b"%x\r\n%b\r\n" % (len(step), step))
                elif isinstance(step, float):
                    time.sleep(step)
                elif step == "silence":
                    provider.released.wait(20)
                else:  # no last chunk
                    self.close_connection = True
                    return
            self.wfile.write(b"0\r\n\r\n")

        def log_message(self, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.handle_error = lambda *_: None  # type: ignore[method-assign]  # a client may go at any time
    provider = Provider(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield provider
    finally:
        provider.released.set()
        server.shutdown()
        thread.join()
        server.server_close()


def _compressed(encoding: str, steps: list[Step]) -> Iterator[Step]:
    if encoding not in ("gzip", "deflate"):
        yield from steps
        return
    compress = zlib.compressobj(wbits=31 if encoding == "gzip" else 15)
    for step in steps:
        if isinstance(step, bytes):
            yield compress.compress(step) + compress.flush(zlib.Z_SYNC_FLUSH)
        else:
            yield step
    yield compress.flush()
