"""What one output told: a provider's answer, or what a handler put out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ..records import Usage
from ..usage import Reading, TextTally
from .asked import Asked

ModelName = Callable[[], str]
# Takes the request, or ``None`` where it is not known.
Estimate = Callable[[Any], Usage]


@dataclass(frozen=True, slots=True)
class Output:
    """What one output told.

    Attributes:
        usage: The provider's own figures, if it gave any.
        estimate: Counts the output's tokens, given the request if it is known; takes about 50 µs per 1,000 ``chars``.
        chars: Length of the text that ``estimate`` counts.
        tool_calls: Names of the tools the model called.
        error: Type of the error that the output carried, if it did.
        from_provider: Whether it was shaped like a provider's response.
        ids: How the provider names the response, or those that it is made of.
        model: The model that answered; empty if it was not named.
        finish_reasons: Why generation ended, in the provider's words.
        asked: The request, where its tokens or the answer's have to be estimated.
        text: Gives the text, where it has been kept; else nothing.
    """

    usage: Usage | None
    estimate: Estimate
    chars: int
    tool_calls: tuple[str, ...] = ()
    error: str | None = None
    from_provider: bool = False
    ids: tuple[str, ...] = ()
    model: str = ""
    finish_reasons: tuple[str, ...] = ()
    asked: Asked | None = None
    text: Callable[[], str] = str

    @property
    def chars_to_count(self) -> int:
        """How much text has to be counted for want of the provider's figures."""
        told = self.usage if self.usage is not None else Usage()
        chars = self.chars if told.output_tokens is None else 0
        return chars + (self.asked.chars if self.asked is not None and told.input_tokens is None else 0)

    @classmethod
    def of_reading(cls, reading: Reading, model_name: ModelName) -> Output:
        """Take over what the usage room read."""

        def estimate(request: Any) -> Usage:
            return reading.estimate(model=model_name(), request=request)

        names = tuple(call.name for call in reading.tool_calls)
        chars = len(reading.text) + len(reading.reasoning) + sum(len(call.arguments) for call in reading.tool_calls)
        from_provider = reading.usage is not None or reading.model is not None
        return cls(
            reading.usage,
            estimate,
            chars,
            names,
            reading.error,
            from_provider,
            reading.ids,
            reading.model or "",
            reading.finish_reasons,
            text=lambda: reading.text,
        )

    @classmethod
    def of_text(cls, tally: TextTally, text: Callable[[], str] = str) -> Output:
        """Take over counted text."""

        def estimate(_request: Any) -> Usage:
            return Usage(output_tokens=tally.tokens(), estimated=frozenset({"output_tokens"}))

        return cls(None, estimate, tally.chars, text=text)
