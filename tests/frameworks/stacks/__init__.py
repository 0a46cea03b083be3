"""How an application uses each framework: one module per framework."""

from __future__ import annotations

from . import langchain, openai_agents, pydantic_ai
from .stack import Stack

STACKS: tuple[Stack, ...] = (*langchain.STACKS, *openai_agents.STACKS, *pydantic_ai.STACKS)

__all__ = ["STACKS", "Stack"]
