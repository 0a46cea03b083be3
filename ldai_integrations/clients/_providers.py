"""Which methods of which client call a model, and how their requests are written.

Clients are told by the methods they have; no provider's package is imported.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias


@dataclass(frozen=True, slots=True)
class Call:
    """Be a method that calls a model.

    Attributes:
        api: How the request is written, as :class:`~ldai_integrations._core.asked.Asked` has it.
        streams_usage_on_demand: Its streams tell their usage only if ``stream_options`` asks for it.
    """

    api: str
    streams_usage_on_demand: bool = False


@dataclass(frozen=True, slots=True)
class Through:
    """Be a method that calls models by other methods, any number of times: those are seen, and not its own result.

    Attributes:
        tree: The attributes of ``self`` by which it does.
        otherwise: What it is where ``self`` has no such attribute.
    """

    tree: Tree
    otherwise: Call | None = None


class Again:
    """Be a method that makes another client like this one."""


Tree: TypeAlias = "Mapping[str, Part]"
Part: TypeAlias = "Call | Through | Again | Tree"

#: Give the same calls, with the HTTP response in place of what is parsed from it.
RAW = ("with_raw_response", "with_streaming_response")

_AGAIN = Again()
_CHAT = Call("chat")


def _named(call: Call, *names: str) -> dict[str, Part]:
    return dict.fromkeys(names, call)


_COMPLETIONS: Tree = {
    "create": Call("chat", streams_usage_on_demand=True),
    **_named(_CHAT, "parse", "stream"),
}
_RESPONSES: Tree = _named(Call("responses"), "create", "parse", "stream")
_EMBEDDINGS: Tree = _named(Call("embeddings"), "create", "create_async")

OPENAI: dict[str, Part] = {
    "chat": {"completions": _COMPLETIONS},
    "completions": {"create": Call("completions", streams_usage_on_demand=True)},
    "responses": _RESPONSES,
    "embeddings": _EMBEDDINGS,
    "beta": {"chat": {"completions": _COMPLETIONS}, "responses": _RESPONSES},
    "with_options": _AGAIN,
    "copy": _AGAIN,
}

_MESSAGES = _named(Call("messages"), "create", "parse", "stream")
ANTHROPIC: dict[str, Part] = {"messages": _MESSAGES, "with_options": _AGAIN, "copy": _AGAIN, "with_middleware": _AGAIN}
# The runner keeps the client, and calls it once a turn.
ANTHROPIC["beta"] = {"messages": {**_MESSAGES, "tool_runner": Through({"_client": ANTHROPIC})}}

_GENERATE = Call("generate")
_MODELS: Tree = {
    # One call of these is several where functions are called, or an answer is continued.
    "generate_content": Through({"_generate_content": _GENERATE}, _GENERATE),
    "generate_content_stream": Through({"_generate_content_stream": _GENERATE}, _GENERATE),
    "embed_content": Call("embeddings"),
}
GENAI: dict[str, Part] = {"models": _MODELS, "chats": {"create": Through({"_modules": _MODELS})}}
GENAI["aio"] = GENAI

_MISTRAL_CHAT = _named(
    _CHAT,
    *("complete", "complete_async", "stream", "stream_async"),
    *("parse", "parse_async", "parse_stream", "parse_stream_async"),
)
MISTRAL: Tree = {
    "chat": _MISTRAL_CHAT,
    "agents": _MISTRAL_CHAT,
    "fim": _named(Call("completions"), "complete", "complete_async", "stream", "stream_async"),
    "embeddings": _EMBEDDINGS,
}

_COHERE = {
    **_named(Call("cohere"), "chat", "chat_stream"),
    **_named(Call("completions"), "generate", "generate_stream"),
    "embed": Call("embeddings"),
}
COHERE: Tree = {**_COHERE, "v2": _COHERE}

BEDROCK: Tree = {
    **_named(Call("converse"), "converse", "converse_stream"),
    **_named(Call("invoke"), "invoke_model", "invoke_model_with_response_stream"),
}

# The method that tells a client, the first that is there, and what else its client has. Clients of other companies that
# are made in the image of one of these are told by the same methods.
_SIGNS: tuple[tuple[str, Tree], ...] = (
    ("chat.completions.create", OPENAI),
    ("messages.create", ANTHROPIC),
    ("models.generate_content", GENAI),
    ("chat.complete", MISTRAL),
    ("chat_stream", COHERE),
    ("invoke_model", BEDROCK),
)


def tree_of(client: Any) -> Tree | None:
    """Return what is to be seen of a client; ``None`` if it has no known provider's methods."""
    return next((tree for path, tree in _SIGNS if _has(client, path)), None)


def _has(value: Any, path: str) -> bool:
    for name in path.split("."):
        value = getattr(value, name, None)
    return callable(value)
