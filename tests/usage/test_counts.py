"""Usage objects: what a provider leaves out or counts apart is put right."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from typing import Any
from unittest.mock import MagicMock

import pytest

from ldai_integrations.records import Usage
from ldai_integrations.usage import extract, extract_stream


def chat(**usage: Any) -> Usage | None:
    """Extract from a chat completion with this usage."""
    return extract({"choices": [], "usage": usage})


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        pytest.param(
            {
                "prompt_tokens": 10,
                "completion_tokens": 5,
                "total_tokens": 45,
                "completion_tokens_details": {"reasoning_tokens": 30},
            },
            Usage(10, 35, 45, reasoning_tokens=30),
            id="xai leaves reasoning out of the output",
        ),
        pytest.param(
            {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 45},
            Usage(10, 35, 45),
            id="gemini's compatible endpoint shows reasoning in the total only",
        ),
        pytest.param(
            {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 115, "prompt_audio_seconds": 7},
            Usage(110, 5, 115, input_audio_tokens=100),
            id="mistral leaves audio out of the input",
        ),
        pytest.param(
            {
                "prompt_tokens": 10,
                "completion_tokens": 5,
                "total_tokens": 15,
                "completion_tokens_details": {"reasoning_tokens": 9},
            },
            Usage(10, 5, 15, reasoning_tokens=5),
            id="a gateway's reasoning may exceed the output it reports",
        ),
        pytest.param(
            {"prompt_tokens": 10, "completion_tokens": 5, "prompt_cache_hit_tokens": 8, "prompt_cache_miss_tokens": 2},
            Usage(10, 5, 15, cached_input_tokens=8),
            id="deepseek",
        ),
        pytest.param(
            {
                "prompt_tokens": 130,
                "completion_tokens": 5,
                "total_tokens": 135,
                "cache_read_input_tokens": 100,
                "cache_creation_input_tokens": 20,
            },
            Usage(130, 5, 135, cached_input_tokens=100, cache_write_input_tokens=20),
            id="litellm includes the cache that it also names in anthropic's words",
        ),
        pytest.param(
            {"prompt_tokens": 4, "total_tokens": 4, "completion_tokens": 0}, Usage(4, 0, 4), id="zero is a count"
        ),
    ],
)
def test_openai_shaped_usage(usage: dict[str, Any], expected: Usage) -> None:
    """The total shows which counts a host with OpenAI's format does not include in the others."""
    assert chat(**usage) == expected


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        pytest.param(
            {"input_tokens": 10, "output_tokens": 5, "total_tokens": 15, "input_token_details": {"cache_read": 4}},
            Usage(10, 5, 15, cached_input_tokens=4),
            id="langchain includes the cache",
        ),
        pytest.param(
            {
                **{"input_tokens": 7317, "output_tokens": 5, "total_tokens": 7322},
                "input_token_details": {
                    **{"cache_read": 4, "cache_creation": 0},
                    **{"ephemeral_5m_input_tokens": 1_000, "ephemeral_1h_input_tokens": 3_000},
                },
            },
            Usage(
                7317,
                5,
                7322,
                cached_input_tokens=4,
                cache_write_input_tokens=4_000,
                cache_write_1h_input_tokens=3_000,
            ),
            id="langchain lists what was written by lifetime",
        ),
        pytest.param(
            {"input_tokens": 10, "output_tokens": 5, "total_tokens": 15, "cache_read_input_tokens": 4},
            Usage(10, 5, 15, cached_input_tokens=4),
            id="a total shows that the cache is in the input",
        ),
        pytest.param(
            {"input_tokens": 10, "output_tokens": 5, "total_tokens": 19, "cache_read_input_tokens": 4},
            Usage(14, 5, 19, cached_input_tokens=4),
            id="a total shows that the cache is not",
        ),
        pytest.param(
            {
                "input_tokens": 100,
                "output_tokens": 10,
                "iterations": [
                    {"type": "compaction", "input_tokens": 9_000, "output_tokens": 300},
                    {"type": "message", "input_tokens": 100, "output_tokens": 10},
                ],
            },
            Usage(9_100, 310, 9_410),
            id="passes of a compaction that the top level leaves out",
        ),
    ],
)
def test_anthropic_shaped_usage(usage: dict[str, Any], expected: Usage) -> None:
    """Cached tokens are added if the input does not include them, and passes if the counts do not."""
    assert extract({"usage": usage}) == expected


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        pytest.param(
            {
                "promptTokenCount": 75,
                "candidatesTokenCount": 414,
                "toolUsePromptTokenCount": 573,
                "thoughtsTokenCount": 117,
                "totalTokenCount": 1179,
            },
            Usage(75, 531, 1179, reasoning_tokens=117, other_tokens=573),
            id="tool prompts are in the total only",
        ),
        pytest.param({"promptTokenCount": 8, "totalTokenCount": 8}, Usage(8, 0, 8), id="nothing was generated"),
        pytest.param(
            {"promptTokenCount": 30, "thoughtsTokenCount": 47, "totalTokenCount": 77},
            Usage(30, 47, 77, reasoning_tokens=47),
            id="only thoughts",
        ),
        pytest.param(
            {"promptTokenCount": 30, "candidatesTokenCount": 47, "thoughtsTokenCount": 40, "totalTokenCount": 77},
            Usage(30, 47, 77, reasoning_tokens=40),
            id="thoughts are in the candidates, as ADK has them for other providers",
        ),
        pytest.param({"prompt_token_count": 3, "candidates_token_count": 4}, Usage(3, 4, 7), id="the SDK's spelling"),
    ],
)
def test_gemini_usage(usage: dict[str, Any], expected: Usage) -> None:
    """The output is the candidates and the thoughts."""
    assert extract({"candidates": [], "usageMetadata": usage}) == expected


