"""Requests to providers: kept within bounds until their run is reported, and never sent anywhere."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from .._value import value_class
from ..records import Usage
from ..usage import estimate_prompt

#: APIs whose tokens are not those of their texts, so that they are not estimated.
NOT_OF_TEXT = frozenset(("images", "audio", "realtime", "rerank", "decisions"))

_MOST_ITEMS = 100_000
# To copy and to count a value takes as long as to count this many characters, in addition to its text.
_CHARS_OF_ITEM = 30


@value_class
class ProviderRequest:
    """The arguments of one provider call.

    Attributes:
        api: The format of the request: an ``api`` of :func:`~ldai_integrations.usage.estimate_prompt`,
            ``"completions"``, ``"cohere"``, ``"invoke"``, ``"interactions"`` or ``"conversations"``, or one of
            :data:`NOT_OF_TEXT`.
        arguments: The arguments.
        chars: Its size, if that is known: the length of its texts, and a little for every value.
    """

    api: str
    arguments: Mapping[str, object]
    chars: int = 0

    @property
    def model(self) -> str:
        """The name of the requested model; empty if there is none."""
        model = self.arguments.get("model") or self.arguments.get("modelId")
        return model if isinstance(model, str) else ""

    def kept(self, limit: int) -> ProviderRequest | None:
        """Return a copy that later changes of the caller's lists do not affect.

        Args:
            limit: The most characters that it may have; ``None`` is returned if it has more.
        """
        copy = _Copy(limit)
        request = copy.of(dict(self.arguments))
        return ProviderRequest(self.api, request, limit - copy.left) if copy.left >= 0 else None

    def turns(self) -> list[tuple[str, str]]:
        """Return the role and the text of each message of the request that has text."""
        request = self.arguments if self.api not in _TO_KNOWN_FORMAT else _TO_KNOWN_FORMAT[self.api](self.arguments)[0]
        lines = [("system", _plain(request.get(name))) for name in ("system", "instructions")]
        for name in ("messages", "input", "contents", "prompt"):
            content = request.get(name)
            one = isinstance(content, (str, Mapping))
            turns = [content] if one else content if isinstance(content, (list, tuple)) else []
            for turn in turns:
                role = turn.get("role", "user") if isinstance(turn, Mapping) else "user"
                lines.append((str(role), _plain(turn)))
        return [(role, text) for role, text in lines if text]

    def estimate(self, model: str) -> Usage | None:
        """Estimate the input tokens; about 50 µs for 1,000 characters."""
        read = _TO_KNOWN_FORMAT.get(self.api)
        request, api = (self.arguments, self.api) if read is None else read(self.arguments)
        return estimate_prompt(request, model=model, api=api)  # type: ignore[arg-type]  # an unknown one gives None


class _Copy:
    """A copier of lists and dicts that shares everything else and stops at a limit."""

    __slots__ = ("_items", "left")

    def __init__(self, limit: int) -> None:
        self.left = limit
        self._items = _MOST_ITEMS

    def of(self, value: object, depth: int = 20) -> Any:
        self._items -= 1
        self.left -= _CHARS_OF_ITEM
        if self._items < 0 or depth < 0:
            self.left = -1
        if self.left < 0:
            return None
        if isinstance(value, dict):
            return {key: self.of(one, depth - 1) for key, one in value.items()}
        if isinstance(value, (list, tuple)):
            return [self.of(one, depth - 1) for one in value]
        if isinstance(value, (str, bytes, bytearray)):
            self.left -= len(value)
        return value


def _plain(value: object) -> str:
    """Return the text of a message or of its parts."""
    if isinstance(value, str):
        return value
    if isinstance(value, (list, tuple)):
        return "\n".join(text for text in map(_plain, value) if text)
    if isinstance(value, Mapping):
        return next((text for text in (_plain(value.get(name)) for name in ("content", "parts", "text")) if text), "")
    return ""


def _cohere(request: Mapping[str, Any]) -> tuple[Mapping[str, object], str]:
    """Read a request of Cohere's first chat API, which separates the last message from the history."""
    if "message" not in request:
        return request, "chat"
    messages = [{"role": "system", "content": request["preamble"]}] if request.get("preamble") else []
    for turn in request.get("chat_history") or ():
        given = turn if isinstance(turn, Mapping) else {"role": turn.role, "message": getattr(turn, "message", "")}
        messages.append({"role": str(given.get("role", "")).lower(), "content": given.get("message")})
    messages.append({"role": "user", "content": request["message"]})
    return {**request, "messages": messages}, "chat"


def _invoke(request: Mapping[str, Any]) -> tuple[Mapping[str, object], str]:
    """Read a request of Bedrock's InvokeModel, whose body has the format of the model."""
    try:
        body = json.loads(request["body"])
    except (KeyError, TypeError, ValueError, RecursionError):
        body = None
    if not isinstance(body, dict):
        return {}, "chat"
    if "messages" in body:
        return body, "messages" if "anthropic_version" in body else "converse" if "schemaVersion" in body else "chat"
    texts = (body.get(name) for name in ("prompt", "inputText", "texts", "message"))
    return {"input": next((text for text in texts if text), None)}, "embeddings"


def _interactions(request: Mapping[str, Any]) -> tuple[Mapping[str, object], str]:
    """Read a request of Gemini's Interactions API, which names OpenAI's parameters in its own way."""
    names = {"system_instruction": "instructions", "previous_interaction_id": "previous_response_id"}
    return {names.get(name, name): value for name, value in request.items()}, "responses"


def _conversations(request: Mapping[str, Any]) -> tuple[Mapping[str, object], str]:
    """Read a request of Mistral's Conversations API. The server adds the conversation, or what the agent says."""
    stored = request.get("conversation_id") or request.get("agent_id")
    return {**request, "input": request.get("inputs"), "previous_response_id": stored}, "responses"


_TO_KNOWN_FORMAT: Mapping[str, Callable[[Mapping[str, Any]], tuple[Mapping[str, object], str]]] = {
    # The prompt has as many tokens as its text, like the input of an embedding.
    "completions": lambda request: ({"input": request.get("prompt")}, "embeddings"),
    "cohere": _cohere,
    "invoke": _invoke,
    "interactions": _interactions,
    "conversations": _conversations,
}
