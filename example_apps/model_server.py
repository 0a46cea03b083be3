"""A small OpenAI-compatible model server for one machine: it speaks the wire format, it has no model.

Run it with ``uvicorn example_apps.model_server:app --port 8099`` and point the ``openai`` package at it with
``OPENAI_BASE_URL=http://127.0.0.1:8099/v1``. It answers ``POST /v1/chat/completions``, streamed or not. What it
answers depends on the request alone:

* A question is echoed and answered at length; ``gpt-4.1`` says more than any other model.
* Where tools are offered and none has answered yet, it calls the first one.
* ``#fail`` in the question: status 500. ``#break``: an error in mid-stream. ``#slow``: an answer of many seconds.

``GET /bill`` lists every call with the tokens that were truly read and written and the time it took, so that whoever
reports usage can be checked. Tokens are counted by a rule that is deliberately not tiktoken's: an estimate cannot
pass for usage.
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
    """One line of the bill: the tokens a call has read and written so far, and its milliseconds."""

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
        """Put tokens on the bill; the first ones stop the clock of the first token."""
        self.first_token_ms = self.first_token_ms or 1000 * (time.monotonic() - self.began)
        self.completion_tokens += tokens

    def end(self, state: Literal["complete", "failed", "broken", "abandoned"]) -> None:
        """Close this line of the bill."""
        self.state = state
        self.duration_ms = 1000 * (time.monotonic() - self.began)

    def usage(self) -> JSON:
        """Return the usage object as OpenAI sends it."""
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
    """List the calls so far."""
    return JSONResponse([asdict(call) for call in request.app.state.bill])


async def complete(request: Request) -> Response:
    """Answer one chat completion."""
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
    """Return an error in OpenAI's form, asking the client not to try again: one failure stays one failure."""
    content = {"error": {"message": message, "type": kind, "param": None, "code": None}}
    return JSONResponse(content, status, headers={"x-should-retry": "false"})


def tokens(text: str) -> list[str]:
    """Cut a text into this server's tokens: up to four letters or digits, or one other character."""
    return re.findall(r"\s*(?:\w{1,4}|[^\w\s])|\s+$", text)


def count_prompt(body: JSON) -> int:
    """Count the tokens of a request: four for each message, its text, and the tools on offer."""
    texts = [str(message.get("content") or "") for message in body["messages"]]
    offered = json.dumps(body["tools"]) if body.get("tools") else ""
    return 4 * len(texts) + sum(len(tokens(text)) for text in [*texts, offered])


def answer(body: JSON, question: str) -> str:
    """Return what this server has to say to a question."""
    text = f"You asked: {question} {LONG if body['model'] == 'gpt-4.1' else SHORT}"
    return " ".join([text] * 20) if "#slow" in question else text


def tool_call(body: JSON) -> JSON | None:
    """Return a call of the first tool on offer, or ``None`` if there is none or one has already answered."""
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
    """Return one whole answer after the time it takes to write."""
    asked_for = tool_call(body)
    text = asked_for["function"]["arguments"] if asked_for else answer(body, call.question)
    written = len(tokens(text))
    await asyncio.sleep(FIRST_TOKEN_SECONDS + TOKEN_SECONDS * written)
    call.write(written)
    call.end("complete")
    message = {"role": "assistant", "content": None if asked_for else text, "refusal": None}
    if asked_for:
        message["tool_calls"] = [asked_for]
    finish = "tool_calls" if asked_for else "stop"
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": finish}
    return frame(call, "chat.completion", [choice]) | {"usage": call.usage()}


async def stream(call: Call, body: JSON) -> AsyncIterator[str]:
    """Yield the server-sent events of one answer: the role, a delta per token, the end, and the usage if asked for."""
    with_usage = bool((body.get("stream_options") or {}).get("include_usage"))
    pause = SLOW_TOKEN_SECONDS if "#slow" in call.question else TOKEN_SECONDS

    def event(delta: JSON, finish: str | None = None) -> str:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        return sse(frame(call, "chat.completion.chunk", [choice]) | ({"usage": None} if with_usage else {}))

    try:
        asked_for = tool_call(body)
        yield event({"role": "assistant", "content": None if asked_for else "", "refusal": None})
        await asyncio.sleep(FIRST_TOKEN_SECONDS)
        for delta in deltas(asked_for, answer(body, call.question)):
            if "#break" in call.question and call.completion_tokens == 10:
                call.end("broken")
                yield sse({"error": {"message": "The model has stopped working.", "type": "server_error"}})
                return
            call.write(1)
            yield event(delta)
            await asyncio.sleep(pause)
        call.end("complete")
        yield event({}, "tool_calls" if asked_for else "stop")
        if with_usage:
            yield sse(frame(call, "chat.completion.chunk", []) | {"usage": call.usage()})
        yield "data: [DONE]\n\n"
    finally:
        if call.state == "open":
            call.end("abandoned")


def deltas(asked_for: JSON | None, text: str) -> list[JSON]:
    """Return one delta per token, of the text or of a tool call's arguments; a call's first delta names it."""
    if asked_for is None:
        return [{"content": piece} for piece in tokens(text)]
    function = asked_for["function"]
    parts: list[JSON] = [{"index": 0, "function": {"arguments": piece}} for piece in tokens(function["arguments"])]
    parts[0] |= asked_for | {"function": {"name": function["name"]} | parts[0]["function"]}
    return [{"tool_calls": [part]} for part in parts]


def frame(call: Call, kind: str, choices: list[JSON]) -> JSON:
    """Return what every object of an answer has in common, around its choices."""
    return {"id": call.id, "object": kind, "created": int(time.time()), "model": call.model, "choices": choices}


def sse(data: JSON) -> str:
    """Return one server-sent event."""
    return f"data: {json.dumps(data)}\n\n"


app = create_app()
