"""What providers, gateways and their batches vary in a response without saying so, each as small as it comes.

Every answer here cost 20 tokens of input and 9 of output, but where a case says more.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from ldai_integrations.records import Usage
from ldai_integrations.usage import SSEReader, extract, extract_stream, read

Json = dict[str, Any]

TOLD = Usage(20, 9, 29)
CHAT: Json = {"prompt_tokens": 20, "completion_tokens": 9, "total_tokens": 29}
WORDS: Json = {"input_tokens": 20, "output_tokens": 9}
CAMEL: Json = {"inputTokens": 20, "outputTokens": 9, "totalTokens": 29}
GEMINI: Json = {"promptTokenCount": 20, "candidatesTokenCount": 9, "totalTokenCount": 29}
METRICS: Json = {"amazon-bedrock-invocationMetrics": {"inputTokenCount": 20, "outputTokenCount": 9}}


def completion(usage: Any, **more: Any) -> Json:
    """Return a chat completion."""
    said = {"index": 0, "message": {"role": "assistant", "content": "Hi"}, "finish_reason": "stop"}
    return {"id": "c", "object": "chat.completion", "model": "m", "choices": [said], "usage": usage, **more}


def chunk(text: str = "", **more: Any) -> Json:
    """Return a chunk of one."""
    return {"id": "c", "object": "chat.completion.chunk", "choices": [{"index": 0, "delta": {"content": text}}], **more}


def message(usage: Json) -> Json:
    """Return an Anthropic message."""
    content = [{"type": "text", "text": "Hi"}]
    return {"id": "m", "type": "message", "role": "assistant", "content": content, "stop_reason": "x", "usage": usage}


def response(status: str, usage: Any = None, **more: Any) -> Json:
    """Return a response of the Responses API."""
    return {"id": "r", "object": "response", "status": status, "output": [], "usage": usage, **more}


def candidates(**usage: Any) -> Json:
    """Return a generateContent response."""
    parts = [{"text": "Hi"}]
    return {"candidates": [{"content": {"parts": parts}, "finishReason": "STOP"}], "usageMetadata": {**GEMINI, **usage}}


@pytest.mark.parametrize(
    ("whole", "expected"),
    [
        pytest.param(
            completion({**CHAT, "prompt_tokens_details": None, "completion_tokens_details": None}),
            TOLD,
            id="no details",
        ),
        pytest.param(completion({**CHAT, "total_tokens": 0}), TOLD, id="a total left at its default"),
        pytest.param(completion({**CHAT, "total_tokens": None}), TOLD, id="no total"),
        pytest.param(completion({**CHAT, "cost": 0.1, "is_byok": False, "cost_details": {}}), TOLD, id="openrouter"),
        pytest.param(
            completion({**CHAT, "total_tokens": 123, "completion_tokens_details": {"reasoning_tokens": 94}}),
            Usage(20, 103, 123, reasoning_tokens=94),
            id="xai",
        ),
        pytest.param(
            completion({**CHAT, "cached_tokens": 2, "completion_tokens_details": {"rejected_prediction_tokens": 5}}),
            Usage(20, 9, 29, cached_input_tokens=2),
            id="predicted output",
        ),
        pytest.param({**completion(CHAT), "choices": None}, TOLD, id="no choices"),
        pytest.param(
            message(
                {
                    **WORDS,
                    "cache_creation_input_tokens": 7,
                    "cache_read_input_tokens": 100,
                    "cache_creation": {"ephemeral_5m_input_tokens": 4, "ephemeral_1h_input_tokens": 3},
                    "server_tool_use": {"web_search_requests": 1},
                }
            ),
            Usage(127, 9, 136, cached_input_tokens=100, cache_write_input_tokens=7, cache_write_1h_input_tokens=3),
            id="anthropic's caches",
        ),
        pytest.param(
            message({**WORDS, "cache_creation": {"ephemeral_5m_input_tokens": 4, "ephemeral_1h_input_tokens": 3}}),
            Usage(27, 9, 36, cache_write_input_tokens=7, cache_write_1h_input_tokens=3),
            id="a cache of each lifetime only",
        ),
        pytest.param(
            message({**WORDS, "cache_creation": None, "cache_read_input_tokens": None, "server_tool_use": None}),
            TOLD,
            id="anthropic without caches",
        ),
        pytest.param(
            candidates(
                cachedContentTokenCount=8, thoughtsTokenCount=60, toolUsePromptTokenCount=50, totalTokenCount=139
            ),
            Usage(20, 69, 139, cached_input_tokens=8, reasoning_tokens=60, other_tokens=50),
            id="gemini",
        ),
        pytest.param(
            {
                "promptFeedback": {"blockReason": "SAFETY"},
                "usageMetadata": {"promptTokenCount": 20, "totalTokenCount": 20},
            },
            Usage(20, 0, 20),
            id="gemini refuses",
        ),
        pytest.param(
            {
                "output": {"message": {"content": [{"text": "Hi"}]}},
                "usage": {**CAMEL, "totalTokens": 136, "cacheReadInputTokens": 100, "cacheReadInputTokenCount": 100}
                | {"cacheWriteInputTokens": 7, "cacheWriteInputTokenCount": 7, "cacheDetails": []},
            },
            Usage(127, 9, 136, cached_input_tokens=100, cache_write_input_tokens=7),
            id="converse",
        ),
        pytest.param({"outputs": [{"text": "Hi", "stop_reason": "stop"}], **METRICS}, TOLD, id="bedrock mistral"),
        pytest.param({"choices": [{"text": "Hi", "stop_reason": "stop"}], **METRICS}, TOLD, id="bedrock deepseek"),
        pytest.param({**completion(CHAT), "meta": {"requestDurationMillis": 9}}, TOLD, id="bedrock jamba"),
        pytest.param(
            {
                "model_id": "m",
                "results": [{"generated_text": "Hi", "input_token_count": 20, "generated_token_count": 9}],
            },
            TOLD,
            id="watsonx",
        ),
        pytest.param(response("cancelled", {**WORDS, "total_tokens": 29}), TOLD, id="a cancelled background response"),
        pytest.param({**response("completed", WORDS), "object": "response.compaction"}, TOLD, id="a compaction"),
        pytest.param(
            {"data": [{"b64_json": "x"}], "usage": WORDS | {"input_tokens_details": None}}, TOLD, id="an image"
        ),
        pytest.param({"object": "thread.run", "status": "completed", "usage": CHAT}, TOLD, id="an assistant's run"),
        pytest.param(
            {
                "text": "Hi",
                "usage": {
                    **CAMEL,
                    "inputTokenDetails": {"cacheReadTokens": 4},
                    "outputTokenDetails": {"reasoningTokens": 6},
                },
            },
            Usage(20, 9, 29, cached_input_tokens=4, reasoning_tokens=6),
            id="ai sdk 6",
        ),
        pytest.param(
            {"usage": {"inputTokens": {"total": 20, "cacheRead": 4}, "outputTokens": {"total": 9, "reasoning": 6}}},
            Usage(20, 9, 29, cached_input_tokens=4, reasoning_tokens=6),
            id="a provider of ai sdk 6",
        ),
        pytest.param(
            {"result": "Hi", "total_cost_usd": 0.1, "num_turns": 3, "usage": {**WORDS, "cache_read_input_tokens": 100}},
            Usage(120, 9, 129, cached_input_tokens=100),
            id="claude agent sdk",
        ),
    ],
)
def test_a_whole_response(whole: Json, expected: Usage) -> None:
    """Nulls, defaults and fields that nobody knows yet change nothing."""
    assert extract(whole) == expected
    assert extract({**whole, "new_field": {"new_tokens": 7}}) == expected


ANSWER = {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Hi"}]}
CREATED = {"type": "response.created", "response": response("in_progress")}
SAID = {"type": "response.output_text.delta", "output_index": 0, "delta": "Hi"}
STARTED = {"type": "message_start", "message": {**message({**WORDS, "output_tokens": 1}), "content": []}}


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        pytest.param(
            [
                {"id": "", "model": "", "object": "", "choices": [], "prompt_filter_results": [{"prompt_index": 0}]},
                chunk("Hi"),
                {**chunk(usage=CHAT), "choices": []},
            ],
            TOLD,
            id="azure filters first",
        ),
        pytest.param([chunk("Hi"), chunk(x_groq={"usage": CHAT}), chunk(usage=CHAT)], TOLD, id="groq tells twice"),
        pytest.param([chunk("Hi", usage=None), chunk(usage=CHAT)], TOLD, id="the last chunk alone"),
        pytest.param([chunk("Hi", usage=CHAT), chunk(usage=dict.fromkeys(CHAT))], TOLD, id="nothing told last"),
        pytest.param([chunk("Hi")], None, id="cut off"),
        pytest.param([STARTED], Usage(input_tokens=20), id="anthropic's, cut off"),
        pytest.param(
            [STARTED, {"type": "message_delta", "delta": {}, "usage": {"input_tokens": 900, "output_tokens": 70}}],
            Usage(900, 70, 970),
            id="a server tool adds to the prompt",
        ),
        pytest.param(
            [
                {"chunk": {"bytes": json.dumps(event).encode()}}
                for event in (
                    STARTED,
                    {"type": "message_delta", "delta": {}, "usage": {"output_tokens": 9}},
                    {"type": "message_stop", **METRICS},
                )
            ],
            TOLD,
            id="anthropic through bedrock",
        ),
        *(
            pytest.param(
                [CREATED, SAID, {"type": f"response.{end}", "response": response(end, WORDS, output=[ANSWER])}],
                TOLD,
                id=f"a response that is {end}",
            )
            for end in ("completed", "incomplete", "failed")
        ),
        pytest.param([CREATED, SAID], None, id="a response that is cut off"),
        pytest.param(
            [response("queued"), response("in_progress"), response("completed", WORDS, output=[ANSWER])],
            TOLD,
            id="a background response that is asked for again and again",
        ),
        pytest.param(
            [
                {"event": "thread.run.step.completed", "data": {"object": "thread.run.step", "usage": CHAT}},
                {"event": "thread.run.completed", "data": {"object": "thread.run", "usage": CHAT}},
            ],
            TOLD,
            id="an assistant's steps and run",
        ),
        pytest.param(
            [candidates(candidatesTokenCount=None, totalTokenCount=20), {"usageMetadata": GEMINI}],
            TOLD,
            id="gemini's counts by themselves",
        ),
        pytest.param(
            [{"delta": {"text": "Hi"}}, {"stopReason": "end_turn"}, {"metrics": {"latencyMs": 9}, "usage": CAMEL}],
            TOLD,
            id="converse without the names of its events",
        ),
        pytest.param(
            [
                {"generation": "H", "prompt_token_count": 20, "generation_token_count": 1, "stop_reason": None},
                {"generation": "i", "prompt_token_count": None, "generation_token_count": 9, "stop_reason": "stop"},
            ],
            TOLD,
            id="bedrock llama",
        ),
        pytest.param(
            [
                {"results": [{"generated_text": "H", "input_token_count": 20, "generated_token_count": 1}]},
                {"results": [{"generated_text": "i", "input_token_count": 0, "generated_token_count": 9}]},
            ],
            TOLD,
            id="watsonx",
        ),
        pytest.param(
            [
                {"type": "content-delta", "index": 0, "delta": {"message": {"content": {"text": "Hi"}}}},
                {
                    "type": "message-end",
                    "delta": {
                        "finish_reason": "COMPLETE",
                        "usage": {"billed_units": {"input_tokens": 2, "output_tokens": 8}, "tokens": WORDS},
                    },
                },
            ],
            TOLD,
            id="cohere counts more than it bills",
        ),
        pytest.param(
            [
                {"token": {"text": "Hi", "special": False}, "generated_text": None, "details": None},
                {
                    "token": {"text": "!", "special": False},
                    "generated_text": "Hi!",
                    "details": {"generated_tokens": 9, "input_length": 20},
                },
            ],
            TOLD,
            id="hugging face",
        ),
        pytest.param(
            [
                {"model": "m", "message": {"content": "Hi"}, "done": False},
                {"model": "m", "message": {"content": ""}, "done": True, "prompt_eval_count": 20, "eval_count": 9},
            ],
            TOLD,
            id="ollama",
        ),
        pytest.param(
            [
                {"type": "message.output.delta", "content": "Hi"},
                {"type": "conversation.response.done", "usage": {**CHAT, "connector_tokens": None}},
            ],
            TOLD,
            id="mistral's agents",
        ),
        pytest.param(
            [{"type": "speech.audio.delta", "audio": "x"}, {"type": "speech.audio.done", "usage": WORDS}],
            TOLD,
            id="speech",
        ),
        pytest.param(
            [chunk("Hi"), {"id": "c", "error": {"code": 502, "message": "no"}, "usage": CHAT}],
            TOLD,
            id="openrouter's error with the usage so far",
        ),
        pytest.param(
            [chunk("Hi"), chunk(error={"code": 502}, usage=None), {**chunk(), "choices": [], "usage": CHAT}],
            TOLD,
            id="an error before the usage",
        ),
    ],
)
def test_a_stream(events: list[Any], expected: Usage | None) -> None:
    """The counts of a stream are taken once, in whichever event they are."""
    assert extract_stream(events) == expected


def test_a_stream_of_bytes_that_breaks_off_in_its_last_event() -> None:
    """An event that was cut off is ignored, and the whole ones are read."""
    reader = SSEReader()
    whole = "".join(f"data: {json.dumps(event)}\n\n" for event in (STARTED, chunk()))

    reader.feed(whole.encode() + b'data: {"type": "message_delta", "usage": {"output_tokens": 9')

    assert reader.reading().usage == Usage(input_tokens=20)


@pytest.mark.parametrize(
    "line",
    [
        {"custom_id": "a", "response": {"status_code": 200, "body": completion(CHAT)}, "error": None},
        {"custom_id": "a", "result": {"type": "succeeded", "message": message(WORDS)}},
        {"key": "a", "response": candidates()},
        {"recordId": "a", "modelInput": {"messages": []}, "modelOutput": message(WORDS)},
    ],
    ids=["openai", "anthropic", "gemini", "bedrock"],
)
def test_a_line_of_a_batch(line: Json) -> None:
    """The result of a batch contains a response, which is read."""
    reading = read(line)

    assert reading is not None
    assert (reading.usage, reading.text) == (TOLD, "Hi")


@pytest.mark.parametrize(
    "body",
    [
        {"inputTextTokenCount": 20, "results": [{"tokenCount": 9, "outputText": "Hi"}]},
        {"model": "m", "response": "Hi", "done": True, "prompt_eval_count": 20, "eval_count": 9},
        {"generation": "Hi", "prompt_token_count": 20, "generation_token_count": 9, "stop_reason": "stop"},
        {"content": "Hi", "tokens_evaluated": 20, "tokens_predicted": 9},
    ],
    ids=["titan", "ollama", "llama", "llama.cpp"],
)
def test_a_body_with_its_counts_on_top_of_it(body: Json) -> None:
    """Inside something else it is a response with a text, not a bare usage object."""
    for whole in (body, {"result": body}, {"anything": 1, "body": json.dumps(body)}):
        reading = read(whole)
        assert reading is not None
        assert (reading.usage, reading.text) == (TOLD, "Hi")


@pytest.mark.parametrize(
    "body",
    [{"input_tokens": 14}, {"object": "response.input_tokens", "input_tokens": 14}, {"inputTokens": 14}],
    ids=["anthropic", "openai", "bedrock"],
)
def test_a_count_of_the_tokens_of_a_prompt(body: Json) -> None:
    """The answer of a service that counts the tokens of a prompt is no response of a model."""
    assert read(body) is None


@pytest.mark.parametrize(
    "answer",
    [
        {"input": 3, "output": 4, "total": 7},
        {"timing": {"input": 3, "output": 2}},
        {"items": [1], "usage": {"input": 3, "output": 2, "total": 5}},
    ],
)
def test_an_answer_of_the_application_with_common_names(answer: Json) -> None:
    """The numbers of an application's answer are no tokens, although LaunchDarkly's newer SDK uses these names."""
    assert read(answer) is None


def test_names_and_costs_have_limits() -> None:
    """Very long names are cut, and an impossible cost is unknown."""
    found = read({"model": "m" * 9_999, "choices": [{"message": {"content": "Hi"}, "finish_reason": "s" * 9_999}]})
    assert found is not None
    assert (found.model, found.finish_reasons) == ("m" * 256, ("s" * 256,))
    counts = {"prompt_tokens": 5, "completion_tokens": 7, "total_tokens": 12}
    for cost in (1e307, "1e999999", 10**400, float("nan"), -1):
        priced = read({"model": "m", "choices": [], "usage": {**counts, "cost": cost}})
        assert priced is not None
        assert priced.cost is None
