"""What is learned from a response or a stream, while it is read."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Any

from ._meter import Meter
from ._readings import BoundedText, Reading, ToolCall
from ._values import get, number, text

# Most tool calls, and reasons why generation ended, that are kept.
_MOST_CALLS = 1_024
_MOST_REASONS = 64


@dataclass(slots=True)
class _Call:
    name: str = ""
    arguments: BoundedText = field(default_factory=BoundedText)


class Draft:
    """Collect text, calls, counts and errors; dialects write to it, :meth:`reading` sums it up."""

    def __init__(self) -> None:
        self.text = BoundedText()
        self.reasoning = BoundedText()
        self.model: str | None = None
        self.error: str | None = None
        self.api = "chat"
        self._calls: dict[Hashable, _Call] = {}
        self._reasons: list[str] = []
        self.meter = Meter()
        self.count = self.meter.count
        self.begin = self.meter.begin
        self._ids: dict[str, None] = {}

    def say(self, value: Any) -> bool:
        """Take visible text; tell whether there was any."""
        chunk = text(value)
        if chunk:
            self.meter.current.spoke = True
            self.text.add(chunk)
        return bool(chunk)

    def think(self, value: Any) -> bool:
        """Take reasoning that the provider shows; tell whether there was any."""
        chunk = text(value)
        if chunk:
            self.reasoning.add(chunk)
        return bool(chunk)

    def call(self, key: Hashable | None, name: Any = None, arguments: Any = None) -> bool:
        """Take a tool call; tell whether it carried anything.

        Args:
            key: What the pieces of one call have in common in this stream; ``None`` for a call that comes whole.
            name: The tool's name.
            arguments: A piece of JSON text.
        """
        piece, title = text(arguments), text(name)
        if not piece and not title:
            return False
        if key is None:
            key = ("whole", len(self._calls))
        call = self._calls.get((self.meter.call_id, key))
        if call is None:
            if len(self._calls) >= _MOST_CALLS:
                return True
            call = self._calls[self.meter.call_id, key] = _Call()
        self.meter.current.spoke = True
        call.name = call.name or title
        if piece:
            call.arguments.add(piece)
        return True

    @property
    def has_content(self) -> bool:
        """Tell whether any text or tool call of this call was seen."""
        return self.meter.current.spoke

    @property
    def is_identified(self) -> bool:
        """Tell whether the response has been named."""
        return bool(self._ids)

    def identify(self, response_id: Any) -> None:
        """Take the provider's name of the response, or of one that it is made of."""
        name = text(response_id)
        if name and len(self._ids) < _MOST_CALLS:
            self._ids[name] = None

    def finish(self, reason: Any) -> None:
        """Take the reason why generation ended."""
        word = text(reason) or (text(get(reason, "value", "name")) if reason is not None else "")
        if word and len(self._reasons) < _MOST_REASONS:
            self._reasons.append(word)

    def name_model(self, value: Any) -> None:
        """Take the model's name."""
        self.model = text(value) or self.model

    def fail(self, error: Any) -> None:
        """Take an error object: its type or code, never its message."""
        if self.error is None:
            code = text(get(error, "type", "status", "code")) or text(get(error, "code"))
            if not code:
                status = number(get(error, "code", "status_code"))
                code = str(status) if status is not None else "error"
            self.error = code[:100]

    def reading(self) -> Reading:
        """Return what is known so far."""
        return Reading(
            usage=self.meter.usage(),
            text=str(self.text),
            tool_calls=tuple(ToolCall(call.name, str(call.arguments)) for call in self._calls.values()),
            model=self.model,
            error=self.error,
            finish_reasons=tuple(self._reasons),
            reasoning=str(self.reasoning),
            rest=tuple(kept.rest for kept in (self.text, self.reasoning) if kept.rest is not None),
            ids=tuple(self._ids),
            api=self.api,
        )
