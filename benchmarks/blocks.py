"""The longest time that the library occupies an event loop with large bodies, long lines, encodings and judges.

What counts is the CPU time of the loop's thread in one step of a task: that is how long no other task can run.
"""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

from ldclient import Context
from openai.types.chat import ChatCompletion

from ldai_integrations import Run, Settings, Tracking, track_ai, wrap_client
from ldai_integrations.asgi import ASGITrackingMiddleware
from ldai_integrations.judges import JudgeSettings
from ldai_integrations.typing import Receive, Scope, Send
from ldai_integrations.usage._encodings import encodings

from ._launchdarkly import ALWAYS_JUDGED_KEY, KEY, local_client
from ._measure import Figure

_MOST_MS, _ROUNDS = 5.0, 5
_PIECE = 65_536
_BODY, _LINE = 1_000_000, 10_000_000

Work = Callable[[Tracking], Awaitable[object]]


def figures() -> list[Figure]:
    """Measure each piece of work several times; the best round is the one that other work has disturbed least."""
    body, event = _answer(_BODY), _event(_LINE)
    line, text = event.decode(), "x" * _LINE
    answer = ChatCompletion.model_validate(json.loads(body))
    works: Mapping[str, Work] = {
        "body of 1 MB, in one message": lambda tracking: _respond(tracking, "application/json", [body]),
        "body of 1 MB, in pieces": lambda tracking: _respond(tracking, "application/json", _pieces(body)),
        "line of 10 MB, in one message": lambda tracking: _respond(tracking, "text/event-stream", [event]),
        "line of 10 MB, in pieces": lambda tracking: _respond(tracking, "text/event-stream", _pieces(event)),
        "text of 10 MB, from a generator": lambda tracking: _generate(tracking, text),
        "JSON line of 10 MB, from a generator": lambda tracking: _generate(tracking, line),
        "answer and prompt of 1 MB, wrapped client": lambda tracking: _call_wrapped(tracking, answer),
        "first run, which loads an encoding": _load_encoding,
        "judge": _judge,
    }
    with local_client() as (client, _events):
        tracking = Tracking(client, settings=Settings(judges=JudgeSettings(model=_judge_model)))
        return [
            Figure(
                what=f"longest block: {name}",
                value=min(_longest_ms(work, tracking) for _ in range(_ROUNDS)),
                unit="ms",
                at_most=_MOST_MS,
            )
            for name, work in works.items()
        ]


def _longest_ms(work: Work, tracking: Tracking) -> float:
    """Return the longest step of a task while ``work`` runs and its runs are reported."""
    longest, here = 0.0, threading.get_ident()
    run_step = asyncio.Handle._run  # asyncio has no public name for it

    def timed(handle: asyncio.Handle) -> None:
        nonlocal longest
        begun = time.thread_time()
        run_step(handle)
        if threading.get_ident() == here:  # judges have an event loop of their own
            longest = max(longest, time.thread_time() - begun)

    async def work_and_flush() -> None:
        await work(tracking)
        await tracking.aflush()

    with patch.object(asyncio.Handle, "_run", timed):
        asyncio.run(work_and_flush())
    return longest * 1000


def _answer(size: int) -> bytes:
    message = {"role": "assistant", "content": "word " * (size // 5)}
    choices = [{"index": 0, "message": message, "finish_reason": "stop"}]
    answer = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "gpt-4o", "choices": choices}
    return json.dumps(answer).encode()


def _event(size: int) -> bytes:
    choice = {"index": 0, "delta": {"content": "word " * (size // 5)}}
    chunk = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "choices": [choice]}
    return b"data: " + json.dumps(chunk).encode() + b"\n\n"


def _pieces(body: bytes) -> list[bytes]:
    return [body[start : start + _PIECE] for start in range(0, len(body), _PIECE)]


async def _respond(tracking: Tracking, content_type: str, body: list[bytes]) -> None:
    """Serve a response through the middleware; every message is a step of its own."""

    async def application(_scope: Scope, _receive: Receive, send: Send) -> None:
        headers = [(b"content-type", content_type.encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        for part in body:
            await asyncio.sleep(0)
            await send({"type": "http.response.body", "body": part, "more_body": True})
        await asyncio.sleep(0)
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(_message: Any) -> None:
        await asyncio.sleep(0)

    scope = {"type": "http", "method": "GET", "path": "/", "headers": [], "query_string": b""}
    await ASGITrackingMiddleware(application, tracking, config_key=KEY)(scope, receive, send)


async def _generate(tracking: Tracking, text: str) -> None:
    @track_ai(config_key=KEY, tracking=tracking)
    async def words() -> AsyncIterator[str]:
        yield text
        await asyncio.sleep(0)
        yield text

    async for _word in words():
        await asyncio.sleep(0)


async def _call_wrapped(tracking: Tracking, answer: ChatCompletion) -> None:
    async def create(**_arguments: Any) -> ChatCompletion:
        await asyncio.sleep(0)
        return answer.model_copy()

    client: Any = SimpleNamespace(chat=SimpleNamespace(completions=SimpleNamespace(create=create)))

    @track_ai(config_key=KEY, tracking=tracking)
    async def chat() -> object:
        return await wrap_client(client).chat.completions.create(
            model="gpt-4o-mini", messages=[{"role": "user", "content": "word " * (_BODY // 5)}]
        )

    await chat()


async def _load_encoding(tracking: Tracking) -> None:
    encodings.forget()
    await _generate(tracking, "How are you? " * 1_000)


async def _judge(tracking: Tracking) -> None:
    @track_ai(config_key=ALWAYS_JUDGED_KEY, tracking=tracking, ld_context=lambda: Context.create("ada"))
    async def chat(run: Run) -> str:
        run.messages(user="How are you?")
        await asyncio.sleep(0)
        return "Fine."

    await chat()


def _judge_model(_messages: Any, _config: Any) -> Any:
    return json.dumps({"score": 1.0, "reasoning": "It answers the question."})
