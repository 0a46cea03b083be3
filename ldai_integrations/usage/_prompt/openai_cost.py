"""What a conversation costs with OpenAI's models: the text they are shown, rebuilt."""

from __future__ import annotations

from typing import Any

from .._counting import count_raw
from .._families import Family, OpenAIRules
from .._models import openai_rules
from .._values import to_json
from .conversation import Conversation, Format, Turn
from .images import image_tokens
from .typescript import namespace, starts_bare

# Words of a JSON schema that bind the answer without being shown to the model.
_NOT_SHOWN = frozenset(
    (
        "additionalProperties",
        "default",
        "exclusiveMaximum",
        "exclusiveMinimum",
        "maxItems",
        "maxLength",
        "maximum",
        "minItems",
        "minLength",
        "minimum",
        "required",
    )
)
# What these find is not charged as input with models that do not reason: OpenAI, Pricing, 2026-11.
_UNCHARGED = ("web_search_preview",)


def openai_hides(conversation: Conversation, family: Family) -> bool:
    """Tell whether OpenAI adds to a conversation what the request does not show."""
    charged = (kind for kind in conversation.hosted_tools if family.hides_reasoning or kind not in _UNCHARGED)
    return conversation.hides or conversation.reasonings > 0 or any(charged)


def openai_cost(conversation: Conversation, family: Family, api: str) -> int:
    """Return a conversation's input tokens, exactly where it is plain text."""
    rules = openai_rules(family, api)
    tokens = family.priming + sum(_turn(turn, family, rules) for turn in conversation.turns)
    tokens += sum(rules.hosted_tools.get(kind, 0) for kind in conversation.hosted_tools)
    tokens += rules.per_reasoning * conversation.reasonings
    tokens += _appendix(conversation, family, rules)
    if conversation.forced:
        tokens += rules.forced_tool + count_raw(conversation.forced, family)
    return tokens


def _turn(turn: Turn, family: Family, rules: OpenAIRules) -> int:
    role = turn.role if turn.result_of is None else f"functions.{turn.result_of}"
    tokens = rules.per_message + count_raw(role, family) + count_raw(turn.text, family)
    if turn.result_of is not None:
        tokens += rules.per_result
    if turn.name:
        tokens += rules.per_name + count_raw(turn.name, family)
    for call in turn.calls:
        tokens += count_raw(call.name, family) + count_raw(call.arguments, family)
    if len(turn.calls) == 1:
        tokens += rules.per_call
    elif turn.calls:
        tokens += rules.parallel_calls + rules.per_parallel_call * len(turn.calls)
    elif turn.role == "assistant":
        tokens += rules.assistant_text
    tokens += family.per_page * turn.pages
    return tokens + sum(image_tokens(image, family) for image in turn.images)


def _appendix(conversation: Conversation, family: Family, rules: OpenAIRules) -> int:
    """Count tools and schema, which are shown below the system message's text."""
    parts = []
    if conversation.tools:
        parts.append(namespace(conversation.tools))
    if conversation.format is not None:
        parts.append(_format(conversation.format))
    if not parts:
        return 0
    extras = rules.tools_and_schema if len(parts) == 2 else rules.tools if conversation.tools else rules.schema
    system = conversation.system
    tokens = extras.without if system is None else extras.with_system
    tokens -= sum(starts_bare(tool) for tool in conversation.tools)
    text = "\n\n".join(parts)
    if system is None:
        return tokens + count_raw(text, family)
    return tokens + count_raw(f"{system}\n\n{text}", family) - count_raw(system, family)


def _format(answer: Format) -> str:
    description = f"// {answer.description}\n" if answer.description else ""
    return f"# Response Formats\n\n## {answer.name}\n\n{description}{to_json(_shown(answer.schema))}"


def _shown(schema: Any) -> Any:
    """Return a schema, which is a tree of plain dicts and lists, without what the models are not shown."""
    if isinstance(schema, dict):
        return {name: _shown(value) for name, value in schema.items() if name not in _NOT_SHOWN}
    return [_shown(value) for value in schema] if isinstance(schema, list) else schema
