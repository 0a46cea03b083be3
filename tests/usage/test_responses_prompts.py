"""Prompts of OpenAI's Responses API, of which the request may show a part only."""

from __future__ import annotations

import base64
import struct
from typing import Any

import pytest

from ldai_integrations.records import Usage
from ldai_integrations.usage import count_tokens, estimate_prompt, warm_up

Json = dict[str, Any]

USER: Json = {"role": "user", "content": "What is the weather in Graz?"}
ANSWER: Json = {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "It is sunny."}]}
REASONING: Json = {"type": "reasoning", "id": "rs_1", "summary": []}
WEATHER: Json = {
    "type": "function",
    "name": "get_weather",
    "description": "Get the weather.",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
}


@pytest.fixture(autouse=True, scope="module")
def _exact() -> None:
    """Count with OpenAI's encodings."""
    warm_up(models=["gpt-4o"], timeout=60)


def estimated(*items: Json, model: str = "gpt-4o", **more: Any) -> Usage:
    """Return the estimate of a request with these items."""
    usage = estimate_prompt({"input": list(items), **more}, model=model, api="responses")
    assert usage is not None
    assert usage.estimated == {"input_tokens"}
    return usage


def tokens(*items: Json, model: str = "gpt-4o", **more: Any) -> int:
    """Return the estimated input tokens of a request with these items."""
    return estimated(*items, model=model, **more).input_tokens or 0


def call(number: int) -> Json:
    """Return a call of a function."""
    return {"type": "function_call", "call_id": f"c{number}", "name": "get_weather", "arguments": '{"city":"Graz"}'}


def result(number: int) -> Json:
    """Return what the function gave."""
    return {"type": "function_call_output", "call_id": f"c{number}", "output": "sunny"}


def test_a_call_and_its_result() -> None:
    """A tool call has tokens for its name, its arguments and what is around them. Its result has those of its text."""
    words = count_tokens("get_weather") + count_tokens('{"city":"Graz"}')

    assert tokens(USER, call(1)) - tokens(USER) == 4 + 2 * 2 + words
    assert tokens(USER, call(1), result(1)) - tokens(USER, call(1)) == 4 + count_tokens("sunny")


@pytest.mark.parametrize(
    "kept",
    [
        {"previous_response_id": "resp_1"},
        {"conversation": "conv_1"},
        {"conversation": {"id": "conv_1"}},
        {"prompt": {"id": "pmpt_1", "version": "2"}},
        {"input": [{"type": "item_reference", "id": "msg_1"}, USER]},
    ],
)
def test_what_the_provider_keeps_makes_a_lower_bound(kept: Json) -> None:
    """If the request contains only what is new, its estimate is a lower bound."""
    usage = estimate_prompt({"input": [USER], **kept}, model="gpt-4o", api="responses")

    assert usage is not None
    assert (usage.input_tokens, usage.lower_bound) == (estimated(USER).input_tokens, True)
    for nothing in (None, object()):
        request = {"input": [USER], **dict.fromkeys(kept.keys() - {"input"}, nothing)}
        assert estimate_prompt(request, model="gpt-4o", api="responses") == estimated(USER)


@pytest.mark.parametrize("model", ["gpt-4o", "o3", "gpt-5"])
@pytest.mark.parametrize(
    "kind",
    ["web_search_preview", "web_search_preview_2025_03_11", "web_search", "file_search", "code_interpreter", "mcp"],
)
def test_tools_that_the_provider_runs(kind: str, model: str) -> None:
    """What a provider's own tool finds is in the prompt, and not in the request: the estimate is a lower bound."""
    usage = estimated(USER, tools=[{"type": kind}], model=model)

    assert usage.lower_bound
    assert (usage.input_tokens or 0) >= tokens(USER, model=model)
    assert not estimated(USER, tools=[WEATHER], model=model).lower_bound


