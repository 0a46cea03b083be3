"""The counts of a usage add up, and no count is smaller than its parts."""

from __future__ import annotations

import random
from dataclasses import fields, replace
from types import SimpleNamespace
from typing import Any

import pytest

from ldai_integrations.records import Usage
from ldai_integrations.usage import extract, extract_stream, read, read_span, reconcile

Json = dict[str, Any]

NAMES = tuple(field.name for field in fields(Usage) if field.name.endswith("_tokens"))


def is_consistent(usage: Usage | None) -> bool:
    """Return whether the counts add up and are not smaller than their parts."""
    assert usage is not None
    inputs, outputs, total = usage.input_tokens, usage.output_tokens, usage.total_tokens
    if inputs is not None and max(usage.cached_input_tokens or 0, usage.cache_write_input_tokens or 0) > inputs:
        return False
    if outputs is not None and (usage.reasoning_tokens or 0) > outputs:
        return False
    if inputs is not None and (usage.input_audio_tokens or 0) + (usage.input_image_tokens or 0) > inputs:
        return False
    if outputs is not None and (usage.output_audio_tokens or 0) + (usage.output_image_tokens or 0) > outputs:
        return False
    for kind in ("audio", "image"):
        cached, of_kind = getattr(usage, f"cached_input_{kind}_tokens") or 0, getattr(usage, f"input_{kind}_tokens")
        if any(whole is not None and cached > whole for whole in (usage.cached_input_tokens, of_kind)):
            return False
    written = usage.cache_write_input_tokens
    if written is not None and (usage.cache_write_1h_input_tokens or 0) > written:
        return False
    if total is None:
        return True
    if inputs is None or outputs is None:
        return (inputs or 0) + (outputs or 0) + (usage.other_tokens or 0) <= total
    return inputs + outputs + (usage.other_tokens or 0) == total


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        pytest.param(
            {
                "prompt_tokens": 2168,
                "completion_tokens": 100,
                "total_tokens": 2268,
                "prompt_tokens_details": {"cached_tokens": 2161, "cache_write_tokens": 2161},
            },
            Usage(2168, 100, 2268, 2161, 2161),
            id="cached and written tokens that each nearly equal the prompt (OpenRouter with Gemini)",
        ),
        pytest.param(
            {
                "prompt_tokens": 10,
                "completion_tokens": 213,
                "total_tokens": 223,
                "prompt_tokens_details": {"cached_tokens": 161},
            },
            Usage(171, 213, 384, 161),
            id="cached tokens outside of the prompt and of the total (Grok on Azure)",
        ),
        pytest.param(
            {
                "prompt_tokens": 10,
                "completion_tokens": 5,
                "total_tokens": 15,
                "completion_tokens_details": {"reasoning_tokens": 9},
            },
            Usage(10, 5, 15, reasoning_tokens=5),
            id="reasoning that is more than the output",
        ),
        pytest.param({"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 9}, Usage(10, 5, 15), id="less"),
        pytest.param({"prompt_tokens": 10, "completion_tokens": 0, "total_tokens": 10}, Usage(10, 0, 10), id="zero"),
    ],
)
def test_inconsistent_counts_are_made_consistent(usage: Json, expected: Usage) -> None:
    """A part that is more than the whole was counted separately; consistent counts are not changed."""
    found = extract({"choices": [], "usage": usage})

    assert found == expected
    assert is_consistent(found)


