"""How an application uses each framework: one module per framework."""

from __future__ import annotations

from . import langchain
from .stack import Stack

STACKS: tuple[Stack, ...] = (*langchain.STACKS,)

__all__ = ["STACKS", "Stack"]
