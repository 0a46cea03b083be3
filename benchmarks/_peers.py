"""Prompts counted by other libraries, where they are installed."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

from ldai_integrations.usage._encodings import CL100K, O200K, find_file

from ._records import Record, model_of


def peer_counters() -> dict[str, Callable[[Record, str], int | None]]:
    """Return what counts a record's prompt for an API, by the library's name; ``None`` is counted where it cannot.

    Nothing here goes to the network: the libraries are lent the rank files that lie on this machine.
    """
    os.environ["TIKTOKEN_CACHE_DIR"] = _rank_files()
    peers = {"litellm": _litellm_counter(), "langchain-openai": _langchain_counter()}
    return {name: _for_chats(counter) for name, counter in peers.items() if counter is not None}


def _rank_files() -> str:
    """Put the rank files where tiktoken looks for them."""
    directory = Path(tempfile.mkdtemp())
    for spec in (O200K, CL100K):
        found = find_file(spec)
        if found is not None:
            (directory / spec.cache_name).write_bytes(found[1])
    return str(directory)


def _for_chats(count: Callable[[Record], int | None]) -> Callable[[Record, str], int | None]:
    """Let a peer count OpenAI's chats, the only requests that both know; what it cannot count is left out."""

    def counted(record: Record, api: str) -> int | None:
        if api != "chat":
            return None
        try:
            return count(record)
        except Exception:  # a part or a model that it does not know
            return None

    return counted


def _litellm_counter() -> Callable[[Record], int] | None:
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
    try:
        token_counter = import_module("litellm").token_counter
    except ImportError:
        return None

    def count(record: Record) -> int:
        request = record["request_json"]
        tokens = token_counter(
            model=model_of(record),
            messages=request["messages"],
            tools=request.get("tools"),
            tool_choice=request.get("tool_choice"),
            use_default_image_token_count=any("http" in str(part.get("image_url"))[:20] for part in _parts(request)),
        )
        return int(tokens)

    return count


def _langchain_counter() -> Callable[[Record], int | None] | None:
    """Count words as LangChain does; tools it says it cannot count, and an image it wants to have whole."""
    try:
        chat_model = import_module("langchain_openai").ChatOpenAI
        to_messages = import_module("langchain_core.messages").convert_to_messages
    except ImportError:
        return None

    def count(record: Record) -> int | None:
        request, model = record["request_json"], chat_model(model=model_of(record), api_key="none")
        if any(part.get("type") != "text" for part in _parts(request)):
            return None
        messages = to_messages([{"content": "", **message} for message in request["messages"]])
        return int(model.get_num_tokens_from_messages(messages))

    return count


def _parts(request: Any) -> list[Any]:
    contents = (message.get("content") for message in request["messages"])
    return [part for content in contents if isinstance(content, list) for part in content]
