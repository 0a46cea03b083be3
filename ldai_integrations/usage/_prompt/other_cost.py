"""What a conversation costs with models whose prompts are not public: its texts, and what goes with them."""

from __future__ import annotations

from .._counting import count_own, count_raw
from .._families import Family
from .._values import to_json
from .conversation import Conversation, Format
from .images import image_tokens


def other_cost(conversation: Conversation, family: Family) -> int:
    """Return about a conversation's input tokens."""
    texts, extras = 0.0, 0
    for turn in conversation.turns:
        texts += count_own(turn.text, family)
        texts += sum(count_own(call.name, family) + count_own(call.arguments, family) for call in turn.calls)
        extras += family.per_call * len(turn.calls)
        extras += sum(image_tokens(image, family) for image in turn.images) + family.per_page * turn.pages
        extras += family.per_message if turn.role != "system" else 0
    tokens = family.priming + texts + extras
    tokens += family.per_thinking if conversation.thinks else 0
    if conversation.tools:
        tokens += family.per_tools + family.per_tool * len(conversation.tools)
        tokens += family.per_forced_tools if conversation.forced else 0
        for tool in conversation.tools:
            written = {"name": tool.name, "description": tool.description, "parameters": tool.parameters}
            tokens += count_raw(to_json(written), family) * family.tool_factor
    if conversation.format is not None:
        tokens += _format(conversation.format, family)
    return round(tokens)


def _format(answer: Format, family: Family) -> float:
    return family.per_format + count_raw(to_json(answer.schema), family) * family.format_factor
