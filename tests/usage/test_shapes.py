"""Usage is found wherever a provider, gateway or framework puts it, by rules that know none of them by name."""

from __future__ import annotations

import base64
import json
from types import SimpleNamespace
from typing import Any

import pytest

from ldai_integrations.records import Usage
from ldai_integrations.usage import extract, extract_stream, read

CHAT: dict[str, int] = {"prompt_tokens": 20, "completion_tokens": 9, "total_tokens": 29}
COMPLETION = {
    "id": "c",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hi"}, "finish_reason": "stop"}],
    "usage": CHAT,
}
ANTHROPIC: dict[str, int] = {
    "input_tokens": 10,
    "cache_read_input_tokens": 100,
    "cache_creation_input_tokens": 20,
    "output_tokens": 15,
}
CACHED = Usage(130, 15, 145, cached_input_tokens=100, cache_write_input_tokens=20)
GEMINI = {
    "candidates": [{"content": {"parts": [{"text": "Hi"}]}, "finishReason": "STOP"}],
    "usageMetadata": {"promptTokenCount": 12, "candidatesTokenCount": 10, "totalTokenCount": 22},
    "responseId": "r",
}
LANGCHAIN = {"input_tokens": 20, "output_tokens": 9, "total_tokens": 29}
ONE, TWO = Usage(20, 9, 29), Usage(40, 18, 58)


def thing(value: Any) -> Any:
    """Return plain data as objects with attributes, as a provider's library hands it out."""
    if isinstance(value, dict):
        return SimpleNamespace(**{name: thing(inner) for name, inner in value.items()})
    return [thing(inner) for inner in value] if isinstance(value, list) else value


def message(**fields: Any) -> Any:
    """Return a LangChain message."""
    blank = {"type": "ai", "content": "Hi", "response_metadata": {}, "tool_calls": [], "usage_metadata": LANGCHAIN}
    return SimpleNamespace(**{**blank, **fields})


def anthropic_stream(start: dict[str, int], end: dict[str, int]) -> list[Any]:
    """Return the events of a message whose usage comes in two parts."""
    return [
        {"type": "message_start", "message": {"id": "m", "content": [], "usage": start}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hi"}},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": end},
        {"type": "message_stop"},
    ]


HOLDERS = ("response", "data", "result", "message", "body", "raw", "completion", "output", "payload", "llm_response")


@pytest.mark.parametrize("holder", HOLDERS)
def test_a_response_inside_something_else(holder: str) -> None:
    """A response inside of an envelope is read: a dict, an object, or one inside of another."""
    for response in ({holder: COMPLETION}, thing({holder: COMPLETION}), {"result": {holder: COMPLETION}}):
        assert extract(response) == ONE


