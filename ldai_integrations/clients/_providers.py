"""Which methods of which client call a model, and the format of their requests.

Clients are recognized by the methods they have; no provider's package is imported. CONTRIBUTING.md lists what else to
add for another client.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

from ..providers._api import has_method


@dataclass(frozen=True, slots=True)
class CallKind:
    """A method that calls a model.

    Attributes:
        api: The format of its request; see ``ProviderRequest``.
        has_usage_option: Whether its streams report usage only if ``stream_options`` asks for it.
        parses: Whether it parses the answer and may raise an exception that loses the usage.
        looks_up: Whether it asks for a response that another call has started.
        provider: The provider whose own server the client calls; empty if it may be a gateway.
    """

    api: str
    has_usage_option: bool = False
    parses: bool = False
    looks_up: bool = False
    provider: str = ""


@dataclass(frozen=True, slots=True)
class Post:
    """A method that sends a request to any path.

    Attributes:
        calls: The paths that call a model, by their ends.
    """

    calls: Mapping[str, CallKind]

    def call_of(self, path: object) -> CallKind | None:
        """Return the call that a path stands for; ``None`` if it calls no model."""
        path = f"/{path}".partition("?")[0].rstrip("/")
        return next((call for end, call in self.calls.items() if path.endswith(end)), None)


@dataclass(frozen=True, slots=True)
class Through:
    """A method that calls models through other methods, any number of times. Only the other methods are tracked.

    Attributes:
        tree: The attributes of ``self`` that it uses.
        otherwise: What the method is if ``self`` has no such attribute.
    """

    tree: Tree
    otherwise: CallKind | None = None


class Another:
    """A method that makes another client like this one."""


@dataclass(frozen=True, slots=True)
class Connect:
    """A method that opens a connection on which the provider sends the events of any number of responses.

    Attributes:
        response: What each response is.
    """

    response: CallKind


Tree: TypeAlias = "Mapping[str, Part]"
Part: TypeAlias = "CallKind | Post | Through | Another | Connect | Tree"

#: Attributes whose methods make the same calls, and return the HTTP response instead of what is parsed from it.
RAW = ("with_raw_response", "with_streaming_response")

_ANOTHER = Another()
_CHAT = CallKind("chat")
_CREATE = CallKind("chat", has_usage_option=True)
_COMPLETE = CallKind("completions", has_usage_option=True)
_COMPLETIONS: Tree = {
    "create": _CREATE,
    "parse": CallKind("chat", parses=True),
    "stream": Through({"create": _CREATE}),
}
_RESPOND = CallKind("responses")
_RETRIEVE = CallKind("responses", looks_up=True)
_RESPONSES: Tree = {
    "create": _RESPOND,
    "parse": CallKind("responses", parses=True),
    "retrieve": _RETRIEVE,
    "compact": _RESPOND,
    "connect": Connect(_RESPOND),
    "stream": Through({"create": _RESPOND, "retrieve": _RETRIEVE}),
}
_EMBED = CallKind("embeddings")
_EMBEDDINGS: Tree = {"create": _EMBED, "create_async": _EMBED}
_IMAGE, _AUDIO = CallKind("images"), CallKind("audio")
_CREATE_AUDIO: Tree = {"create": _AUDIO}
_DECIDE = CallKind("decisions")
_DECISIONS: Tree = {"create": _DECIDE}

# A run of an assistant is one call. It is started, and looked up until it is complete.
_START, _LOOK = CallKind("assistants"), CallKind("assistants", looks_up=True)
_STEPS: Tree = {"create": _START, "retrieve": _LOOK, "submit_tool_outputs": _LOOK}
_SEND_RUN: Tree = {"_post": Post({"/runs": _START, "/submit_tool_outputs": _LOOK})}
_RUNS: Tree = {
    **_STEPS,
    **dict.fromkeys(("create_and_poll", "poll", "submit_tool_outputs_and_poll"), Through(_STEPS)),
    **dict.fromkeys(("stream", "create_and_stream", "submit_tool_outputs_stream"), Through(_SEND_RUN)),
}
_THREADS: Tree = {
    "runs": _RUNS,
    "create_and_run": _START,
    "create_and_run_poll": Through({"create_and_run": _START, "runs": _RUNS}),
    "create_and_run_stream": Through(_SEND_RUN),
}
_REALTIME: Tree = {"connect": Connect(CallKind("realtime"))}

OPENAI: dict[str, Part] = {
    "chat": {"completions": _COMPLETIONS},
    "completions": {"create": _COMPLETE},
    "responses": _RESPONSES,
    "embeddings": _EMBEDDINGS,
    "decisions": _DECISIONS,
    "images": dict.fromkeys(("generate", "edit", "create_variation"), _IMAGE),
    "audio": dict.fromkeys(("speech", "transcriptions", "translations"), _CREATE_AUDIO),
    "realtime": _REALTIME,
    "beta": {
        "chat": {"completions": _COMPLETIONS},
        "responses": _RESPONSES,
        "threads": _THREADS,
        "realtime": _REALTIME,
    },
    "post": Post(
        {
            "/chat/completions": _CREATE,
            "/completions": _COMPLETE,
            "/responses": _RESPOND,
            "/embeddings": _EMBED,
            "/decisions": _DECIDE,
            **dict.fromkeys(("/images/generations", "/images/edits", "/images/variations"), _IMAGE),
            **dict.fromkeys(("/audio/speech", "/audio/transcriptions", "/audio/translations"), _AUDIO),
            "/runs": _START,
        }
    ),
    "with_options": _ANOTHER,
    "copy": _ANOTHER,
}

_CLAUDE = CallKind("messages")
_MESSAGES: dict[str, Part] = {"create": _CLAUDE, "stream": _CLAUDE, "parse": CallKind("messages", parses=True)}
ANTHROPIC: dict[str, Part] = {
    "messages": _MESSAGES,
    "post": Post({"/messages": _CLAUDE}),
    "with_options": _ANOTHER,
    "copy": _ANOTHER,
    "with_middleware": _ANOTHER,
}
# A runner and a thread keep the client, and call it once for each turn.
_KEEP_CLIENT = Through({"_client": ANTHROPIC})
ANTHROPIC["beta"] = {"messages": {**_MESSAGES, "tool_runner": _KEEP_CLIENT, "thread": _KEEP_CLIENT}}

_GENERATE = CallKind("generate")
_MODELS: Tree = {
    # One call of these is several calls if functions are called, or an answer is continued.
    "generate_content": Through({"_generate_content": _GENERATE}, _GENERATE),
    "generate_content_stream": Through({"_generate_content_stream": _GENERATE}, _GENERATE),
    "embed_content": CallKind("embeddings"),
}
_INTERACTIONS: Tree = {"create": CallKind("interactions"), "get": CallKind("interactions", looks_up=True)}
GENAI: dict[str, Part] = {
    "models": _MODELS,
    "chats": {"create": Through({"_modules": _MODELS})},
    "interactions": _INTERACTIONS,
    "decisions": _DECISIONS,
}
GENAI["aio"] = GENAI

_MISTRAL_NAMES = ("complete", "complete_async", "stream", "stream_async")
_MISTRAL_COMPLETIONS = dict.fromkeys(_MISTRAL_NAMES, _CHAT)
_MISTRAL_CHAT: Tree = {
    **_MISTRAL_COMPLETIONS,
    # These may raise an exception after the answer.
    **dict.fromkeys(
        ("parse", "parse_async", "parse_stream", "parse_stream_async"), Through(_MISTRAL_COMPLETIONS, _CHAT)
    ),
}
_CONVERSATIONS = dict.fromkeys(
    (
        *("start", "start_async", "start_stream", "start_stream_async"),
        *("append", "append_async", "append_stream", "append_stream_async"),
        *("restart", "restart_async", "restart_stream", "restart_stream_async"),
    ),
    CallKind("conversations"),
)
_RUN_CONVERSATION = Through(_CONVERSATIONS)
MISTRAL: Tree = {
    "beta": {
        "conversations": {**_CONVERSATIONS, "run_async": _RUN_CONVERSATION, "run_stream_async": _RUN_CONVERSATION}
    },
    "chat": _MISTRAL_CHAT,
    "agents": _MISTRAL_CHAT,
    "fim": dict.fromkeys(_MISTRAL_NAMES, CallKind("completions")),
    "responses": {"create": _RESPOND, "create_async": _RESPOND},
    "audio": {
        "transcriptions": dict.fromkeys(_MISTRAL_NAMES, _AUDIO),
        "speech": {"complete": _AUDIO, "complete_async": _AUDIO},
    },
    "embeddings": _EMBEDDINGS,
}

_COHERE = {
    **dict.fromkeys(("chat", "chat_stream"), CallKind("cohere")),
    **dict.fromkeys(("generate", "generate_stream"), CallKind("completions")),
    "embed": CallKind("embeddings"),
    "rerank": CallKind("rerank"),
}
COHERE: Tree = {**_COHERE, "v2": _COHERE}

BEDROCK: Tree = {
    **dict.fromkeys(("converse", "converse_stream"), CallKind("converse")),
    **dict.fromkeys(("invoke_model", "invoke_model_with_response_stream"), CallKind("invoke")),
}

OLLAMA: Tree = {"chat": _CHAT, "generate": CallKind("completions"), "embed": CallKind("embeddings")}

# The method that identifies a client, the first that it has, and the tracked methods of such clients. Clients of other
# companies that are made like one of these are recognized too. A name that many objects have, such as ``chat``, is a
# sign only together with the package of the client's class, which is written before it.
_SIGNS: tuple[tuple[str, Tree], ...] = (
    ("chat.completions.create", OPENAI),
    ("messages.create", ANTHROPIC),
    ("models.generate_content", GENAI),
    ("chat.complete", MISTRAL),
    ("chat_stream", COHERE),
    ("invoke_model", BEDROCK),
    ("ollama:chat", OLLAMA),
)


def tree_of(client: object) -> Tree | None:
    """Return the tracked methods of a client; ``None`` if it is not a client of a known provider."""
    return next((tree for sign, tree in _SIGNS if _has_sign(client, sign)), None)


def _has_sign(client: object, sign: str) -> bool:
    package, _, method = sign.rpartition(":")
    packages = {kind.__module__.partition(".")[0] for kind in type(client).__mro__}
    return has_method(client, method) and (not package or package in packages)