def test_bedrock_bills_cohere_apart() -> None:
    """For Cohere on Bedrock, Bedrock's own counts are used: the body includes a hidden preamble."""
    end = {
        "event_type": "stream-end",
        "response": {"text": "Hi", "meta": {"tokens": {"input_tokens": 73, "output_tokens": 8}}},
        "amazon-bedrock-invocationMetrics": {"inputTokenCount": 7, "outputTokenCount": 7},
    }

    assert extract_stream([end]) == Usage(7, 7, 14)


def test_bedrock_metering_fills_what_a_body_lacks() -> None:
    """A count of the body is kept, and Bedrock's own counts add the one that is missing."""
    event = {
        "generation": "Hi",
        "stop_reason": "stop",
        "generation_token_count": 3,
        "amazon-bedrock-invocationMetrics": {"inputTokenCount": 7, "outputTokenCount": 2},
    }

    assert extract_stream([event]) == Usage(7, 3, 10)


def test_an_event_of_nothing_but_metering() -> None:
    """Bedrock's own counts, which may come in a chunk by themselves, are not those of another call."""
    said = {"generation": "Hi", "stop_reason": "stop", "prompt_token_count": 7, "generation_token_count": 3}
    metered = {"amazon-bedrock-invocationMetrics": {"inputTokenCount": 7, "outputTokenCount": 3}}

    assert extract_stream([said, metered]) == extract_stream([metered]) == Usage(7, 3, 10)


def test_groq_sends_usage_in_its_own_field() -> None:
    """A usage in ``x_groq`` is read."""
    usage = {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}

    assert extract_stream([{"choices": [], "x_groq": {"usage": usage}}]) == Usage(1, 2, 3)


def test_repeated_usage_is_not_added_up() -> None:
    """Of several running totals, the last one is used."""
    chunks = [
        {"choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": n, "total_tokens": 9 + n}} for n in (1, 5, 5)
    ]

    assert extract_stream(chunks) == Usage(9, 5, 14)


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        False,
        -1,
        -0.5,
        1.5,
        float("nan"),
        float("inf"),
        1e300,
        10**30,
        "",
        "-12",
        "1.5",
        "\uff11\uff12",
        "9" * 30,
        [],
        {},
        MagicMock(),
        3 + 0j,
        Decimal("NaN"),
        Decimal("1.5"),
        Decimal("-1"),
        Fraction(1, 3),
    ],
)
def test_what_is_no_count_is_dropped(value: Any) -> None:
    """A malformed number is not a count, and never raises."""
    assert chat(prompt_tokens=value, completion_tokens=2) == Usage(output_tokens=2)


def test_a_total_that_is_smaller_than_a_count() -> None:
    """A total that is smaller than the output says nothing about an input that is not known."""
    assert chat(prompt_tokens=-1, completion_tokens=3, total_tokens=2) == Usage(output_tokens=3)
    assert chat(prompt_tokens=-1, completion_tokens=3, total_tokens=9) == Usage(6, 3, 9)


@pytest.mark.parametrize("value", [12, 12.0, Decimal(12), Fraction(12), "12"])
def test_whole_numbers_of_any_type_are_counts(value: Any) -> None:
    """Counts are plain integers, whatever type they came as."""
    usage = chat(prompt_tokens=value, completion_tokens=2)

    assert usage == Usage(12, 2, 14)
    assert usage is not None
    assert type(usage.input_tokens) is int
