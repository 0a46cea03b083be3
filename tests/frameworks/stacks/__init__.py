"""How an application uses each framework: one module per framework."""

from __future__ import annotations

from . import dspy, langchain, litellm, llama_index, openai_agents, pydantic_ai
from .stack import Stack

STACKS: tuple[Stack, ...] = (
    *dspy.STACKS,
    *langchain.STACKS,
    *litellm.STACKS,
    *llama_index.STACKS,
    *openai_agents.STACKS,
    *pydantic_ai.STACKS,
)

__all__ = ["STACKS", "Stack"]
