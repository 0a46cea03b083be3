"""The counts of a usage add up, and no count is smaller than its parts."""

from __future__ import annotations

from typing import Any

import pytest

from ldai_integrations.records import Usage
from ldai_integrations.usage import extract, extract_stream, read_span

Json = dict[str, Any]


def is_consistent(usage: Usage | None) -> bool:
    """Return whether the counts add up and are not smaller than their parts."""
    assert usage is not None
    inputs, outputs, total = usage.input_tokens, usage.output_tokens, usage.total_tokens
    if inputs is not None and max(usage.cached_input_tokens or 0, usage.cache_write_input_tokens or 0) > inputs:
        return False
    if outputs is not None and (usage.reasoning_tokens or 0) > outputs:
        return False
    if inputs is None or outputs is None or total is None:
        return True
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
    ],
)
def test_embeddings_have_a_total(body: Json, expected: Usage) -> None:
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