def test_reasoning_makes_a_lower_bound() -> None:
    """The request does not show how long the model's reasoning is."""
    turn, bare = (USER, REASONING, call(1), result(1)), (USER, call(1), result(1))

    assert tokens(*turn, model="o3") == tokens(*bare, model="o3")
    assert estimated(*turn, model="o3").lower_bound
    assert not estimated(*bare, model="o3").lower_bound


LISTED = {"name": "get_weather", "description": "Get the weather.", "input_schema": WEATHER["parameters"]}


@pytest.mark.parametrize(
    "request_",
    [
        {"tools": [{"type": "namespace", "name": "n", "tools": [WEATHER]}]},
        {"input": [{"type": "mcp_list_tools", "server_label": "s", "tools": [LISTED]}, USER]},
    ],
)
def test_functions_in_a_group(request_: Json) -> None:
    """Functions of a namespace and of an MCP server have as many tokens as other functions."""
    usage = estimate_prompt({"input": [USER], **request_}, model="gpt-4o", api="responses")

    assert usage == estimated(USER, tools=[WEATHER])


def test_a_tool_that_takes_text() -> None:
    """The description, the grammar, the input and the output of a custom tool are counted."""
    tool: Json = {"type": "custom", "name": "run", "description": "Run a program."}
    grammar = {**tool, "format": {"type": "grammar", "syntax": "lark", "definition": "start: WORD"}}
    called = {"type": "custom_tool_call", "call_id": "c", "name": "run", "input": "print(1)"}
    answered = {"type": "custom_tool_call_output", "call_id": "c", "output": "1"}

    lengths = [
        tokens(USER),
        tokens(USER, tools=[tool]),
        tokens(USER, tools=[grammar]),
        tokens(USER, called, tools=[grammar]),
        tokens(USER, called, answered, tools=[grammar]),
    ]
    assert lengths == sorted(set(lengths))


@pytest.mark.parametrize(
    "item",
    [
        {"type": "code_interpreter_call", "id": "ci_1", "code": "print('Graz')", "outputs": [{"logs": "Graz"}]},
        {"type": "mcp_call", "id": "m_1", "name": "search", "arguments": '{"q":"Graz"}', "output": "a city"},
        {"type": "file_search_call", "id": "fs_1", "queries": ["Graz"], "results": [{"text": "Graz is a city."}]},
        {"type": "web_search_call", "id": "ws_1", "action": {"type": "search", "query": "Graz"}},
        {"type": "shell_call_output", "call_id": "c", "output": [{"stdout": "Graz"}]},
    ],
)
def test_what_a_hosted_tool_did(item: Json) -> None:
    """The text in items of the provider's own tools counts, and the estimate is a lower bound."""
    usage = estimated(USER, item)

    assert (usage.input_tokens or 0) > tokens(USER)
    assert usage.lower_bound


def test_a_screenshot_is_an_image() -> None:
    """A screenshot in the output of a tool is counted by its size, and not as text."""
    data = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + struct.pack(">II", 512, 512)
    image = {"image_url": "data:image/png;base64," + base64.b64encode(data + b"\0" * 9_000).decode()}
    screenshot = {"type": "computer_call_output", "call_id": "c", "output": {"type": "computer_screenshot", **image}}
    shown = {"type": "function_call_output", "call_id": "c1", "output": [{"type": "input_image", **image}]}

    assert 255 < tokens(USER, screenshot) - tokens(USER) < 275
    assert tokens(USER, call(1), shown) - tokens(USER, call(1), {**shown, "output": ""}) == 255


def test_a_tool_that_claude_is_lent() -> None:
    """Anthropic's own tools add to the prompt what no request shows."""
    request: Json = {"messages": [USER], "tools": [{"type": "web_search_20250305", "name": "web_search"}]}
    mine = {**request, "tools": [{"name": "f", "input_schema": {"type": "object"}}]}

    for given, lower_bound in ((request, True), (mine, False)):
        usage = estimate_prompt(given, model="claude-sonnet-4-5", api="messages")
        assert usage is not None
        assert usage.lower_bound is lower_bound
