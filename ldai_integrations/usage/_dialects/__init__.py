"""One function for each format of responses; each recognises its format by shape."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .._calls import Draft
from . import anthropic, bedrock, cohere, frameworks, gemini, openai, others

# Reads an event or a whole response; returns whether it has the format.
Dialect = Callable[[Any, Draft], bool]

# In order of how reliably a shape is recognised: the weaker its sign, the later. The first that recognises an event
# reads it. The others return False for what they do not know, and write nothing to the draft before.
DIALECTS: tuple[Dialect, ...] = (
    openai.absorb_chat,
    openai.absorb_response,
    anthropic.absorb,
    gemini.absorb,
    bedrock.absorb_converse,
    cohere.absorb,
    others.absorb_ollama,
    others.absorb_llama_cpp,
    bedrock.absorb_invoke,
    others.absorb_hugging_face,
    others.absorb_watsonx,
    frameworks.absorb_langchain,
    frameworks.absorb_agents,
    frameworks.absorb_pydantic_ai,
    frameworks.absorb_launchdarkly,
    gemini.absorb_interaction,
    gemini.absorb_predictions,
    others.absorb_error,
    others.absorb_usage,
    others.absorb_counts,
)
# For values inside an unknown object, where an "error" or a "total_tokens" may have another meaning.
NESTED = tuple(one for one in DIALECTS if one not in (others.absorb_error, others.absorb_counts))
