"""How an application uses each framework: one module per framework."""

from __future__ import annotations

import os

from . import adk, clients, crewai, dspy, langchain, litellm, llama_index, openai_agents, pydantic_ai, strands
from .stack import Pattern, Stack

# LiteLLM asks the network for its price list otherwise, and CrewAI sends statistics.
os.environ |= {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "CREWAI_DISABLE_TELEMETRY": "true"}

STACKS: tuple[Stack, ...] = (
    *clients.STACKS,
    *adk.STACKS,
    *crewai.STACKS,
    *dspy.STACKS,
    *langchain.STACKS,
    *litellm.STACKS,
    *llama_index.STACKS,
    *openai_agents.STACKS,
    *pydantic_ai.STACKS,
    *strands.STACKS,
)

__all__ = ["STACKS", "Pattern", "Stack"]
