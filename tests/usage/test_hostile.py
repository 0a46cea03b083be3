"""Nothing that a provider's library hands out can break a request."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any
from unittest.mock import MagicMock, Mock

import pytest

from ldai_integrations.usage import (
    StreamReader,
    count_tokens,
    estimate_output,
    estimate_prompt,
    extract,
    extract_stream,
    read,
)

from .bodies import BODIES

APIS = ("chat", "responses", "messages", "converse", "generate", "embeddings")


class Hostile:
    """Raise on everything."""

    __hash__ = None  # type: ignore[assignment]

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(name)

    def __repr__(self) -> str:
        raise RuntimeError

    def __bool__(self) -> bool:
        raise RuntimeError

    def __eq__(self, other: object) -> bool:
        raise RuntimeError

    @property
    def __class__(self) -> Any:
        raise RuntimeError

    @__class__.setter
    def __class__(self, value: Any) -> None:
        raise RuntimeError


class Endless(Sequence[Any]):
    """A list without an end, whose items fail in the middle."""

    def __getitem__(self, index: Any) -> Any:
        if index > 2:
            raise RuntimeError
        return {"text": "x"}

    def __len__(self) -> int:
        return 1 << 40


def cyclic() -> dict[str, Any]:
    """Return a dict that holds itself wherever something is looked for."""
    value: dict[str, Any] = {}
    for name in ("usage", "message", "delta", "response", "parameters", "properties", "items", "function", "error"):
        value[name] = value
    for name in ("choices", "candidates", "content", "parts", "tools", "tool_calls", "messages", "input", "anyOf"):
        value[name] = [value]
    return value


def deep() -> list[Any]:
    """Return a list nested past the recursion limit."""
    value: list[Any] = []
    for _ in range(5_000):
        value = [value]
    return value


VALUES: dict[str, Callable[[], Any]] = {
    "nothing": lambda: None,
    "hostile": Hostile,
    "mock": Mock,
    "magic": MagicMock,
    "string in disguise": lambda: MagicMock(spec=str),
    "dict in disguise": lambda: MagicMock(spec=dict),
    "endless": Endless,
    "cyclic": cyclic,
    "deep": deep,
    "surrogate": lambda: "\ud800",
    "bytes": lambda: b"\xff",
    "class": lambda: dict,
}


@pytest.mark.parametrize("make", VALUES.values(), ids=VALUES)
def test_no_value_raises(make: Callable[[], Any]) -> None:
    """No public function raises, whatever it is given."""
    value = make()

    for response in (
        value,
        {"choices": value},
        {"choices": [value]},
        {"usage": value},
        {"type": "message", "content": [value]},
    ):
        extract(response)
        read(response)
        extract_stream([response, value])
    for api in APIS:
        for request in (value, {"messages": value, "input": value, "contents": value}, {"messages": [value]}):
            estimate_prompt(request, model=value, api=api)  # type: ignore[arg-type]
    estimate_output(value, model=value, tool_calls=[value], request=value)
    count_tokens(value, model=value)


@pytest.mark.parametrize("make", VALUES.values(), ids=VALUES)
def test_one_bad_field_leaves_the_others(make: Callable[[], Any]) -> None:
    """A field that cannot be read is missing; the rest of the response counts."""
    body = {"choices": [{"message": {"content": "Hi"}}], "model": make(), "usage": {"prompt_tokens": 3}}
    reading = read(body)

    assert reading is not None
    assert reading.text == "Hi"
    assert reading.usage is not None
    assert reading.usage.input_tokens == 3


def scrambled(value: Any, dice: random.Random) -> Any:
    """Return a copy with random parts replaced by what does not belong there."""
    if dice.random() < 0.1:
        return dice.choice(list(VALUES.values()))()
    if isinstance(value, dict):
        return {name: scrambled(inner, dice) for name, inner in value.items()}
    return [scrambled(inner, dice) for inner in value] if isinstance(value, list) else value


@pytest.mark.parametrize("seed", range(20))
def test_scrambled_responses_give_sound_counts_or_none(seed: int) -> None:
    """Whatever is wrong in a response, a count is a plain integer of zero or more."""
    dice = random.Random(seed)
    for body in BODIES:
        reader = StreamReader()
        for event in (*body.events, body.whole):
            reader.feed(scrambled(event, dice))
        usage = reader.reading().usage
        for count in (usage.input_tokens, usage.output_tokens, usage.total_tokens) if usage is not None else ():
            assert count is None or (type(count) is int and count >= 0)
