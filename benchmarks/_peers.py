"""Prompts counted by other libraries, where they are installed."""

from __future__ import annotations

import os
from collections.abc import Callable
from importlib import import_module

from ._records import Record, model_of


def peer_counters() -> dict[str, Callable[[Record, str], int | None]]:
    """Return what counts a record's prompt for an API, by the library's name; ``None`` is counted where it cannot."""
    peers = {"litellm": _litellm_counter(), "langchain-openai": _langchain_counter()}
    return {name: _for_chats(counter) for name, counter in peers.items() if counter is not None}


def _for_chats(count: Callable[[Record], int]) -> Callable[[Record, str], int | None]:
    """Let a peer count OpenAI's chats, the only requests that both know; what it cannot count is left out."""

    def counted(record: Record, api: str) -> int | None:
        if api != "chat":
            return None
        try:
            return count(record)
        except Exception:  # a part it does not know, or an image it wants to fetch
            return None

    return counted


def _litellm_counter() -> Callable[[Record], int] | None:
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")  # nothing here goes to the network
    try:
        token_counter = import_module("litellm").token_counter
    except ImportError:
        return None

    def count(record: Record) -> int:
        request = record["request_json"]
        return int(token_counter(model=model_of(record), messages=request["messages"], tools=request.get("tools")))

    return count


def _langchain_counter() -> Callable[[Record], int] | None:
    try:
        chat_model = import_module("langchain_openai").ChatOpenAI
        to_messages = import_module("langchain_core.messages").convert_to_messages
    except ImportError:
        return None

    def count(record: Record) -> int:
        request, model = record["request_json"], chat_model(model=model_of(record), api_key="none")
        messages, tools = to_messages(request["messages"]), request.get("tools")
        return int(model.get_num_tokens_from_messages(messages, tools=tools, allow_fetching_images=False))

    return count
