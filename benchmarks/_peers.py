"""The counts of other libraries for the same prompts, if these libraries are installed."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

from ldai_integrations.usage._encoding_files import CL100K, O200K, find_file

from ._records import Record, model_of


def peer_counters() -> dict[str, Callable[[Record, str], int | None]]:
    """Return functions that count the prompt of a record for an API, by the name of the library.

    A function returns ``None`` for a prompt that it cannot count. The libraries use the rank files of this machine, so
    that nothing is downloaded.
    """
    os.environ["TIKTOKEN_CACHE_DIR"] = _rank_files()
    peers = {"litellm": _litellm_counter(), "langchain-openai": _langchain_counter()}
    return {name: _for_chats(counter) for name, counter in peers.items() if counter is not None}


def _rank_files() -> str:
    """Copy the rank files to a directory where tiktoken finds them."""
    directory = Path(tempfile.mkdtemp())
    for spec in (O200K, CL100K):
        found = find_file(spec)
        if found is not None:
            (directory / spec.cache_name).write_bytes(found[1])
    return str(directory)


def _for_chats(count: Callable[[Record], int | None]) -> Callable[[Record, str], int | None]:
    """Return a function that counts chats of OpenAI only, which all libraries know."""

    def counted(record: Record, api: str) -> int | None:
        if api != "chat":
            return None
        try:
            return count(record)
        except Exception:  # it does not know a part or the model
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
    """Return LangChain's counter. It cannot count tools, and an image only if all of its data is there."""
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
