"""What a provider was asked: kept, bounded, until its run is accounted for, and never sent anywhere."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..records import Usage
from ..usage import estimate_prompt

#: Most characters of requests that one run keeps; of what is asked beyond them, the prompts are not estimated.
MOST_KEPT = 8_000_000

_MOST_ITEMS = 100_000


@dataclass(frozen=True, slots=True)
class Asked:
    """Hold the arguments of one provider call.

    Attributes:
        api: How the request is written: an ``api`` of :func:`~ldai_integrations.usage.estimate_prompt`, or
            ``"completions"``, ``"cohere"`` or ``"invoke"``.
        request: The arguments.
        chars: How long its texts are, where that has been counted.
    """

    api: str
    request: Mapping[str, Any]
    chars: int = 0

    @property
    def model(self) -> str:
        """Name of the model that was asked for; empty if there is none."""
        model = self.request.get("model") or self.request.get("modelId")
        return model if isinstance(model, str) else ""

    def kept(self, room: int) -> Asked | None:
        """Return this request as it is now, whatever the caller does to its lists later.

        Args:
            room: How many characters there may be in it; ``None`` is returned where there are more.
        """
        copy = _Copy(room)
        request = copy.of(dict(self.request))
        return Asked(self.api, request, room - copy.room) if copy.room >= 0 else None

    def text(self) -> str:
        """Return the texts of the request, one message a line, as ``role: content``."""
        request = self.request if self.api not in _READERS else _READERS[self.api](self.request)[0]
        lines = [("system", _plain(request.get(name))) for name in ("system", "instructions")]
        for name in ("messages", "input", "contents", "prompt"):
            said = request.get(name)
            turns = [said] if isinstance(said, (str, Mapping)) else said if isinstance(said, (list, tuple)) else []
            lines += [(_role(turn), _plain(turn)) for turn in turns]
        return "\n".join(f"{role}: {text}" for role, text in lines if text)

    def estimate(self, model: str) -> Usage | None:
        """Estimate the input tokens; about 50 µs for 1,000 characters."""
        read = _READERS.get(self.api)
        request, api = (self.request, self.api) if read is None else read(self.request)
        return estimate_prompt(request, model=model, api=api)  # type: ignore[arg-type]  # an unknown one gives None


class _Copy:
    """Copy lists and dicts, share everything else, and stop where there is no more room."""

    __slots__ = ("_items", "room")

    def __init__(self, room: int) -> None:
        self.room = room
        self._items = _MOST_ITEMS

    def of(self, value: Any, depth: int = 20) -> Any:
        self._items -= 1
        if self._items < 0 or depth < 0:
            self.room = -1
        if self.room < 0:
            return None
        if isinstance(value, dict):
            return {key: self.of(one, depth - 1) for key, one in value.items()}
        if isinstance(value, (list, tuple)):
            return [self.of(one, depth - 1) for one in value]
        if isinstance(value, (str, bytes, bytearray)):
            self.room -= len(value)
        return value


def _role(turn: Any) -> str:
    return str(turn.get("role", "user")) if isinstance(turn, Mapping) else "user"


def _plain(value: Any) -> str:
    """Find the text of a message, or of its parts."""
    if isinstance(value, str):
        return value
    if isinstance(value, (list, tuple)):
        return "\n".join(text for text in map(_plain, value) if text)
    if isinstance(value, Mapping):
        return next((text for text in (_plain(value.get(name)) for name in ("content", "parts", "text")) if text), "")
    return ""


def _completions(request: Mapping[str, Any]) -> tuple[Mapping[str, Any], str]:
    """A completion's prompt costs what its text does, as an embedding's input."""
    return {"input": request.get("prompt")}, "embeddings"


def _cohere(request: Mapping[str, Any]) -> tuple[Mapping[str, Any], str]:
    """Cohere's first chat API keeps the last message apart from the history."""
    if "message" not in request:
        return request, "chat"
    messages = [{"role": "system", "content": request["preamble"]}] if request.get("preamble") else []
    for turn in request.get("chat_history") or ():
        said = turn if isinstance(turn, Mapping) else {"role": turn.role, "message": getattr(turn, "message", "")}
        messages.append({"role": str(said.get("role", "")).lower(), "content": said.get("message")})
    messages.append({"role": "user", "content": request["message"]})
    return {**request, "messages": messages}, "chat"


def _invoke(request: Mapping[str, Any]) -> tuple[Mapping[str, Any], str]:
    """Bedrock's InvokeModel takes the body of whatever model it is."""
    try:
        body = json.loads(request["body"])
    except (KeyError, TypeError, ValueError, RecursionError):
        return {}, "chat"
    if not isinstance(body, dict):
        return {}, "chat"
    if "messages" in body:
        return body, "messages" if "anthropic_version" in body else "converse" if "schemaVersion" in body else "chat"
    texts = (body.get(name) for name in ("prompt", "inputText", "texts", "message"))
    return {"input": next((text for text in texts if text), None)}, "embeddings"


_READERS = {"completions": _completions, "cohere": _cohere, "invoke": _invoke}
