"""Provider calls that end with an exception: which of them the provider may bill."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

from ldai_integrations import RunRecord, Tracking, track_ai, wrap_client

from . import makers
from .answers import Answer, whole
from .cases import CHAT, COHERE, CONVERSE, GENERATE, MESSAGES, MISTRAL
from .provider import Provider

pytestmark = pytest.mark.usefixtures("o200k")

_ONCE: dict[str, Any] = {"request_options": {"max_retries": 0}}

CALLS: dict[str, tuple[makers.Make, Callable[[Any], Any]]] = {
    "openai": (makers.openai, lambda client: client.with_options(max_retries=0).chat.completions.create(**CHAT)),
    "anthropic": (makers.anthropic, lambda client: client.with_options(max_retries=0).messages.create(**MESSAGES)),
    "genai": (makers.genai, lambda client: client.models.generate_content(**GENERATE)),
    "mistral": (makers.mistral, lambda client: client.chat.complete(**MISTRAL)),
    "cohere": (makers.cohere_v2, lambda client: client.chat(**COHERE, **_ONCE)),
    "bedrock": (makers.bedrock, lambda client: client.converse(**CONVERSE)),
}
# Streams whose request is sent when the first item is read.
LAZY: dict[str, tuple[makers.Make, Callable[[Any], Any]]] = {
    "genai": (makers.genai, lambda client: client.models.generate_content_stream(**GENERATE)),
    "cohere": (makers.cohere_v2, lambda client: client.chat_stream(**COHERE, **_ONCE)),
}
_COMPRESSED = {"content-encoding": "gzip"}
UNREADABLE = {
    "cut JSON": Answer([b'{"id": "1", "usage": {"prompt_tokens": 7']),
    "not gzip": Answer([b"\x1f\x8b\x08 not gzip"], headers=_COMPRESSED),
    "cut gzip": Answer([gzip.compress(b'{"id": "1"}' * 99)[:20]], headers=_COMPRESSED),
    "not UTF-8": Answer([b'{"id": "\xff\xfe"}']),
}


def ask_twice(client: Any, call: Callable[[Any], Any], tracking: Tracking, records: list[RunRecord]) -> RunRecord:
    """Return the record of a run whose first call may fail and whose second one succeeds."""
    with track_ai(config_key="chat", tracking=tracking):
        with suppress(Exception):
            call(client)
        call(client)
    return records[-1]


def is_exact(record: RunRecord) -> bool:
    """Return whether a record has the tokens of the answer only, and claims to know all of them."""
    usage = record.usage
    assert usage is not None
    assert usage.output_tokens == 9
    assert usage.input_tokens is not None
    is_sum_with_estimate = usage.input_tokens > 20
    assert usage.lower_bound is is_sum_with_estimate
    return not usage.lower_bound


@pytest.mark.parametrize("body", UNREADABLE)
@pytest.mark.parametrize("name", CALLS)
def test_an_answer_that_cannot_be_read(
    name: str, body: str, provider: Provider, tracking: Tracking, records: list[RunRecord]
) -> None:
    """A provider bills an answer with a status of success that its client cannot read: the tokens are a lower bound."""
    make, call = CALLS[name]
    provider.queued.append(lambda _: UNREADABLE[body])

    assert not is_exact(ask_twice(wrap_client(make(provider.url)), call, tracking, records))


@pytest.mark.parametrize("status", [400, 408, 429, 499, 500, 503, 504, 524])
@pytest.mark.parametrize("name", CALLS)
def test_an_error_status(
    name: str, status: int, provider: Provider, tracking: Tracking, records: list[RunRecord]
) -> None:
    """A provider bills no request that it refused, and may bill one whose server or gateway gave up waiting."""
    make, call = CALLS[name]
    provider.fail(status=status)

    record = ask_twice(wrap_client(make(provider.url)), call, tracking, records)
    assert record.failed_calls == 1
    assert is_exact(record) is (status not in (408, 499, 504, 524))


@pytest.mark.parametrize("status", [400, 429, 500, None])
@pytest.mark.parametrize("name", LAZY)
def test_a_stream_that_is_refused_at_its_first_item(
    name: str,
    status: int | None,
    provider: Provider,
    tracking: Tracking,
    records: list[RunRecord],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A stream whose request was refused, or never reached the provider, has no tokens and no cost."""
    make, call = LAZY[name]
    if status is not None:
        provider.fail(status=status)
    client = wrap_client(make(provider.url if status is not None else "http://127.0.0.1:9"))

    with suppress(Exception), track_ai(config_key="chat", tracking=tracking):
        list(call(client))
    record = records[-1]
    assert (record.outcome, record.calls, record.failed_calls) == ("error", 1, 1)
    assert (record.usage, record.cost) == (None, None)
    assert not caplog.messages


@pytest.mark.parametrize("failure", ["504", "cut JSON"])
@pytest.mark.parametrize("name", LAZY)
def test_a_stream_that_may_be_billed_without_an_item(
    name: str, failure: str, provider: Provider, tracking: Tracking, records: list[RunRecord]
) -> None:
    """A stream without items may be billed if the server gave up waiting, or if it answered with something else."""
    make, call = LAZY[name]
    if failure == "504":
        provider.fail(status=504)
    else:
        provider.queued.append(lambda _: UNREADABLE[failure])

    with suppress(Exception), track_ai(config_key="chat", tracking=tracking):
        list(call(wrap_client(make(provider.url))))
    usage = records[-1].usage
    assert usage is not None
    assert usage.lower_bound


@pytest.mark.parametrize("body", [b'"Hello"', b"[]", b"7"])
def test_an_answer_that_cannot_be_parsed(
    body: bytes, provider: Provider, tracking: Tracking, records: list[RunRecord]
) -> None:
    """JSON that is no completion cannot be parsed, and the provider may bill it nevertheless."""
    client = wrap_client(makers.openai(provider.url))
    provider.queued.append(lambda _: Answer([body]))

    assert not is_exact(ask_twice(client, lambda client: client.chat.completions.parse(**CHAT), tracking, records))


@pytest.mark.parametrize("is_sent", [False, True])
def test_arguments_and_answers_that_do_not_validate(
    is_sent: bool, provider: Provider, tracking: Tracking, records: list[RunRecord]
) -> None:
    """Google's client validates arguments and answers: only a call whose answer does not validate may be billed."""
    client: Any = wrap_client(makers.genai(provider.url))
    if is_sent:
        provider.queued.append(lambda _: whole({"candidates": [{"index": "first"}]}))
    wrong: Any = {} if is_sent else {"config": {"temperature": "warm"}}
    with track_ai(config_key="chat", tracking=tracking):
        with pytest.raises(ValueError, match="validation error"):
            client.models.generate_content(**GENERATE, **wrong)
        client.models.generate_content(**GENERATE)
    assert is_exact(records[-1]) is not is_sent


@pytest.mark.parametrize("first", [TimeoutError, ConnectionResetError])
def test_a_wrong_argument_after_a_call_that_may_be_billed(
    first: type[Exception], provider: Provider, tracking: Tracking, records: list[RunRecord]
) -> None:
    """A client that is called wrongly while another failure is handled sends nothing, so nothing is billed."""
    client: Any = wrap_client(makers.openai(provider.url))
    with track_ai(config_key="chat", tracking=tracking):
        try:
            raise first
        except first:
            with pytest.raises(TypeError):
                client.chat.completions.create(**CHAT, colour="blue")
        client.chat.completions.create(**CHAT)
    assert records[-1].failed_calls == 1
    assert is_exact(records[-1])
