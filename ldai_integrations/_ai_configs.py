"""What a variation of an AI Config says, for the library, the dev server and the command."""

from __future__ import annotations

from collections.abc import Mapping
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
