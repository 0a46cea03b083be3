"""What a wrapped client adds to a call, and to each chunk of a stream, in a run."""

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
from ldai_integrations._core.proxies import watch

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


class _Streams:
    """Be a client whose chunks cost nothing."""

    def __init__(self) -> None:
        self.chat = SimpleNamespace(complete=self.stream, stream=self.stream, stream_async=self.stream_async)

    def stream(self, **_asked: Any) -> Iterator[Any]:
        for _ in range(_CHUNKS):
            yield _CHUNK

    async def stream_async(self, **_asked: Any) -> AsyncIterator[Any]:
        for _ in range(_CHUNKS):
            yield _CHUNK


def figures() -> list[Figure]:
    """Measure calls of the real client over a wire that answers at once, and streams of ready chunks."""
    with local_client() as (client, _events):
        run = track_ai(config_key=KEY, tracking=Tracking(client), ld_context=lambda: Context.create("ada"))
        return [*_calls(run), *_chunks(run)]


def _calls(run: track_ai) -> list[Figure]:
    answer = ChatCompletion.model_validate(_ANSWER)
    wire: Any = httpx.Client(transport=httpx.MockTransport(lambda _request: httpx.Response(200, json=_ANSWER)))
    # A new object a call: one that was seen before is not read again.
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
        Figure("call of a wrapped OpenAI()", f"{ratio(whole, *_PAIR):.2f} times", "of a call that needs no network"),
        Figure("call of a wrapped client", f"+{added_us(inside, *_PAIR):.1f} µs", "usage and text read"),
        Figure("the same outside of a run", f"+{added_us(outside, *_PAIR):.1f} µs"),
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
        chat=SimpleNamespace(stream=lambda **_asked: watch(plain.chat.stream(), _passed_on, _passed_on))
    )
    sync = _compared(consume, plain, wrap_client(plain), _CHUNKS, run)
    asynchronous = _compared(lambda client: asyncio.run(aconsume(client)), plain, wrap_client(plain), _CHUNKS, run)
    passed = _compared(consume, plain, passing, _CHUNKS, run)
    return [
        Figure("chunk passed on by a proxy", f"+{added_us(passed, *_PAIR):.2f} µs", "at most 0.3 µs"),
        Figure("chunk of a wrapped client, sync", f"+{added_us(sync, *_PAIR):.2f} µs", "passed on and read"),
        Figure("chunk of a wrapped client, async", f"+{added_us(asynchronous, *_PAIR):.2f} µs", "the same"),
    ]


def _passed_on(_item: object) -> None:
    return None


def _compared(
    work: Callable[[Any], None], plain: Any, wrapped: Any, units: int, block: AbstractContextManager[Any]
) -> dict[str, list[float]]:
    def contestant(client: Any) -> Contestant:
        def in_block() -> None:
            with block:
                work(client)

        return per_unit(in_block, units, clock=time.thread_time)

    return interleaved({"plain": contestant(plain), "wrapped": contestant(wrapped)}, rounds=_ROUNDS)
