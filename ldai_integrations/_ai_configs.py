"""What a variation of an AI Config says, for the library, the dev server and the command."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Literal, get_args

Mode = Literal["completion", "agent", "judge"]
MODES: tuple[Mode, ...] = get_args(Mode)


def mode_of(variation: Mapping[str, Any]) -> Any:
    """Return the mode of a variation. One that does not say it has the mode of its prompt.

    Returns:
        What the variation says, which may be anything; ``None`` if it says nothing, and has both prompts or none.
    """
    meta = variation.get("_ldMeta")
    if isinstance(meta, dict) and meta.get("mode") is not None:
        return meta["mode"]
    has_messages, has_instructions = bool(variation.get("messages")), bool(variation.get("instructions"))
    if has_messages == has_instructions:
        return None
    return "completion" if has_messages else "agent"


def snake_case(name: str) -> str:
    """Return the name of a parameter as Python's clients write it: ``maxTokens`` is ``max_tokens``."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


def agents_of(graph: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield field and key of each agent that the variation of an agent graph names."""
    edges = graph.get("edges")
    named: list[tuple[str, object]] = [("root", graph.get("root"))]
    for source, targets in edges.items() if isinstance(edges, dict) else ():
        named.append((f"edges.{source}", source))
        for number, edge in enumerate(targets if isinstance(targets, list) else ()):
            named.append((f"edges.{source}[{number}].key", edge.get("key") if isinstance(edge, dict) else None))
    for field, key in named:
        if isinstance(key, str):
            yield field, key
