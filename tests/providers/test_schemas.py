"""The checks of requests by the published schemas refuse what the providers refuse."""

from __future__ import annotations

from typing import Any

import pytest

from .answering import answer
from .test_request import NESTED_TOOL, SCHEMA, TOOL

USER = {"role": "user", "content": "Oslo?"}
PARTS = {"role": "user", "content": [{"text": "Oslo?"}]}
CONTENTS = [{"role": "user", "parts": [{"text": "Oslo?"}]}]
FLAT = {"type": "function", "name": "weather", "parameters": SCHEMA, "strict": False}
CLAUDE = {"model": "m", "max_tokens": 9, "messages": [USER]}
#: For each path, a request that is accepted, and changes that are not.
CASES: dict[str, tuple[dict[str, Any], list[dict[str, Any]]]] = {
    "/openai/v1/chat/completions": (
        {"model": "m", "messages": [USER], "tools": [NESTED_TOOL]},
        [{"tools": [TOOL]}, {"maxTokens": 9}, {"messages": [{**USER, "extra": 1}]}, {"stop": 3}],
    ),
    "/openai/v1/responses": (
        {"model": "m", "input": [USER], "tools": [FLAT]},
        [{"tools": [NESTED_TOOL]}, {"max_tokens": 9}, {"response_format": {"type": "json_object"}}],
    ),
    "/anthropic/v1/messages": (
        {**CLAUDE, "tools": [{"name": "weather", "input_schema": SCHEMA}]},
        [{"tools": [TOOL]}, {"messages": [{"role": "system", "content": 3}]}, {"response_format": {}}, {"stop": ["a"]}],
    ),
    "/v1beta/models/m:generateContent": (
        {"contents": CONTENTS, "generationConfig": {"maxOutputTokens": 9}},
        [{"generationConfig": {"max_tokens": 9}}, {"messages": [USER]}, {"contents": [USER]}, {"tools": [TOOL]}],
    ),
    "/mistral/v1/chat/completions": (
        {"model": "m", "messages": [USER], "tools": [NESTED_TOOL]},
        [{"tools": [TOOL]}, {"seed": 3}, {"max_completion_tokens": 9}, {"temperature": "hot"}],
    ),
    "/cohere/v2/chat": (
        {"model": "m", "messages": [USER], "tools": [NESTED_TOOL]},
        [{"top_p": 0.9}, {"response_format": {"type": "json_object", "schema": SCHEMA}}, {"tools": [TOOL]}],
    ),
    "/model/m/converse": (
        {"messages": [PARTS], "inferenceConfig": {"maxTokens": 9}},
        [{"messages": [USER]}, {"inferenceConfig": {"max_tokens": 9}}, {"temperature": 0.3}, {"tools": [TOOL]}],
    ),
}


@pytest.mark.parametrize("path", CASES)
def test_what_is_accepted(path: str) -> None:
    """A good request is answered, and each wrong one has status 400."""
    for package in ("anthropic", "boto3", "cohere", "google.genai", "mistralai", "openai"):
        pytest.importorskip(package)
    good, changes = CASES[path]

    assert answer(path, good).status == 200
    assert [change for change in changes if answer(path, {**good, **change}).status != 400] == []
