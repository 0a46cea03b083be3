"""The requests of a wrapped client: the source of the estimated input tokens where the provider sends none."""

from __future__ import annotations

import json
import weakref
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from ldai_integrations import RunRecord, Tracking, track_ai, wrap_client
from ldai_integrations.testing import OfflineLaunchDarkly, ai_config
from ldai_integrations.usage import estimate_prompt

HI = [{"role": "user", "content": "How many tokens are these words worth?"}]
LONGER = [{"role": "system", "content": "Be brief."}, *HI]
MODEL = "gpt-4o-mini"

pytestmark = pytest.mark.usefixtures("o200k")


def answer(**_request: Any) -> Iterator[Any]:
    """Stream an answer without usage."""
    return iter([{"id": "1", "choices": [{"index": 0, "delta": {"content": "Hello"}}]}])


def mistral() -> Any:
    """Make a client with the methods of Mistral's."""
    return wrap_client(SimpleNamespace(chat=SimpleNamespace(complete=answer, stream=answer)))


def openai() -> Any:
    """Make a client with the methods of OpenAI's."""
    create = SimpleNamespace(create=answer)
    return wrap_client(SimpleNamespace(chat=SimpleNamespace(completions=create), completions=create))


def cohere() -> Any:
    """Make a client with the methods of Cohere's."""
    return wrap_client(SimpleNamespace(chat=answer, chat_stream=answer))


def bedrock() -> Any:
    """Make a client with the methods of boto3's."""
    return wrap_client(SimpleNamespace(invoke_model=answer))


def input_tokens(records: list[RunRecord]) -> int | None:
    """Return the estimate of the last run."""
    usage = records[-1].usage
    assert usage is not None
    assert "input_tokens" in usage.estimated or usage.input_tokens is None
    return usage.input_tokens


def estimated(request: Any, api: Any) -> int | None:
    """Return the estimate of a request in its plain form."""
    expected = estimate_prompt(request, model=MODEL, api=api)
    assert expected is not None
    return expected.input_tokens


COHERE = {
    "message": HI[0]["content"],
    "preamble": "Be brief.",
    "chat_history": [{"role": "USER", "message": "a"}, SimpleNamespace(role="CHATBOT", message="b")],
}
COHERE_AS_CHAT = [LONGER[0], {"role": "user", "content": "a"}, {"role": "chatbot", "content": "b"}, *HI]
ANTHROPIC = {"anthropic_version": "bedrock-2023-05-31", "system": "Be brief.", "messages": HI}
NOVA = {"schemaVersion": "messages-v1", "messages": [{"role": "user", "content": [{"text": "Hi"}]}]}


@pytest.mark.parametrize(
    ("call", "request_", "plain", "api"),
    [
        (lambda: mistral().chat.complete, {"messages": LONGER}, {"messages": LONGER}, "chat"),
        (lambda: openai().completions.create, {"prompt": "How many"}, {"input": "How many"}, "embeddings"),
        (lambda: cohere().chat, COHERE, {"messages": COHERE_AS_CHAT}, "chat"),
        (lambda: cohere().chat, {"messages": LONGER}, {"messages": LONGER}, "chat"),
        (
            lambda: bedrock().invoke_model,
            {"body": json.dumps(ANTHROPIC)},
            {"system": "Be brief.", "messages": HI},
            "messages",
        ),
        (lambda: bedrock().invoke_model, {"body": b'{"inputText": "How many"}'}, {"input": "How many"}, "embeddings"),
        (lambda: bedrock().invoke_model, {"body": json.dumps({"messages": LONGER})}, {"messages": LONGER}, "chat"),
        (lambda: bedrock().invoke_model, {"body": json.dumps(NOVA)}, {"messages": NOVA["messages"]}, "converse"),
    ],
)
def test_every_form_of_a_request_is_read(
    tracking: Tracking, records: list[RunRecord], call: Any, request_: Any, plain: Any, api: str
) -> None:
    """Every form of a request has the same estimate as its plain form."""
    with track_ai(config_key="chat", tracking=tracking):
        list(call()(**request_, **{"modelId" if api == "converse" or "body" in request_ else "model": MODEL}))

    assert input_tokens(records) == estimated(plain, api)


@pytest.mark.parametrize("body", [None, "no json", "[1]", b"\xff", "{}"])
def test_a_body_that_cannot_be_read(tracking: Tracking, records: list[RunRecord], body: Any) -> None:
    """There is no estimate of the input, and no error."""
    with track_ai(config_key="chat", tracking=tracking):
        list(bedrock().invoke_model(modelId=MODEL, body=body))

    assert input_tokens(records) is None
    assert tracking.stats().diagnostics == {"estimated": 1}


@pytest.mark.parametrize("kind", ["long", "nested", "many"])
def test_a_request_that_is_too_large_is_not_kept(no_leaks: None, kind: str) -> None:
    """The input of a very long, deeply nested or endless request stays unknown."""
    nested: list[Any] = []
    nested.append(nested)
    messages = {"long": [{"role": "user", "content": "x" * 10_000_000}], "nested": nested, "many": [0] * 200_000}[kind]
    with OfflineLaunchDarkly({"bot": ai_config()}) as launchdarkly:
        with track_ai("bot"):
            list(mistral().chat.stream(model=MODEL, messages=messages))
        assert input_tokens(launchdarkly.sink.wait()) is None


def test_each_call_is_estimated_by_its_own_request(tracking: Tracking, records: list[RunRecord]) -> None:
    """Each of several calls without usage has its own prompt, as it was when the call was made."""
    client = mistral()
    conversation: list[Any] = list(HI)
    with track_ai(config_key="chat", tracking=tracking):
        list(client.chat.stream(model=MODEL, messages=conversation))
        conversation.append({"role": "assistant", "content": "Hello"})
        list(client.chat.stream(model=MODEL, messages=conversation))
        conversation.clear()

    first = estimated({"messages": HI}, "chat")
    second = estimated({"messages": [*HI, {"role": "assistant", "content": "Hello"}]}, "chat")
    assert first is not None
    assert second is not None
    assert input_tokens(records) == first + second


class Prompt(str):
    """A text that can be referenced weakly."""


def test_nothing_is_kept_after_the_run(tracking: Tracking, records: list[RunRecord]) -> None:
    """The request is forgotten when the run is over, whatever the caller still holds."""
    prompt = Prompt("secret words")
    there = weakref.ref(prompt)
    with track_ai(config_key="chat", tracking=tracking):
        stream = mistral().chat.stream(model="m", messages=[{"role": "user", "content": prompt}])
        next(stream)
    del prompt

    assert there() is None
    assert "secret" not in repr(records)
    assert next(stream, None) is None
