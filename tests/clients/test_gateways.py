"""Gateways between the application and the provider, which answer from a cache that nobody bills."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import pytest

from ldai_integrations import RunRecord, Tracking, current_run, track_ai, wrap_client
from ldai_integrations.records import Usage

from . import answers
from .cases import ASK, CHAT, MESSAGES, USAGE
from .makers import anthropic, openai
from .provider import Provider

HITS = {"cf-aig-cache-status": "HIT", "Helicone-Cache": "HIT", "x-portkey-cache-status": "SEMANTIC HIT"}
NOTHING, TOLD = Usage(0, 0, 0), Usage(20, 9, 29)


def ask_raw(url: str) -> None:
    """Ask OpenAI's client for the raw response."""
    wrap_client(openai(url)).chat.completions.with_raw_response.create(**CHAT).parse()


def ask_to_parse(url: str) -> None:
    """Ask OpenAI's client to parse the answer."""
    wrap_client(openai(url)).chat.completions.parse(**CHAT)


def ask_for_stream(url: str) -> None:
    """Read a stream of OpenAI's client."""
    list(wrap_client(openai(url)).chat.completions.create(**CHAT, **USAGE))


def ask_for_lines(url: str) -> None:
    """Read the lines of a raw stream of OpenAI's client."""
    client: Any = wrap_client(openai(url))
    with client.chat.completions.with_streaming_response.create(**CHAT, **USAGE) as response:
        list(response.iter_lines())


def ask_anthropic(url: str) -> None:
    """Read a stream of Anthropic's client."""
    list(wrap_client(anthropic(url)).messages.create(**MESSAGES, stream=True))


def ask_with_httpx(url: str) -> None:
    """Observe a response of httpx."""
    response = httpx.post(f"{url}/openai/v1/chat/completions", json={"model": "gpt-4o-mini", "messages": ASK})
    current_run().observe(response)


ASKING: list[Callable[[str], None]] = [
    ask_raw,
    ask_to_parse,
    ask_for_stream,
    ask_for_lines,
    ask_anthropic,
    ask_with_httpx,
]


@pytest.mark.parametrize("ask", ASKING)
@pytest.mark.parametrize("header", [*HITS, ""])
def test_an_answer_from_a_cache(
    header: str, ask: Callable[[str], None], provider: Provider, tracking: Tracking, records: list[RunRecord]
) -> None:
    """It is a success without tokens and costs nothing, although the body repeats the usage of the first answer."""

    def answering(request: dict[str, Any]) -> answers.Answer:
        answer = (answers.messages if ask is ask_anthropic else answers.chat)(request)
        answer.headers |= dict.fromkeys(HITS, "MISS") | ({header: HITS[header]} if header else {})
        return answer

    provider.queued.append(answering)
    with track_ai(config_key="chat", tracking=tracking):
        ask(provider.url)

    record, usage = records[0], records[0].usage
    assert usage is not None
    assert (record.outcome, record.calls) == ("success", 1)
    told = Usage(usage.input_tokens, usage.output_tokens, usage.total_tokens, lower_bound=usage.lower_bound)
    assert told == (NOTHING if header else TOLD)
    if header:
        assert record.cost is not None
        assert record.cost.total_cost == 0


@pytest.mark.parametrize("is_stream", [False, True])
def test_an_answer_from_a_cache_of_openrouter(
    is_stream: bool, provider: Provider, tracking: Tracking, records: list[RunRecord]
) -> None:
    """A usage of zero tokens is what the gateway bills, and nothing is estimated in its place."""

    def answering(request: dict[str, Any]) -> answers.Answer:
        answer = answers.chat(request)
        for name, count in (("prompt", 20), ("completion", 9), ("total", 29)):
            told, billed = f'"{name}_tokens": {count}'.encode(), f'"{name}_tokens": 0, "cost": 0'.encode()
            answer.parts = [part.replace(told, billed) for part in answer.parts]
        return answer

    provider.queued.append(answering)
    client: Any = wrap_client(openai(provider.url))
    with track_ai(config_key="chat", tracking=tracking):
        answer = client.chat.completions.create(**CHAT, **(USAGE if is_stream else {}))
        list(answer)

    assert records[0].usage == NOTHING
    assert records[0].cost is not None
    assert records[0].cost.total_cost == 0
