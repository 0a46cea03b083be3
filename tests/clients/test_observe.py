"""``run.observe`` and returned streams of clients that are not wrapped: the same helpers, raw responses and bodies."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ldai_integrations import RunRecord, Tracking, current_run, track_ai, wrap_client
from ldai_integrations.records import Usage

from ..waiting import eventually
from .answers import whole
from .cases import ASK, CHAT, CLAUDE, CONVERSE, MESSAGES, RESPONSES, USAGE, totals
from .makers import anthropic, bedrock, openai
from .provider import Provider

TOLD = Usage(input_tokens=20, output_tokens=9, total_tokens=29)


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


def test_a_returned_manager_of_a_wrapped_client(
    provider: Provider, tracking: Tracking, records: list[RunRecord]
) -> None:
    """The call that a manager makes when its caller enters it belongs to the run of the handler."""
    client = wrap_client(openai(provider.url))

    @track_ai(config_key="chat", tracking=tracking)
    def handler() -> Any:
        return client.chat.completions.stream(**CHAT, stream_options={"include_usage": True})

    with handler() as stream:
        assert stream.get_final_completion().choices[0].message.content == "Hello there"

    assert (records[0].outcome, records[0].calls, totals(records[0].usage)) == ("success", 1, TOLD)
    assert tracking.stats().diagnostics == {}


def test_a_returned_stream_that_a_helper_reads(
    provider: Provider, tracking: Tracking, records: list[RunRecord]
) -> None:
    """A helper that reads a returned stream to its end ends the run, as a loop does."""

    @track_ai(config_key="chat", tracking=tracking)
    def handler() -> Any:
        return anthropic(provider.url).messages.stream(**MESSAGES).__enter__()

    message = handler().get_final_message()
    assert message.content[0].text == "Hello there"
    assert (records[0].outcome, totals(records[0].usage)) == ("success", TOLD)


@pytest.mark.parametrize("is_kept", [True, False])
def test_a_long_response_that_is_read_in_parts(
    is_kept: bool, provider: Provider, tracking: Tracking, records: list[RunRecord], caplog: pytest.LogCaptureFixture
) -> None:
    """The usage of a long response is read if the response keeps its body. Otherwise it is unknown, and logged."""
    body = {
        "object": "list",
        "model": "text-embedding-3-small",
        "data": [{"object": "embedding", "index": index, "embedding": [0.25] * 1_536} for index in range(200)],
        "usage": {"prompt_tokens": 7331, "total_tokens": 7331},
    }
    provider.queued = [lambda _request: whole(body)]
    create = wrap_client(openai(provider.url)).embeddings.with_streaming_response.create
    with (
        track_ai(config_key="chat", tracking=tracking),
        create(model="text-embedding-3-small", input=["Hi"] * 200) as response,
    ):
        response.read() if is_kept else list(response.iter_bytes())

    assert eventually(lambda: bool(records))
    usage = records[0].usage
    assert usage is not None
    assert records[0].calls == 1
    assert (usage.input_tokens == 7331, usage.lower_bound) == (is_kept, not is_kept)
    assert ("is longer than 1000000 bytes and is read in parts" in caplog.text) is not is_kept
    assert "lacks usage" not in caplog.text
