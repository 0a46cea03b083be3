"""Estimate what a request costs before it is answered."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from ...records import Usage
from .._counting import count_tokens
from .._models import family_of
from .._values import get, is_list, items, number, text
from .conversation import Conversation
from .openai_cost import openai_cost, openai_hides
from .openai_requests import from_chat
from .other_cost import other_cost
from .other_requests import from_converse, from_generate, from_messages
from .responses_requests import from_responses

API = Literal["chat", "responses", "messages", "converse", "generate", "embeddings"]

_READERS: dict[str, Callable[[Any], Conversation]] = {
    "chat": from_chat,
    "responses": from_responses,
    "messages": from_messages,
    "converse": from_converse,
    "generate": from_generate,
}


def estimate_prompt(request: Any, *, model: str | None, api: API) -> Usage | None:
    """Estimate the input tokens of a request.

    Exact for plain text to OpenAI's models; within a few percent with tools, schemas and images of known size. An
    image that would have to be fetched is taken for a middling one; sound and film are not counted.

    Args:
        request: The provider's request as a dict.
        model: The model's name in any form; the one that answered, if it is known.
        api: The kind of request.

    Returns:
        A usage whose input is marked as estimated, and as a lower bound where there is more to it than is counted, such
        as sound and film, hidden reasoning, or what a tool of the provider's own finds. ``None`` where the request
        holds nothing to count, or the provider keeps what came before it. Never raises.
    """
    if api == "embeddings":
        return _estimate(_embedded(request, model), {"input_tokens", "total_tokens"})
    reader = _READERS.get(api)
    conversation = reader(request) if reader is not None else Conversation()
    if not conversation.turns:
        return None
    family = family_of(model)
    if family.openai and api in ("chat", "responses"):
        tokens, hides = openai_cost(conversation, family, api), openai_hides(conversation, family)
    else:
        tokens, hides = other_cost(conversation, family), conversation.hides or bool(conversation.hosted_tools)
    return _estimate(tokens, {"input_tokens"}, hides=hides)


def _estimate(tokens: int, fields: set[str], *, hides: bool = False) -> Usage | None:
    if not tokens:
        return None
    return Usage(**dict.fromkeys(fields, tokens), estimated=frozenset(fields), lower_bound=hides)


def _embedded(request: Any, model: str | None) -> int:
    """Count the inputs of an embedding, which may be texts or lists of tokens."""
    given = get(request, "input", "texts", "content", "contents")
    inputs = list(items(given)) if is_list(given) else [given]
    if inputs and all(number(one) is not None for one in inputs):
        return len(inputs)
    return sum(len(one) if is_list(one) else count_tokens(text(one), model=model) for one in inputs)