@pytest.mark.parametrize(
    ("response", "expected"),
    [
        pytest.param({"statusCode": 200, "body": json.dumps(COMPLETION)}, ONE, id="a body as JSON text"),
        pytest.param({"body": json.dumps(COMPLETION).encode()}, ONE, id="a body as bytes"),
        pytest.param([COMPLETION, {**COMPLETION, "id": "d"}], TWO, id="a list of responses"),
        pytest.param(({"parsed": 1}, thing(COMPLETION)), ONE, id="a tuple with what was parsed"),
        pytest.param([{**GEMINI, "usageMetadata": {"promptTokenCount": 12}}, GEMINI], Usage(12, 10, 22), id="chunks"),
        pytest.param({"result": {"response": "Hi", "usage": CHAT}, "messages": []}, ONE, id="cloudflare"),
        pytest.param({"result": {"message": {"id": "m", "type": "message", "usage": ANTHROPIC}}}, CACHED, id="batch"),
        pytest.param({"choices": [{"delta": {}, "usage": CHAT}]}, ONE, id="moonshot"),
        pytest.param(
            {
                "ResponseMetadata": {
                    "HTTPHeaders": {"x-amzn-bedrock-input-token-count": "20", "x-amzn-bedrock-output-token-count": "9"}
                },
                "body": object(),
            },
            ONE,
            id="the headers of InvokeModel",
        ),
        pytest.param({"content": "Hi", "tokens_evaluated": 20, "tokens_predicted": 9}, ONE, id="llama.cpp"),
        pytest.param(
            [{"generated_text": "Hi", "details": {"generated_tokens": 9, "prefill": [1] * 20}}], ONE, id="tgi"
        ),
        pytest.param(
            {"predictions": [{"embeddings": {"statistics": {"token_count": n}}} for n in (12, 3)]},
            Usage(15, None, 15),
            id="vertex embeddings",
        ),
        pytest.param(thing({"embeddings": [{"statistics": {"token_count": 4.0}}]}), Usage(4, None, 4), id="genai"),
        pytest.param(
            {
                "metadata": {
                    "tokenMetadata": {"inputTokenCount": {"totalTokens": 20}, "outputTokenCount": {"totalTokens": 9}}
                }
            },
            ONE,
            id="palm",
        ),
        pytest.param({"a": LANGCHAIN, "b": LANGCHAIN}, TWO, id="usage by model"),
        pytest.param(
            {
                "text": "Hi",
                "usage": {
                    "inputTokens": 20,
                    "outputTokens": 9,
                    "totalTokens": 29,
                    "cachedInputTokens": 4,
                    "reasoningTokens": 6,
                },
            },
            Usage(20, 9, 29, cached_input_tokens=4, reasoning_tokens=6),
            id="ai sdk",
        ),
        pytest.param(SimpleNamespace(raw=thing(COMPLETION), additional_kwargs={}), ONE, id="llama-index"),
        pytest.param({"replies": [SimpleNamespace(meta={"usage": CHAT})]}, ONE, id="haystack"),
        pytest.param(
            thing({"content": "Hi", "token_usage": {"input_tokens": 20, "output_tokens": 9}}), ONE, id="smolagents"
        ),
        pytest.param(
            message(usage_metadata=None, response_metadata={"prompt_eval_count": 20, "eval_count": 9}),
            ONE,
            id="langchain on ollama",
        ),
        pytest.param({"lc": 1, "kwargs": vars(message())}, ONE, id="langchain serialized"),
        pytest.param({"messages": [message(), message()]}, TWO, id="langgraph without ids"),
        pytest.param({"messages": [message(id="a"), message(type="human"), message(id="b")]}, ONE, id="history"),
        pytest.param({"messages": message()}, ONE, id="a node's one message"),
        pytest.param(
            SimpleNamespace(generations=[[SimpleNamespace(text="Hi")]], llm_output={"token_usage": CHAT}),
            ONE,
            id="llm result",
        ),
    ],
)
def test_places(response: Any, expected: Usage) -> None:
    """Responses from documentation and public code are read."""
    assert extract(response) == expected


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        pytest.param(anthropic_stream(ANTHROPIC, ANTHROPIC), CACHED, id="the end repeats everything"),
        pytest.param(
            anthropic_stream(ANTHROPIC, {"input_tokens": 0, "output_tokens": 15}), CACHED, id="zero at the end"
        ),
        pytest.param(anthropic_stream({"input_tokens": 0, "output_tokens": 0}, ANTHROPIC), CACHED, id="zero first"),
        pytest.param(
            [{"event": "x", "data": event} for event in anthropic_stream(ANTHROPIC, {"output_tokens": 15})],
            CACHED,
            id="named events",
        ),
        pytest.param(
            [
                {"bytes": base64.b64encode(json.dumps(event).encode()).decode()}
                for event in anthropic_stream(ANTHROPIC, {"output_tokens": 15})
            ],
            CACHED,
            id="base64 chunks",
        ),
        pytest.param(
            [thing({"data": {"choices": [], "usage": None}}), thing({"data": {"choices": [], "usage": CHAT}})],
            ONE,
            id="mistral's library",
        ),
        pytest.param(
            [{"choices": [], "usage": CHAT}, {"choices": [], "usage": dict.fromkeys(CHAT, 0)}],
            ONE,
            id="nothing but zeros last",
        ),
        pytest.param(
            [{"id": str(n), "choices": [{"delta": {}}], "usage": dict(CHAT, completion_tokens=n)} for n in (1, 5, 9)],
            ONE,
            id="running totals under changing ids",
        ),
        pytest.param([{"event": {"metadata": {"usage": {"inputTokens": 20, "outputTokens": 9}}}}], ONE, id="strands"),
        pytest.param(
            [
                {
                    "type": "response.done",
                    "response": {
                        "object": "realtime.response",
                        "id": turn,
                        "usage": {**LANGCHAIN, "input_token_details": {"cached_tokens": 4}},
                    },
                }
                for turn in "ab"
            ],
            Usage(40, 18, 58, cached_input_tokens=8),
            id="realtime turns",
        ),
        pytest.param(
            [
                {"type": "transcript.text.delta", "delta": "Hi"},
                {"type": "transcript.text.done", "text": "Hi", "usage": LANGCHAIN},
            ],
            ONE,
            id="transcription",
        ),
        pytest.param(
            [
                {"serverContent": {"modelTurn": {"parts": [{"text": "Hi"}]}}},
                {"usageMetadata": {"promptTokenCount": 20, "responseTokenCount": 9, "totalTokenCount": 29}},
            ],
            ONE,
            id="gemini live",
        ),
        pytest.param(
            [
                {"model": {"messages": [message(id="a")]}},
                {"tools": {"messages": []}},
                ("updates", {"model": {"messages": [message(id="b")]}}),
            ],
            TWO,
            id="langgraph updates",
        ),
        pytest.param(
            [
                message(type="AIMessageChunk", id="a", usage_metadata=None),
                message(
                    type="AIMessageChunk",
                    id="a",
                    usage_metadata={"input_tokens": 0, "output_tokens": 9, "total_tokens": 9},
                ),
            ],
            Usage(output_tokens=9),
            id="langchain, which writes zero where the input was not told",
        ),
        pytest.param(
            [
                message(
                    type="AIMessageChunk", id="a", usage_metadata={**LANGCHAIN, "output_tokens": 0, "total_tokens": 20}
                ),
                message(
                    type="AIMessageChunk",
                    id="a",
                    usage_metadata={"input_tokens": 0, "output_tokens": 9, "total_tokens": 9},
                ),
            ],
            ONE,
            id="langchain's parts",
        ),
    ],
)
def test_streams(events: list[Any], expected: Usage) -> None:
    """A stream has the figures of the whole response, in whichever of its events they are."""
    assert extract_stream(events) == expected


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        pytest.param(
            {"prompt_tokens": 10, "completion_tokens": 15, "total_tokens": 145, **ANTHROPIC},
            CACHED,
            id="a total that includes a cache the input leaves out",
        ),
        pytest.param(
            {"prompt_tokens": 10, "completion_tokens": 15, "prompt_tokens_details": {"cached_tokens": 100}},
            Usage(110, 15, 125, cached_input_tokens=100),
            id="a cache larger than the input",
        ),
        pytest.param(
            {"inputTokens": 10, "outputTokens": 15, "totalTokens": 25, "cacheReadInputTokens": 100},
            Usage(110, 15, 125, cached_input_tokens=100),
            id="converse's first totals",
        ),
        pytest.param(
            {"prompt_tokens": 188, "completion_tokens": 55, "total_tokens": 7355, "connector_tokens": 7112},
            Usage(188, 55, 7355, other_tokens=7112),
            id="what mistral's connectors read",
        ),
        pytest.param({"prompt_tokens": "20", "completion_tokens": "9", "total_tokens": "29"}, ONE, id="text"),
        pytest.param({"prompt_tokens": 20, "total_tokens": 29}, ONE, id="no output"),
        pytest.param({"completion_tokens": 9, "total_tokens": 29}, ONE, id="no input"),
        pytest.param(
            {"prompt_tokens": 20, "completion_tokens": None, "total_tokens": 20},
            Usage(20, None, 20),
            id="nothing was generated",
        ),
        pytest.param(
            {
                "input_tokens": 10,
                "output_tokens": 15,
                "total_tokens": 145,
                "cache_read_input_tokens": 100,
                "cache_write_input_tokens": 20,
            },
            CACHED,
            id="aws in snake case",
        ),
        pytest.param(
            {"prompt_tokens": 20, "completion_tokens": 9, "completion_tokens_details": {"reasoning_tokens": 30}},
            Usage(20, 39, 59, reasoning_tokens=30),
            id="reasoning larger than the output",
        ),
    ],
)
def test_what_is_left_out(usage: dict[str, Any], expected: Usage) -> None:
    """Counts that a host does not include in others, leaves out or writes as text are read."""
    assert extract({"answer": "Hi", "usage": usage}) == expected


