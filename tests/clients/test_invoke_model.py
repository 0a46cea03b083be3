"""Bodies of Bedrock's InvokeModel, which only the application may read: their end, their failure, and their tier."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from ldai_integrations import RunRecord, Tracking, track_ai, wrap_client
from ldai_integrations.testing import OfflineLaunchDarkly, ai_config

from .answers import Answer, invoke_claude_stream
from .cases import CLAUDE
from .makers import bedrock
from .provider import Provider

IN, OUT = 7317, 3863
COUNTED = {
    "X-Amzn-Bedrock-Input-Token-Count": str(IN),
    "X-Amzn-Bedrock-Output-Token-Count": str(OUT),
}
MESSAGE = {
    "type": "message",
    "id": "msg_1",
    "model": "claude-for-tests",
    "content": [{"type": "text", "text": "Hello there"}],
    "stop_reason": "end_turn",
    "usage": {"input_tokens": IN, "output_tokens": OUT},
}


def tokens(record: RunRecord) -> tuple[int | None, int | None, bool]:
    """Return the input and output tokens of a record, and whether they are a lower bound."""
    assert record.usage is not None
    return record.usage.input_tokens, record.usage.output_tokens, record.usage.lower_bound


def _read_and_close(body: Any) -> None:
    body.read()
    body.close()


def _read_in_a_block(body: Any) -> None:
    with body:
        body.read()


@pytest.mark.parametrize(
    "consume",
    [
        lambda body: body.read(),
        json.load,
        lambda body: body.readlines(),
        list,
        lambda body: list(body.iter_chunks(7)),
        _read_in_a_block,
        _read_and_close,
    ],
    ids=["read", "json", "lines", "iterated", "chunks", "block", "close"],
)
def test_a_body_that_was_read_is_complete(
    consume: Callable[[Any], object], provider: Provider, tracking: Tracking, records: list[RunRecord]
) -> None:
    """A response without a finish reason, such as one of embeddings, is exact if it was read to its end."""
    provider.queued = [lambda _request: Answer([b'{"embeddings": [[0.5]]}'], headers=COUNTED)]
    with track_ai(config_key="chat", tracking=tracking):
        consume(wrap_client(bedrock(provider.url)).invoke_model(**CLAUDE)["body"])

    assert tokens(records[0]) == (IN, OUT, False)
    assert tracking.stats().diagnostics == {}


def test_embeddings_beside_an_answer(provider: Provider, tracking: Tracking, records: list[RunRecord]) -> None:
    """Embeddings whose input only a header counts have no output, so that the sum with an answer is exact."""
    header = {"X-Amzn-Bedrock-Input-Token-Count": str(IN)}
    embeddings = json.dumps({"id": "e", "texts": ["hi"], "embeddings": {"float": [[0.5]]}}).encode()
    provider.queued = [
        lambda _request: Answer([embeddings], headers=header),
        lambda _request: Answer([json.dumps(MESSAGE).encode()]),
    ]
    client = wrap_client(bedrock(provider.url))
    with track_ai(config_key="chat", tracking=tracking):
        for model in ("cohere.embed-english-v3", CLAUDE["modelId"]):
            client.invoke_model(**{**CLAUDE, "modelId": model})["body"].read()

    assert tokens(records[0]) == (2 * IN, OUT, False)


def test_a_body_that_breaks_off(provider: Provider, tracking: Tracking, records: list[RunRecord]) -> None:
    """If the connection breaks while the handler reads the body, its apology is no success."""
    botocore = pytest.importorskip("botocore.exceptions")
    body = json.dumps(MESSAGE).encode()
    broken = Answer([body[:40]], headers={**COUNTED, "content-length": str(len(body))})
    provider.queued = [lambda _request: broken]

    @track_ai(config_key="chat", tracking=tracking)
    def handler() -> str:
        body = wrap_client(bedrock(provider.url)).invoke_model(**CLAUDE)["body"]
        try:
            return str(json.load(body)["content"][0]["text"])
        except (botocore.ReadTimeoutError, botocore.IncompleteReadError, botocore.ResponseStreamingError):
            return "We are sorry."

    assert handler() == "We are sorry."
    assert (records[0].outcome, records[0].failed_calls) == ("error", 1)
    assert tokens(records[0]) == (IN, OUT, True)


@pytest.mark.parametrize("is_wrapped", [False, True])
def test_a_returned_body_is_read_like_a_file(
    is_wrapped: bool, provider: Provider, tracking: Tracking, records: list[RunRecord]
) -> None:
    """The run of a handler that returns what InvokeModel gave it ends when its caller has read the body."""
    client = bedrock(provider.url)
    client = wrap_client(client) if is_wrapped else client

    @track_ai(config_key="chat", tracking=tracking)
    def handler() -> Any:
        return client.invoke_model(**CLAUDE)

    body = handler()["body"]
    assert records == []
    assert json.loads(body.read())["content"][0]["text"] == "Hello there"
    assert records[0].outcome == "success"
    assert tokens(records[0]) == (20, 9, False)


@pytest.mark.parametrize(
    ("header", "has_price"),
    [
        (("X-Amzn-Bedrock-Service-Tier", "default"), True),
        (("X-Amzn-Bedrock-Service-Tier", "flex"), False),
        (("X-Amzn-Bedrock-PerformanceConfig-Latency", "optimized"), False),
    ],
)
@pytest.mark.parametrize("is_stream", [False, True])
def test_the_tier_that_answered(
    is_stream: bool, header: tuple[str, str], has_price: bool, provider: Provider, records: list[RunRecord]
) -> None:
    """The price depends on the service tier in the headers, and a lower latency has no known price."""
    pytest.importorskip("genai_prices")
    name, value = header
    nova = "amazon.nova-lite-v1:0"
    request = {"modelId": nova, "body": json.dumps({"messages": []})}
    answer = invoke_claude_stream({}) if is_stream else Answer([json.dumps({**MESSAGE, "model": ""}).encode()])
    answer.headers[name] = value
    provider.queued = [lambda _request: answer]
    client = wrap_client(bedrock(provider.url))
    with (
        OfflineLaunchDarkly({"chat": ai_config(nova, provider="Bedrock")}) as launchdarkly,
        track_ai(config_key="chat", tracking=launchdarkly.tracking),
    ):
        if is_stream:
            list(client.invoke_model_with_response_stream(**request)["body"])
        else:
            client.invoke_model(**request)["body"].read()

    cost = records[0].cost
    assert (cost is not None and cost.total_cost is not None) == has_price
