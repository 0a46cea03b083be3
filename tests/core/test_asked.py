"""What a wrapped client asked: kept as it was, bounded, and estimated where the provider tells nothing."""

from __future__ import annotations

import json
import weakref
from types import SimpleNamespace
from typing import Any

import pytest

from ldai_integrations import RunRecord, Tracking, track_ai, wrap_client
from ldai_integrations._core.asked import MOST_KEPT, Asked
from ldai_integrations.usage import estimate_prompt

HI = [{"role": "user", "content": "How many tokens are these words worth?"}]
LONGER = [{"role": "system", "content": "Be brief."}, *HI]


class Streaming:
    """Be a client whose streams tell no usage."""

    def __init__(self) -> None:
        self.chat = SimpleNamespace(complete=self.complete, stream=self.complete)

    def complete(self, **_kwargs: Any) -> Any:
        """Stream an answer."""
        return iter([{"id": "1", "choices": [{"index": 0, "delta": {"content": "Hello"}}]}])


@pytest.mark.usefixtures("o200k")
@pytest.mark.parametrize(
    ("api", "request_", "same_as"),
    [
        ("chat", {"messages": LONGER}, ({"messages": LONGER}, "chat")),
        ("completions", {"prompt": "How many"}, ({"input": "How many"}, "embeddings")),
        (
            "cohere",
            {
                "message": HI[0]["content"],
                "preamble": "Be brief.",
                "chat_history": [{"role": "USER", "message": "a"}, SimpleNamespace(role="CHATBOT", message="b")],
            },
            (
                {
                    "messages": [
                        LONGER[0],
                        {"role": "user", "content": "a"},
                        {"role": "chatbot", "content": "b"},
                        *HI,
                    ]
                },
                "chat",
            ),
        ),
        ("cohere", {"messages": LONGER}, ({"messages": LONGER}, "chat")),
        (
            "invoke",
            {"body": json.dumps({"anthropic_version": "bedrock-2023-05-31", "system": "Be brief.", "messages": HI})},
            ({"system": "Be brief.", "messages": HI}, "messages"),
        ),
        ("invoke", {"body": b'{"inputText": "How many"}'}, ({"input": "How many"}, "embeddings")),
        ("invoke", {"body": json.dumps({"messages": LONGER})}, ({"messages": LONGER}, "chat")),
        (
            "invoke",
            {
                "body": json.dumps(
                    {"schemaVersion": "messages-v1", "messages": [{"role": "user", "content": [{"text": "Hi"}]}]}
                )
            },
            ({"messages": [{"role": "user", "content": [{"text": "Hi"}]}]}, "converse"),
        ),
    ],
)
def test_every_way_of_asking_is_read(api: str, request_: Any, same_as: tuple[Any, Any]) -> None:
    """A request is estimated as its plain form is."""
    expected = estimate_prompt(same_as[0], model="gpt-4o-mini", api=same_as[1])

    assert expected is not None
    assert Asked(api, request_).estimate("gpt-4o-mini") == expected


@pytest.mark.parametrize("body", [None, "no json", "[1]", b"\xff", "{}"])
def test_a_body_that_cannot_be_read(body: Any) -> None:
    """There is no estimate, and no error."""
    assert Asked("invoke", {"body": body}).estimate("m") is None
    assert Asked("nonsense", {"messages": HI}).estimate("m") is None


def test_what_is_kept_is_what_was_asked() -> None:
    """Later changes of the caller's lists and dicts are not seen, and texts are not copied."""
    text = "x" * 1000
    messages: list[Any] = [{"role": "user", "content": [{"type": "text", "text": text}]}]
    kept = Asked("chat", {"messages": messages, "model": "m"}).kept(10_000)
    messages[0]["content"].append("more")
    messages.append("more")

    assert kept is not None
    assert kept.request["messages"] == [{"role": "user", "content": [{"type": "text", "text": text}]}]
    assert kept.request["messages"][0]["content"][0]["text"] is text
    assert (kept.model, kept.chars) == ("m", len("usertextm") + 1000)


def test_what_is_too_long_is_not_kept() -> None:
    """Text beyond the room, endless nesting and endless lists are not kept."""
    nested: list[Any] = []
    nested.append(nested)

    assert Asked("chat", {"messages": "x" * 11}).kept(10) is None
    assert Asked("chat", {"messages": nested}).kept(10) is None
    assert Asked("chat", {"messages": [0] * 200_000}).kept(10) is None


def test_each_call_is_estimated_by_what_it_asked(tracking: Tracking, records: list[RunRecord]) -> None:
    """Of several calls without usage, each has its own prompt, as it was when it was asked."""
    client: Any = wrap_client(Streaming())
    conversation: list[Any] = list(HI)
    with track_ai(config_key="chat", tracking=tracking):
        list(client.chat.stream(model="gpt-4o-mini", messages=conversation))
        conversation.append({"role": "assistant", "content": "Hello"})
        list(client.chat.stream(model="gpt-4o-mini", messages=conversation))
        conversation.clear()

    first = estimate_prompt({"messages": HI}, model="gpt-4o-mini", api="chat")
    answered = [*HI, {"role": "assistant", "content": "Hello"}]
    second = estimate_prompt({"messages": answered}, model="gpt-4o-mini", api="chat")
    usage = records[0].usage
    assert usage is not None
    assert first is not None
    assert second is not None
    assert usage.input_tokens == (first.input_tokens or 0) + (second.input_tokens or 0)
    assert usage.source == "estimate"


def test_one_run_keeps_only_so_much(tracking: Tracking, records: list[RunRecord]) -> None:
    """Of requests beyond the limit the prompt stays unknown; the answers are counted."""
    client: Any = wrap_client(Streaming())
    with track_ai(config_key="chat", tracking=tracking) as run:
        kept = []
        for _ in range(3):
            list(client.chat.stream(model="m", messages=[{"role": "user", "content": " " * (MOST_KEPT // 2)}]))
            kept.append(run.evidence.calls.asked_chars)
        run.evidence.calls.release()

    assert MOST_KEPT // 2 < kept[0] < MOST_KEPT
    assert kept == [kept[0]] * 3


class Prompt(str):
    """Be a text of which one can tell whether it is still there."""


def test_nothing_is_kept_after_the_run(tracking: Tracking, records: list[RunRecord]) -> None:
    """When the run is accounted for the request is forgotten, whatever the caller still holds."""
    client: Any = wrap_client(Streaming())
    prompt = Prompt("secret words")
    there = weakref.ref(prompt)
    with track_ai(config_key="chat", tracking=tracking):
        stream = client.chat.stream(model="m", messages=[{"role": "user", "content": prompt}])
        next(stream)
    del prompt

    assert there() is None
    assert "secret" not in repr(records)
    assert next(stream, None) is None
