"""One function per way of writing a response; each tells by shape whether an event is written its way."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .._draft import Draft
from . import (
    anthropic,
    bedrock_invoke,
    cohere,
    common,
    converse,
    frameworks,
    gemini,
    local,
    openai_chat,
    openai_responses,
)

# Takes an event or a whole response. ``None``: not written this way; else whether it carried text, reasoning or a tool.
Dialect = Callable[[Any, Draft], bool | None]

# In order of how surely a shape is told apart; the first that recognises an event takes it.
DIALECTS: tuple[Dialect, ...] = (
    openai_responses.absorb,
    openai_chat.absorb,
    anthropic.absorb,
    gemini.absorb,
    converse.absorb,
    cohere.absorb,
    local.absorb_ollama,
    local.absorb_llama_cpp,
    bedrock_invoke.absorb,
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
# What is looked for inside an unknown record, where an "error" or a "total_tokens" may be anybody's.
NESTED = tuple(one for one in DIALECTS if one not in (common.absorb_error, common.absorb_counts))
