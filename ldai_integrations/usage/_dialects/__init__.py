"""One function for each format of responses; each recognises its format by shape."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .._calls import Draft
from . import anthropic, bedrock, cohere, common, frameworks, gemini, local, openai

# Reads an event or a whole response. ``None``: another format; otherwise whether it has text, reasoning or a tool call.
Dialect = Callable[[Any, Draft], bool | None]

# In order of how reliably a shape is recognised. The first that recognises an event reads it.
DIALECTS: tuple[Dialect, ...] = (
    openai.absorb_response,
    openai.absorb_chat,
    anthropic.absorb,
    gemini.absorb,
    bedrock.absorb_converse,
    cohere.absorb,
    local.absorb_ollama,
    local.absorb_llama_cpp,
    bedrock.absorb_invoke,
    local.absorb_hugging_face,
    local.absorb_watsonx,
    frameworks.absorb_langchain,
    frameworks.absorb_agents,
    gemini.absorb_interaction,
    gemini.absorb_predictions,
    common.absorb_error,
    common.absorb_usage,
    common.absorb_counts,
)
# For values inside an unknown object, where an "error" or a "total_tokens" may have another meaning.
NESTED = tuple(one for one in DIALECTS if one not in (common.absorb_error, common.absorb_counts))
