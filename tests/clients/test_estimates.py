"""What an answer without usage is taken to have cost, by what the wrapped client asked."""

from __future__ import annotations

import json
from importlib.metadata import version
from typing import Any

import pytest

from ldai_integrations import RunRecord, Tracking, track_ai, wrap_client
from ldai_integrations.usage import estimate_output

from .answers import chat, responses, whole
from .cases import CHAT, MESSAGES, RESPONSES
from .makers import anthropic, openai
from .provider import Provider

_TOOL = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}}}
_SCHEMA = {"type": "json_schema", "json_schema": {"name": "words", "schema": {"type": "object"}}}


def _output(provider: Provider, tracking: Tracking, records: list[RunRecord], **asked: Any) -> int | None:
    """Stream "Hello there", two tokens, and return what the run takes the answer for."""
    client: Any = wrap_client(openai(provider.url))
    provider.queued.append(lambda _request: chat({"stream": True}))
    with track_ai(config_key="chat", tracking=tracking):
        list(client.chat.completions.create(**CHAT, stream=True, **asked))
    usage = records[-1].usage
    assert usage is not None
    assert usage.source == "estimate"
    return usage.output_tokens


@pytest.mark.usefixtures("o200k")
def test_an_answer_is_estimated_by_what_was_asked(
    provider: Provider, tracking: Tracking, records: list[RunRecord]
) -> None:
    """An answer has one token more if the request has tools, and more if it has a schema as well."""
    assert _output(provider, tracking, records) == 2
    assert _output(provider, tracking, records, response_format=_SCHEMA) == 2
    assert _output(provider, tracking, records, tools=[_TOOL]) == 3
    assert _output(provider, tracking, records, tools=[_TOOL], response_format=_SCHEMA) == 7


@pytest.mark.usefixtures("o200k")
def test_a_request_that_is_too_long_to_keep_costs_only_that_token(
    provider: Provider, tracking: Tracking, records: list[RunRecord]
) -> None:
    """If the request was not kept, only the text is counted."""
    long = {"type": "function", "function": {"name": "weather", "description": "x" * 10_000_000}}

    assert _output(provider, tracking, records, tools=[long]) == 2


@pytest.mark.skipif(
    version("anthropic").startswith("0."), reason="this version of anthropic has received all of the answer by then"
)
@pytest.mark.usefixtures("o200k")
def test_a_stream_that_is_left_early(provider: Provider, tracking: Tracking, records: list[RunRecord]) -> None:
    """Claude's first event has the input only: if the stream is left, the output is counted from its text."""
    client: Any = wrap_client(anthropic(provider.url))
    with track_ai(config_key="chat", tracking=tracking), client.messages.create(**MESSAGES, stream=True) as stream:
        for event in stream:
            if event.type == "content_block_delta" and event.delta.text == " there":
                break

    usage = records[0].usage
    assert usage is not None
    assert (usage.input_tokens, usage.source) == (20, "partial")
    assert usage.estimated == {"output_tokens", "total_tokens"}
    assert usage.output_tokens == estimate_output("Hello there", model="claude-for-tests").output_tokens


@pytest.mark.usefixtures("o200k")
@pytest.mark.parametrize(("kept", "lower_bound"), [({}, False), ({"previous_response_id": "resp_1"}, True)])
def test_a_prompt_that_the_provider_keeps_is_a_lower_bound(
    provider: Provider, tracking: Tracking, records: list[RunRecord], kept: dict[str, str], lower_bound: bool
) -> None:
    """If a request continues a conversation that the provider stored, only its own part of the prompt is counted."""
    client: Any = wrap_client(openai(provider.url))
    provider.queued.append(lambda request: whole({**json.loads(responses(request).parts[0]), "usage": None}))
    with track_ai(config_key="chat", tracking=tracking):
        client.responses.create(**RESPONSES, **kept)

    usage = records[0].usage
    assert usage is not None
    assert usage.output_tokens
    assert usage.input_tokens
    assert usage.lower_bound is lower_bound