def test_zeros_of_an_agents_run_are_no_usage() -> None:
    """openai-agents writes zeros where a stream of chat completions told nothing; the answer is then estimated."""
    nothing = dict.fromkeys(LANGCHAIN, 0)
    reading = read(
        SimpleNamespace(
            raw_responses=[SimpleNamespace(response_id=None, usage=thing(nothing))],
            context_wrapper=thing({"usage": nothing}),
            final_output="Hello there",
        )
    )

    assert reading is not None
    assert (reading.usage, reading.text) == (None, "Hello there")


@pytest.mark.parametrize(
    "value",
    [
        {"data": {"limits": {"total_tokens": 100_000}}},
        {"result": {"max": {"input_tokens": 200_000, "output_tokens": 64_000}}},
        {"data": {"error": {"message": "not found", "code": 404}}},
        {"message": "Hi", "body": "{not json"},
        {"messages": [{"role": "user", "content": "Hi"}]},
        {"usage": {"type": "duration", "seconds": 9}},
        [{"id": n, "title": "row"} for n in range(1_000)],
    ],
)
def test_what_only_looks_like_usage(value: Any) -> None:
    """Limits, errors and rows inside an application's own values are not taken for a provider's."""
    assert read(value) is None


def test_objects_that_run_code_when_read_are_left_alone() -> None:
    """A row of a database is not asked for anything, and no envelope is opened by calling a property."""
    asked = []

    class Row:
        __mapper__ = object()

        def __getattr__(self, name: str) -> Any:
            asked.append(name)
            raise AttributeError

    class Response:
        @property
        def data(self) -> bytes:
            asked.append("data")
            return json.dumps(COMPLETION).encode()

    assert read(Row()) is read(Response()) is read({"result": Row()}) is None
    assert asked == []
