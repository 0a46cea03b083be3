"""What is known of a response: as it grows, and as it is handed out."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from ..records import Usage
from ._counting import TextTally, count_tokens
from ._models import family_of
from ._output import estimate_output

# Longest text that is kept, in characters; what comes after is only counted. About 60,000 tokens of English.
MOST_TEXT = 262_144
# Why an answer ended that was cut off at its limit, in small letters.
_CUT = frozenset(("length", "max_tokens", "max_output_tokens"))


@dataclass(frozen=True, slots=True)
class ToolCall:
    """Name one tool that the model called.

    Attributes:
        name: The tool's name; empty if the provider did not send it.
        arguments: The arguments as JSON text.
    """

    name: str
    arguments: str = ""


@dataclass(frozen=True, slots=True)
class Reading:
    """Hold everything that a run wants from one response.

    Attributes:
        usage: The provider's own numbers; ``None`` where it sent none.
        text: Visible output, at most 262,144 characters.
        tool_calls: Tools the model called, in order.
        model: The model that answered, as the provider names it.
        error: Type or code of an error the response carries, never its message.
        finish_reasons: Why generation ended, in the provider's words.
        reasoning: Reasoning that the response shows, at most 262,144 characters.
        rest: Counts text and reasoning past those limits.
        ids: How the provider names the response, or those that it is made of.
        api: ``"responses"`` where OpenAI's Responses API answered, which writes a token more; else ``"chat"``.
    """

    usage: Usage | None = None
    text: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    model: str | None = None
    error: str | None = None
    finish_reasons: tuple[str, ...] = ()
    reasoning: str = ""
    rest: tuple[TextTally, ...] = field(default=(), repr=False, compare=False)
    ids: tuple[str, ...] = ()
    api: str = field(default="chat", repr=False, compare=False)

    @property
    def dropped_tokens(self) -> int:
        """Tokens of what is not kept; about 50 µs for 1,000 characters, most of which are counted already."""
        return sum(tally.tokens() for tally in self.rest)

    def estimate(self, *, model: str | None = None, request: Any = None) -> Usage:
        """Estimate the output tokens from everything that was shown: about 50 µs for 1,000 characters.

        Args:
            model: The model's name where the response has none.
            request: The request, if it is known.
        """
        name = self.model or model
        usage = estimate_output(
            self.text,
            model=name,
            tool_calls=self.tool_calls,
            request=request,
            api=self.api,
            cut=not _CUT.isdisjoint(map(str.lower, self.finish_reasons)),
        )
        more = count_tokens(self.reasoning, model=name) + self.dropped_tokens
        more += family_of(name).per_reasoning if self.reasoning else 0
        return replace(usage, output_tokens=(usage.output_tokens or 0) + more)


class BoundedText:
    """Keep the first characters of a growing text and count the tokens of the rest."""

    __slots__ = ("_chars", "_chunks", "rest")

    def __init__(self) -> None:
        self._chunks: list[str] = []
        self._chars = 0
        #: Counts what was not kept.
        self.rest: TextTally | None = None

    def add(self, chunk: str) -> None:
        """Append a chunk."""
        if self.rest is not None:
            self.rest.add(chunk)
            return
        self._chunks.append(chunk)
        self._chars += len(chunk)
        if self._chars > MOST_TEXT:
            whole = "".join(self._chunks)
            self._chunks = [whole[:MOST_TEXT]]
            self.rest = TextTally()
            self.rest.add(whole[MOST_TEXT:])

    def __bool__(self) -> bool:
        return self._chars > 0

    def __str__(self) -> str:
        return "".join(self._chunks)
