"""``run.observe`` and returned streams of clients that are not wrapped: the same helpers, raw responses and bodies."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from ldai_integrations import RunRecord, Tracking, current_run, track_ai
from ldai_integrations.records import Usage

from .cases import ASK, CHAT, CLAUDE, CONVERSE, MESSAGES, RESPONSES, USAGE
from .makers import anthropic, bedrock, openai
from .provider import Provider

TOLD = Usage(input_tokens=20, output_tokens=9, total_tokens=29)


def totals(usage: Usage | None) -> Usage | None:
    """Leave out the fields that some providers tell and others do not."""
    return usage and replace(usage, cached_input_tokens=None, reasoning_tokens=None)


def _text_stream(url: str) -> str:
    with current_run().observe(anthropic(url).messages.stream(**MESSAGES)) as stream:
        return "".join(stream.text_stream)


def _final_message(url: str) -> Any:
    with anthropic(url).messages.stream(**MESSAGES) as stream:
        return current_run().observe(stream).get_final_message().content[0].text


def _final_response(url: str) -> Any:
    with current_run().observe(openai(url).responses.stream(**RESPONSES)) as stream:
        return stream.get_final_response().output_text


def _raw_response(url: str) -> Any:
    raw = current_run().observe(openai(url).chat.completions.with_raw_response.create(**CHAT))
    return raw.parse().choices[0].message.content


def _streaming_response(url: str) -> str:
    create = openai(url).chat.completions.with_streaming_response.create
    with current_run().observe(create(**CHAT, **USAGE)) as response:
        chunks = list(response.parse())
    return "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)


def _body(url: str) -> Any:
    body = current_run().observe(bedrock(url).invoke_model(**CLAUDE)["body"])
    buffer = bytearray(4096)
    with body as raw:
        size = raw.readinto(buffer)
    return json.loads(buffer[:size])["content"][0]["text"]


def _lines(url: str) -> Any:
    response = current_run().observe(bedrock(url).invoke_model(**CLAUDE))
    return json.loads(b"".join(response["body"].readlines()))["content"][0]["text"]


OBSERVED = (_text_stream, _final_message, _final_response, _raw_response, _streaming_response, _body, _lines)


@pytest.mark.parametrize("observed", OBSERVED, ids=lambda observed: observed.__name__.strip("_"))
def test_what_is_observed(observed: Any, provider: Provider, tracking: Tracking, records: list[RunRecord]) -> None:
    """Whichever way the answer is taken out of what was observed, it is whole and its usage is the run's."""
    with track_ai(config_key="chat", tracking=tracking):
        assert observed(provider.url) == "Hello there"

    assert totals(records[0].usage) == TOLD
    assert tracking.stats().diagnostics == {}


def test_a_body_is_read_as_it_was(provider: Provider, tracking: Tracking) -> None:
    """The observed body is of the same class, reads in steps, and can be read once, as the original."""
    client = bedrock(provider.url)
    plain = client.invoke_model(**CLAUDE)["body"]
    with track_ai(config_key="chat", tracking=tracking) as run:
        response = client.invoke_model(**CLAUDE)
        body = run.observe(response)["body"]

        assert type(body) is type(plain)
        assert body.readable() == plain.readable()
        assert [body.read(5), body.read(5)] == [plain.read(5), plain.read(5)]
        assert body.read() == plain.read()
        assert body.read() == plain.read() == b""
        body.close()


def test_an_event_stream_keeps_its_connection(provider: Provider, tracking: Tracking) -> None:
    """The stream of Bedrock's events is closed by its own ``close``, before its end too."""
    with track_ai(config_key="chat", tracking=tracking) as run:
        stream = run.observe(bedrock(provider.url).converse_stream(**CONVERSE))["stream"]
        assert next(iter(stream)) == {"messageStart": {"role": "assistant"}}
        stream.close()


def test_a_returned_manager(provider: Provider, tracking: Tracking, records: list[RunRecord]) -> None:
    """The run of a handler that returns a stream's manager ends with the stream, whatever of it is consumed."""

    @track_ai(config_key="chat", tracking=tracking)
    def handler() -> Any:
        return anthropic(provider.url).messages.stream(model="claude-for-tests", max_tokens=9, messages=ASK)

    with handler() as stream:
        assert records == []
        assert "".join(stream.text_stream) == "Hello there"

    assert (records[0].outcome, totals(records[0].usage)) == ("success", TOLD)
    assert records[0].time_to_first_token_ms is not None
