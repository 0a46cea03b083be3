"""What a wrapped client adds to a call in a run, and to each chunk of a stream."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from types import SimpleNamespace
from typing import Any

import httpx
from ldclient import Context
from openai import OpenAI
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from ldai_integrations import Tracking, track_ai, wrap_client
from ldai_integrations._run.stream import StreamHooks, track_stream

from ._launchdarkly import KEY, local_client
from ._measure import Contestant, Figure, added_us, interleaved, per_unit, ratio

_CHUNKS, _CALLS, _ROUNDS = 2_000, 100, 25
_PAIR = ("wrapped", "plain")
_ASKED: dict[str, Any] = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "How are you?"}]}
_HEAD: dict[str, Any] = {"id": "chatcmpl-1", "created": 1, "model": "gpt-4o-mini"}
_USAGE = {"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 11}
_ANSWER = {
    **_HEAD,
    "object": "chat.completion",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "Fine."}, "finish_reason": "stop"}],
    "usage": _USAGE,
}
_DELTA = {"index": 0, "delta": {"content": "word "}, "finish_reason": None}
_CHUNK = ChatCompletionChunk.model_validate({**_HEAD, "object": "chat.completion.chunk", "choices": [_DELTA]})


class _Stream:
    """A stream like those of openai and anthropic, whose chunks cost nothing."""

    def __init__(self) -> None:
        self._chunks = iter([_CHUNK] * _CHUNKS)

    def __next__(self) -> Any:
        return next(self._chunks)

    def __iter__(self) -> Iterator[Any]:
        yield from self._chunks


class _AsyncStream:
    """The same for a coroutine."""

    async def _each(self) -> AsyncIterator[Any]:
        for _ in range(_CHUNKS):
            yield _CHUNK

    def __init__(self) -> None:
        self._chunks = self._each()

    async def __anext__(self) -> Any:
        return await anext(self._chunks)

    async def __aiter__(self) -> AsyncIterator[Any]:
        async for chunk in self._chunks:
            yield chunk


class _Streams:
    """A client whose chunks cost nothing."""

    def __init__(self) -> None:
        self.chat = SimpleNamespace(complete=self.stream, stream=self.stream, stream_async=self.stream_async)

    def stream(self, **_asked: Any) -> _Stream:
        return _Stream()

    def stream_async(self, **_asked: Any) -> _AsyncStream:
        return _AsyncStream()


def figures() -> list[Figure]:
    """Measure calls of the real client with answers from memory, and streams of chunks from memory."""
    with local_client() as (client, _events):
        run = track_ai(config_key=KEY, tracking=Tracking(client), ld_context=lambda: Context.create("ada"))
        return [*_calls(run), *_chunks(run)]


def _calls(run: track_ai) -> list[Figure]:
    answer = ChatCompletion.model_validate(_ANSWER)
    wire: Any = httpx.Client(transport=httpx.MockTransport(lambda _request: httpx.Response(200, json=_ANSWER)))
    # Each call returns a new object, because one that was seen before is not read again.
    ready: Any = SimpleNamespace(chat=SimpleNamespace(complete=lambda **_asked: answer.model_copy()))

    def call(client: Any) -> None:
        for _ in range(_CALLS):
            client.chat.complete(**_ASKED)

    def call_openai(client: Any) -> None:
        for _ in range(_CALLS):
            client.chat.completions.create(**_ASKED)

    with OpenAI(api_key="none", base_url="http://model/v1", http_client=wire) as plain:
        whole = _compared(call_openai, plain, wrap_client(plain), _CALLS, run)
    inside = _compared(call, ready, wrap_client(ready), _CALLS, run)
    outside = _compared(call, ready, wrap_client(ready), _CALLS, nullcontext())
    return [
        Figure(what="call of a wrapped OpenAI() / OpenAI()", value=ratio(whole, *_PAIR), note="without a network"),
        Figure(
            what="call of a wrapped client, added",
            value=added_us(inside, *_PAIR),
            unit="µs",
            at_most=60,
            note="the usage is read",
        ),
        Figure(what="the same outside of a run, added", value=added_us(outside, *_PAIR), unit="µs"),
    ]


def _chunks(run: track_ai) -> list[Figure]:
    def consume(client: Any) -> None:
        for _ in client.chat.stream(**_ASKED):
            pass

    async def aconsume(client: Any) -> None:
        async for _ in client.chat.stream_async(**_ASKED):
            pass

    plain: Any = _Streams()
    passing: Any = SimpleNamespace(
        chat=SimpleNamespace(stream=lambda **_asked: track_stream(plain.chat.stream(), StreamHooks()))
    )
    sync = _compared(consume, plain, wrap_client(plain), _CHUNKS, run)
    asynchronous = _compared(lambda client: asyncio.run(aconsume(client)), plain, wrap_client(plain), _CHUNKS, run)
    passed = _compared(consume, plain, passing, _CHUNKS, run)
    return [
        Figure(what="chunk that a stand-in passes on, added", value=added_us(passed, *_PAIR), unit="µs", at_most=0.3),
        Figure(
            what="chunk of a wrapped client, sync, added",
            value=added_us(sync, *_PAIR),
            unit="µs",
            at_most=2,
            note="its text and usage are read",
        ),
        Figure(
            what="chunk of a wrapped client, async, added",
            value=added_us(asynchronous, *_PAIR),
            unit="µs",
            at_most=2,
            note="its text and usage are read",
        ),
    ]


def _compared(
    work: Callable[[Any], None], plain: Any, wrapped: Any, units: int, block: AbstractContextManager[Any]
) -> dict[str, list[float]]:
    def contestant(client: Any) -> Contestant:
        def in_block() -> None:
            with block:
                work(client)

        return per_unit(in_block, units, clock=time.thread_time)

    return interleaved({"plain": contestant(plain), "wrapped": contestant(wrapped)}, rounds=_ROUNDS)
