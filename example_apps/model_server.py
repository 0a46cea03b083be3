"""A fake OpenAI-compatible model server: it implements the wire format without a model.

Run it with ``uvicorn ldai_integrations._example_apps.model_server:app --port 8099``, and set
``OPENAI_BASE_URL=http://127.0.0.1:8099/v1`` for the ``openai`` package. It answers ``POST /v1/chat/completions`` with
or without a stream. The answer depends on the request only:

* It repeats the question and adds a text, which is longer for ``gpt-4.1``.
* If the request contains tools and no tool result, it calls the first tool.
* ``#fail`` in the question: status 500. ``#break``: an error in the middle of a stream. ``#slow``: a stream of many
  seconds.

``GET /bill`` lists every call with its input tokens, its output tokens and its duration, so that reported usage can be
checked. Tokens are counted with another rule than tiktoken's, so that an estimate differs from the usage.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections import deque
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from starlette.applications import Starlette
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.requests import Request

JSON = dict[str, Any]

FIRST_TOKEN_SECONDS = 0.04
TOKEN_SECONDS = 0.003
SLOW_TOKEN_SECONDS = 0.03

SHORT = "Your parcel is on its way. You can follow it under My Orders, and send it back within thirty days."
LONG = f"{SHORT} Refunds reach your account three to five days after we have the parcel. The label is free of charge."


@dataclass(slots=True)
class Call:
    """One call in the bill: its input tokens, its output tokens so far, and its times in milliseconds."""

    id: str
    model: str
    question: str
    prompt_tokens: int
    completion_tokens: int = 0
    first_token_ms: float = 0.0
    duration_ms: float = 0.0
    state: Literal["open", "complete", "failed", "broken", "abandoned"] = "open"
    began: float = field(default_factory=time.monotonic)

    def write(self, tokens: int) -> None:
        """Add output tokens to the bill; the first ones set the time to first token."""
        self.first_token_ms = self.first_token_ms or 1000 * (time.monotonic() - self.began)
        self.completion_tokens += tokens

    def end(self, state: Literal["complete", "failed", "broken", "abandoned"]) -> None:
        """Set the final state and the duration."""
        self.state = state
        self.duration_ms = 1000 * (time.monotonic() - self.began)

    def usage(self) -> JSON:
        """Return the usage in OpenAI's format."""
        return {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
            "total_tokens": self.prompt_tokens + self.completion_tokens,
            "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0},
        }


def create_app() -> Starlette:
    """Return a model server with an empty bill."""
    app = Starlette(routes=[Route("/v1/chat/completions", complete, methods=["POST"]), Route("/bill", show_bill)])
    app.state.bill = deque(maxlen=10_000)
    return app


async def show_bill(request: Request) -> Response:
    """Return all calls."""
    return JSONResponse([asdict(call) for call in request.app.state.bill])


async def complete(request: Request) -> Response:
    """Answer a request for a chat completion."""
    body: JSON = await request.json()
    if not body.get("model") or not body.get("messages"):
        return error(400, "'model' and 'messages' are required.", "invalid_request_error")
    questions = [str(message["content"]) for message in body["messages"] if message["role"] == "user"]
    bill: deque[Call] = request.app.state.bill
    call = Call(f"chatcmpl-{len(bill) + 1}", body["model"], questions[-1] if questions else "", count_prompt(body))
    bill.append(call)
    if "#fail" in call.question:
        call.end("failed")
        return error(500, "The server had an error while processing your request.", "server_error")
    if body.get("stream"):
        return StreamingResponse(stream(call, body), media_type="text/event-stream")
    return JSONResponse(await completion(call, body))


def error(status: int, message: str, kind: str) -> JSONResponse:
    """Return an error in OpenAI's format that tells the client not to retry, so that one failure is one call."""
    content = {"error": {"message": message, "type": kind, "param": None, "code": None}}
    return JSONResponse(content, status, headers={"x-should-retry": "false"})


def tokens(text: str) -> list[str]:
    """Split a text into tokens: up to four letters or digits, or one other character."""
    return re.findall(r"\s*(?:\w{1,4}|[^\w\s])|\s+$", text)