def test_several_generations_in_one_response() -> None:
    """Gemini's tools make several generations in one response; the last usage is that of the whole response."""
    parts = [
        {"promptTokenCount": 50, "candidatesTokenCount": 4, "toolUsePromptTokenCount": 30, "totalTokenCount": 84},
        {"promptTokenCount": 90, "candidatesTokenCount": 20, "thoughtsTokenCount": 7, "totalTokenCount": 117},
    ]
    events = [
        {
            "responseId": "r",
            "candidates": [{"index": 0, "content": {"parts": [{"text": "Hi"}]}, "finishReason": "STOP"}],
            "usageMetadata": usage,
        }
        for usage in parts
    ]

    assert extract_stream(events) == Usage(90, 27, 117, reasoning_tokens=7)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"embedding": [0.1], "inputTextTokenCount": 5}, Usage(5, None, 5)),
        ({"embeddingsByType": {"float": [0.1]}, "inputTextTokenCount": 5}, Usage(5, None, 5)),
        ({"object": "list", "data": [], "usage": {"prompt_tokens": 5, "total_tokens": 5}}, Usage(5, None, 5)),
        ({"embeddings": [{"values": [0.1]}], "usageMetadata": {"promptTokenCount": 771}}, Usage(771, 0, 771)),
        ({"embedding": {"values": [0.1]}, "usageMetadata": {"promptTokenCount": 771}}, Usage(771, 0, 771)),
        (
            SimpleNamespace(embeddings=[], usage_metadata=SimpleNamespace(prompt_token_count=771)),
            Usage(771, 0, 771),
        ),
    ],
)
def test_embeddings_have_a_total(body: Any, expected: Usage) -> None:
    """The total of an embedding is its input."""
    assert extract(body) == expected


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        (Usage(1, 2, 3), Usage(10, 20, 30), Usage(11, 22, 33)),
        (Usage(1), Usage(10, 20, 30), Usage(11, 20, 31, lower_bound=True)),
        (Usage(output_tokens=2), Usage(10, 20, 30), Usage(10, 22, 32, lower_bound=True)),
        (Usage(), Usage(10, 20, 30), Usage(10, 20, 30, lower_bound=True)),
        (Usage(5, None, 5), Usage(10, 20, 30), Usage(15, 20, 35)),
        (Usage(5, None, 5), Usage(6, None, 6), Usage(11, None, 11)),
        (Usage(1, 2, 8, other_tokens=5), Usage(10, 20, 30), Usage(11, 22, 38, other_tokens=5)),
        (Usage(1, 2, 3, cached_input_tokens=1), Usage(10, 20, 30), Usage(11, 22, 33, cached_input_tokens=1)),
    ],
)
def test_sums_of_usages(one: Usage, other: Usage, expected: Usage) -> None:
    """A count that only one side reports makes the sum a lower bound; an embedding has no output."""
    assert one + other == other + one == expected
    assert is_consistent(one + other)


@pytest.mark.parametrize(
    ("known", "expected"),
    [
        (Usage(), (8, 5, 13)),
        (Usage(input_tokens=7), (7, 5, 12)),
        (Usage(output_tokens=7), (8, 7, 15)),
        (Usage(total_tokens=40), (35, 5, 40)),
        (Usage(total_tokens=4), (0, 4, 4)),
        (Usage(7, None, 40), (7, 33, 40)),
        (Usage(None, 9, 40), (31, 9, 40)),
        (Usage(None, 9, 9), (8, 9, 17)),
        (Usage(7, 8), (7, 8, 15)),
    ],
)
def test_estimates_add_up_to_a_known_total(known: Usage, expected: tuple[int, int, int]) -> None:
    """What the provider sent is not overwritten, and the estimates fit to it."""
    estimate = Usage(8, 5, estimated=frozenset(("input_tokens", "output_tokens")))
    filled = known.filled_from(estimate)

    assert (filled.input_tokens, filled.output_tokens, filled.total_tokens) == expected


def test_spans_are_consistent_too() -> None:
    """Instrumentations that count cached tokens separately are corrected."""
    prefix = "gen_ai.usage."
    counts = {"input_tokens": 10, "output_tokens": 5, "cache_read.input_tokens": 100}
    reading = read_span({f"{prefix}{name}": count for name, count in counts.items()})

    assert reading is not None
    assert reading.usage == Usage(110, 5, 115, cached_input_tokens=100)


COUNTS = (0, 1, 2, 9, 10, 200, 5_000, None)


