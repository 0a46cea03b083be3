"""A client without its package: a class that is made like Ollama's own, whose methods have common names."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from ldai_integrations import RunRecord, Tracking, track_ai
from ldai_integrations.clients import wrap_client
from ldai_integrations.exceptions import ConfigurationError
from ldai_integrations.records import Usage

from ..conftest import Clock

ASKED: dict[str, Any] = {"model": "llama3.2", "messages": [{"role": "user", "content": "Hi"}]}
# No tokenizer would count these.
COUNTED = {"done": True, "done_reason": "stop", "prompt_eval_count": 621, "eval_count": 48}
EXACT = Usage(621, 48, 669)


def say(text: str, **more: Any) -> Any:
    """Return an answer, or a part of one, as an object."""
    return SimpleNamespace(**{"model": "llama3.2", "done": False, "message": SimpleNamespace(content=text), **more})


class Client:
    """A client whose server needs 10 ms for each part of its answer."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def chat(self, *, stream: bool = False, **_asked: Any) -> Any:
        """Answer."""
        return self._parts() if stream else say("Hello there", **COUNTED)

    def _parts(self) -> Iterator[Any]:
        for part in (say("Hello"), say(" there"), say("", **COUNTED)):
            self._clock.advance(10)
            yield part


class AsyncClient(Client):
    """The same, asynchronous."""

    async def chat(self, **asked: Any) -> Any:
        """Answer."""
        answer = super().chat(**asked)
        return self._later(answer) if asked.get("stream") else answer

    async def _later(self, parts: Iterator[Any]) -> AsyncIterator[Any]:
        for part in parts:
            yield part


Client.__module__ = AsyncClient.__module__ = "ollama._client"


def check(records: list[RunRecord], *, first_token_ms: int | None) -> None:
    """Compare the one record with what the provider counted."""
    (record,) = records
    assert (record.usage, record.calls, record.outcome) == (EXACT, 1, "success")
    assert (record.response_model, record.finish_reasons) == ("llama3.2", ("stop",))
    assert record.time_to_first_token_ms == first_token_ms


def test_a_whole_answer(tracking: Tracking, records: list[RunRecord], clock: Clock) -> None:
    """The tokens are the provider's, and a whole answer has no first token."""
    client = wrap_client(Client(clock))
    with track_ai(config_key="chat", tracking=tracking):
        assert client.chat(**ASKED).message.content == "Hello there"

    check(records, first_token_ms=None)


def test_a_stream(tracking: Tracking, records: list[RunRecord], clock: Clock) -> None:
    """The caller gets each part, and the first one is timed."""
    client = wrap_client(Client(clock))
    with track_ai(config_key="chat", tracking=tracking):
        assert [part.message.content for part in client.chat(**ASKED, stream=True)] == ["Hello", " there", ""]

    check(records, first_token_ms=10)


def test_an_asynchronous_client(tracking: Tracking, records: list[RunRecord], clock: Clock) -> None:
    """A stream of the asynchronous client counts in the same way."""

    async def ask() -> None:
        async with track_ai(config_key="chat", tracking=tracking):
            stream = await wrap_client(AsyncClient(clock)).chat(**ASKED, stream=True)
            assert [part.message.content async for part in stream] == ["Hello", " there", ""]

    asyncio.run(ask())
    check(records, first_token_ms=10)


@pytest.mark.parametrize("count", [{}, {"prompt_eval_count": None}, {"prompt_eval_count": 0}], ids=str)
def test_a_prompt_in_the_cache(
    count: dict[str, Any], tracking: Tracking, records: list[RunRecord], clock: Clock
) -> None:
    """Ollama does not count a prompt that is in its cache: it is estimated from the request, or unknown without one."""
    answer = {"message": {"content": "Hello"}, "done": True, "done_reason": "stop", "eval_count": 48, **count}

    class Cached(Client):
        def chat(self, **_asked: Any) -> Any:
            return say("", **answer)

    Cached.__module__ = Client.__module__
    with track_ai(config_key="chat", tracking=tracking):
        wrap_client(Cached(clock)).chat(**ASKED)
    with track_ai(config_key="chat", tracking=tracking) as run:
        run.observe({"model": "llama3.2", **answer})

    wrapped, observed = (record.usage for record in records)
    assert wrapped is not None
    assert observed is not None
    assert wrapped.estimated == {"input_tokens", "total_tokens"}
    assert wrapped.input_tokens
    assert wrapped.total_tokens == wrapped.input_tokens + 48
    assert (observed.input_tokens, observed.output_tokens, observed.total_tokens) == (None, 48, 48)


def test_a_stream_that_is_left(tracking: Tracking, records: list[RunRecord], clock: Clock) -> None:
    """Without the last part, the tokens are estimated and a lower bound."""
    with track_ai(config_key="chat", tracking=tracking):
        stream = wrap_client(Client(clock)).chat(**ASKED, stream=True)
        next(stream)
        stream.close()

    usage = records[0].usage
    assert usage is not None
    assert usage.lower_bound
    assert usage.estimated == {"input_tokens", "output_tokens", "total_tokens"}


@pytest.mark.parametrize("name", ["ask", "call", "chat", "complete", "create", "generate", "invoke", "run", "send"])
def test_a_common_name_is_no_client(name: str) -> None:
    """An object of another package that has such a method is refused, with the clients that are accepted."""
    with pytest.raises(ConfigurationError, match="SimpleNamespace; give an instance of an OpenAI"):
        wrap_client(SimpleNamespace(**{name: print}))