def count_prompt(body: JSON) -> int:
    """Count the tokens of a request: four for each message, its text, and the tools."""
    texts = [str(message.get("content") or "") for message in body["messages"]]
    offered = json.dumps(body["tools"]) if body.get("tools") else ""
    return 4 * len(texts) + sum(len(tokens(text)) for text in [*texts, offered])


def answer(body: JSON, question: str) -> str:
    """Return the answer to a question."""
    text = f"You asked: {question} {LONG if body['model'] == 'gpt-4.1' else SHORT}"
    return " ".join([text] * 20) if "#slow" in question else text


def tool_call(body: JSON) -> JSON | None:
    """Return a call of the first tool; ``None`` without tools, or after a tool result."""
    offered, messages = body.get("tools"), body["messages"]
    if not offered or messages[-1]["role"] == "tool":
        return None
    function = offered[0]["function"]
    numbers = re.findall(r"\S*\d\b", " ".join(str(message.get("content") or "") for message in messages)) or [""]
    arguments = dict.fromkeys(function.get("parameters", {}).get("required", []), numbers[0])
    return {
        "id": f"call_{len(messages)}",
        "type": "function",
        "function": {"name": function["name"], "arguments": json.dumps(arguments)},
    }


async def completion(call: Call, body: JSON) -> JSON:
    """Return a complete answer after the time that its tokens take."""
    requested_call = tool_call(body)
    text = requested_call["function"]["arguments"] if requested_call else answer(body, call.question)
    written = len(tokens(text))
    await asyncio.sleep(FIRST_TOKEN_SECONDS + TOKEN_SECONDS * written)
    call.write(written)
    call.end("complete")
    message = {"role": "assistant", "content": None if requested_call else text, "refusal": None}
    if requested_call:
        message["tool_calls"] = [requested_call]
    finish = "tool_calls" if requested_call else "stop"
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": finish}
    return frame(call, "chat.completion", [choice]) | {"usage": call.usage()}


async def stream(call: Call, body: JSON) -> AsyncIterator[str]:
    """Yield the server-sent events of an answer: the role, a delta per token, the end, and the usage if requested."""
    with_usage = bool((body.get("stream_options") or {}).get("include_usage"))
    pause = SLOW_TOKEN_SECONDS if "#slow" in call.question else TOKEN_SECONDS

    def event(delta: JSON, finish: str | None = None) -> str:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        return sse(frame(call, "chat.completion.chunk", [choice]) | ({"usage": None} if with_usage else {}))

    try:
        requested_call = tool_call(body)
        yield event({"role": "assistant", "content": None if requested_call else "", "refusal": None})
        await asyncio.sleep(FIRST_TOKEN_SECONDS)
        for delta in deltas(requested_call, answer(body, call.question)):
            if "#break" in call.question and call.completion_tokens == 10:
                call.end("broken")
                yield sse({"error": {"message": "The model has stopped working.", "type": "server_error"}})
                return
            call.write(1)
            yield event(delta)
            await asyncio.sleep(pause)
        call.end("complete")
        yield event({}, "tool_calls" if requested_call else "stop")
        if with_usage:
            yield sse(frame(call, "chat.completion.chunk", []) | {"usage": call.usage()})
        yield "data: [DONE]\n\n"
    finally:
        if call.state == "open":
            call.end("abandoned")


def deltas(requested_call: JSON | None, text: str) -> list[JSON]:
    """Return one delta per token of the text or of the arguments of a tool call, whose first delta has its name."""
    if requested_call is None:
        return [{"content": piece} for piece in tokens(text)]
    function = requested_call["function"]
    parts: list[JSON] = [{"index": 0, "function": {"arguments": piece}} for piece in tokens(function["arguments"])]
    parts[0] |= requested_call | {"function": {"name": function["name"]} | parts[0]["function"]}
    return [{"tool_calls": [part]} for part in parts]


def frame(call: Call, kind: str, choices: list[JSON]) -> JSON:
    """Return an object with the fields that all objects of an answer have, and these choices."""
    return {"id": call.id, "object": kind, "created": int(time.time()), "model": call.model, "choices": choices}


def sse(data: JSON) -> str:
    """Return one server-sent event."""
    return f"data: {json.dumps(data)}\n\n"


app = create_app()