@pytest.mark.parametrize("seed", range(4))
def test_counts_of_any_report_add_up(seed: int) -> None:
    """Whatever numbers a usage has, and in whichever shape, the counts add up and are not smaller than their parts."""
    chance = random.Random(seed)
    for _ in range(2_000):
        counts: dict[str, Any] = {name: chance.choice(COUNTS) for name in NAMES}
        given = Usage(**counts)
        chat = {
            "prompt_tokens": given.input_tokens,
            "completion_tokens": given.output_tokens,
            "total_tokens": given.total_tokens,
            "prompt_tokens_details": {
                "cached_tokens": given.cached_input_tokens,
                "cache_write_tokens": given.cache_write_input_tokens,
                "audio_tokens": given.input_audio_tokens,
            },
            "completion_tokens_details": {
                "reasoning_tokens": given.reasoning_tokens,
                "audio_tokens": given.output_audio_tokens,
            },
        }
        anthropic = {
            "input_tokens": given.input_tokens,
            "output_tokens": given.output_tokens,
            "cache_read_input_tokens": given.cached_input_tokens,
            "cache_creation_input_tokens": given.cache_write_input_tokens,
        }
        gemini = {
            "promptTokenCount": given.input_tokens,
            "candidatesTokenCount": given.output_tokens,
            "thoughtsTokenCount": given.reasoning_tokens,
            "toolUsePromptTokenCount": given.other_tokens,
            "totalTokenCount": given.total_tokens,
        }
        for usage in (reconcile(given), *(extract({"usage": raw}) for raw in (chat, anthropic, gemini))):
            assert usage is None or is_consistent(usage), given


@pytest.mark.parametrize("seed", range(2))
def test_consistent_counts_are_not_changed(seed: int) -> None:
    """What adds up is the provider's own figure, and reconciling it again changes nothing."""
    chance = random.Random(seed)
    for _ in range(500):
        cached, rest, text, reasoning = (chance.randint(0, 5_000) for _ in range(4))
        usage = Usage(cached + rest, text + reasoning, cached + rest + text + reasoning, cached, None, reasoning)
        assert reconcile(usage) == usage


@pytest.mark.parametrize("wrong", [-1, True, 1.5, float("nan"), 1_000_000_000])
@pytest.mark.parametrize("name", ["input_tokens", "output_tokens", "total_tokens", "cached_input_tokens"])
def test_a_count_that_cannot_be_true(wrong: Any, name: str) -> None:
    """A usage with a number that is no count of tokens is unknown as a whole if the application reports it."""
    assert reconcile(replace(Usage(10, 5, 15), **{name: wrong})) is None


def test_what_is_no_usage_is_unknown() -> None:
    """An object of another class has no counts, and never raises."""
    for value in (None, {"input_tokens": 1}, object()):
        assert reconcile(value) is None  # type: ignore[arg-type]


@pytest.mark.parametrize("wrong", [-1, True, 1.5, 1_000_000_000])
def test_a_wrong_count_of_a_provider_is_unknown(wrong: Any) -> None:
    """The other counts of the report are kept, and the reading says that one was wrong."""
    usage = {"prompt_tokens": 10, "completion_tokens": wrong, "total_tokens": wrong}
    answer = {"choices": [{"message": {"content": "Hi"}}], "usage": usage}
    reading = read(answer)

    assert reading is not None
    assert (reading.usage, reading.has_wrong_counts) == (Usage(10), True)
    for counts in (usage, {**usage, "prompt_tokens": wrong}):
        twice = read([answer, {**answer, "usage": counts}])
        assert twice is not None
        assert twice.has_wrong_counts
    nothing = read({**answer, "usage": dict.fromkeys(usage, wrong)})
    assert nothing is not None
    assert (nothing.usage, nothing.has_wrong_counts) == (None, True)
    span = read_span({"gen_ai.usage.input_tokens": 10, "gen_ai.usage.output_tokens": wrong})
    assert span is not None
    assert (span.usage, span.has_wrong_counts) == (Usage(10), True)


def test_numbers_that_are_no_counts_are_not_wrong() -> None:
    """Seconds, prices and missing numbers beside the counts are no wrong counts."""
    usage = {
        "prompt_tokens": 10,
        "completion_tokens": 5,
        "total_tokens": None,
        "cost": 0.1,
        "prompt_audio_seconds": 1.5,
    }
    reading = read({"choices": [], "usage": usage})

    assert reading is not None
    assert (reading.usage, reading.has_wrong_counts) == (Usage(10, 5, 15), False)


def test_parts_that_do_not_fit_are_unknown() -> None:
    """Audio and images that are more than the whole are unknown; the whole is believed."""
    usage = {"prompt_tokens": 10, "completion_tokens": 5, "prompt_tokens_details": {"audio_tokens": 11}}

    assert extract({"choices": [], "usage": usage}) == Usage(10, 5, 15)
