"""What the handlers do, in no framework's terms."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

from ldai_integrations import current_run, track_ai

from .cases import CONFIG_KEY, DISABLED_KEY, INNER_KEY

JSON, SSE, TEXT = "application/json", "text/event-stream", "text/plain; charset=utf-8"

# Slow enough for the client to be gone in the middle, and bounded where nobody notices that it has gone.
_SLOW_CHUNKS, _SLOW_SECONDS = 500, 0.01


class HandledError(Exception):
    """Turned into a 500 by the application's own handler."""


class BadRequestError(Exception):
    """Turned into a 400 by the application's own handler, in frameworks without an exception for it."""


def config_key_of(path: str) -> str:
    """Name the AI Config of a path, for middlewares that track by themselves."""
    return DISABLED_KEY if path == "/disabled" else CONFIG_KEY


def completion(text: str = "Hello there, how can I help?") -> dict[str, Any]:
    """Return an OpenAI chat completion."""
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "model": "gpt-4o-mini-2024-07-18",
        "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}],
        "usage": {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18},
    }


def ok() -> dict[str, Any]:
    """Answer with a provider's response as it is."""
    return completion()


def observed() -> dict[str, Any]:
    """Call a provider and answer with something of one's own."""
    current_run().observe(completion())
    return {"answer": "Hello there"}


def text() -> str:
    """Answer with text that nobody counted."""
    return "The quick brown fox jumps over the lazy dog."


def nested() -> dict[str, Any]:
    """Call code that is tracked under another key, and code that is tracked under this one."""
    current_run().observe(completion())
    return {"inner": _summarise(), "same": _again()}


@track_ai(config_key=INNER_KEY)
def _summarise() -> str:
    return current_run().id


@track_ai(config_key=CONFIG_KEY)
def _again() -> str:
    return current_run().id


def disabled() -> dict[str, Any]:
    """Tell the handler's view of a disabled AI Config."""
    return {"enabled": current_run().config.enabled}


def _chunk(**fields: Any) -> str:
    return f"data: {json.dumps({'object': 'chat.completion.chunk', 'model': 'gpt-4o-mini', **fields})}\n\n"


def _delta(**delta: Any) -> str:
    return _chunk(choices=[{"index": 0, "delta": delta}])


def stream() -> Iterator[str]:
    """Stream a provider's events."""
    yield _delta(role="assistant", content="")
    yield _delta(content="Hello")
    yield _delta(content=" there!")
    yield _chunk(choices=[], usage={"prompt_tokens": 11, "completion_tokens": 3, "total_tokens": 14})
    yield "data: [DONE]\n\n"


def stream_raises() -> Iterator[str]:
    """Fail in the middle of a stream."""
    yield _delta(content="Hello")
    yield _delta(content=" there")
    raise RuntimeError("the stream broke")


def stream_error_event() -> Iterator[str]:
    """Tell of a provider's failure inside a stream that began well."""
    yield _delta(content="Hello")
    yield 'event: error\ndata: {"error": {"type": "overloaded_error", "message": "try later"}}\n\n'


def slow() -> Iterator[str]:
    """Stream longer than the client stays."""
    for _ in range(_SLOW_CHUNKS):
        yield _delta(content="word ")
        time.sleep(_SLOW_SECONDS)


async def asynchronously(chunks: Iterator[str]) -> AsyncIterator[str]:
    """Stream the same chunks from a coroutine."""
    for chunk in chunks:
        yield chunk
        await asyncio.sleep(0)


async def aslow() -> AsyncIterator[str]:
    """Stream longer than the client stays, from a coroutine."""
    for _ in range(_SLOW_CHUNKS):
        yield _delta(content="word ")
        await asyncio.sleep(_SLOW_SECONDS)


VALUES = {"ok": ok, "observed": observed, "nested": nested, "disabled": disabled}
STREAMS = {"stream": stream, "stream-raises": stream_raises, "stream-error-event": stream_error_event}
