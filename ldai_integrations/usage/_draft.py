"""What is learned from a response or a stream, while it is read."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field, replace
from typing import Any

from ..records import Usage
from ._counting import TextTally, count_tokens
from ._counts import BEDROCK_METRICS, COHERE, Counts, counts_in
from ._output import estimate_output
from ._values import get, number, text

# Longest text that is kept, in characters; what comes after is only counted. About 60,000 tokens of English.
MOST_TEXT = 262_144
# Most tool calls, and characters of one call's arguments, that are kept.
_MOST_CALLS = 1_024
_MOST_REASONS = 64


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
        dropped_tokens: Tokens of text and reasoning past those limits.
    """

    usage: Usage | None = None
    text: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    model: str | None = None
    error: str | None = None
    finish_reasons: tuple[str, ...] = ()
    reasoning: str = ""
    dropped_tokens: int = 0

    def estimate(self, *, model: str | None = None, request: Any = None) -> Usage:
        """Estimate the output tokens from everything that was shown: about 50 µs for 1,000 characters.

        Args:
            model: The model's name where the response has none.
            request: The request, if it is known.
        """
        name = self.model or model
        usage = estimate_output(self.text, model=name, tool_calls=self.tool_calls, request=request)
        more = count_tokens(self.reasoning, model=name) + self.dropped_tokens
        return replace(usage, output_tokens=(usage.output_tokens or 0) + more)


class BoundedText:
    """Keep the first characters of a growing text and count the tokens of the rest."""

    __slots__ = ("_chars", "_chunks", "_rest")

    def __init__(self) -> None:
        self._chunks: list[str] = []
        self._chars = 0
        self._rest: TextTally | None = None

    def add(self, chunk: str) -> None:
        """Append a chunk."""
        if self._rest is not None:
            self._rest.add(chunk)
            return
        self._chunks.append(chunk)
        self._chars += len(chunk)
        if self._chars > MOST_TEXT:
            whole = "".join(self._chunks)
            self._chunks = [whole[:MOST_TEXT]]
            self._rest = TextTally()
            self._rest.add(whole[MOST_TEXT:])

    def __bool__(self) -> bool:
        return self._chars > 0

    def __str__(self) -> str:
        return "".join(self._chunks)

    def dropped_tokens(self) -> int:
        """Return the tokens of what was not kept."""
        return self._rest.tokens() if self._rest is not None else 0


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
        self._calls: dict[Hashable, _Call] = {}
        self._reasons: list[str] = []
        self._counts: Counts | None = None
        self._metrics: Counts | None = None
        self._earlier: Usage | None = None
        self._call_id: str | None = None

    def say(self, value: Any) -> bool:
        """Take visible text; tell whether there was any."""
        chunk = text(value)
        if chunk:
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
        call = self._calls.get((self._call_id, key))
        if call is None:
            if len(self._calls) >= _MOST_CALLS:
                return True
            call = self._calls[self._call_id, key] = _Call()
        call.name = call.name or title
        if piece:
            call.arguments.add(piece)
        return True

    @property
    def has_content(self) -> bool:
        """Tell whether any text or tool call was seen."""
        return bool(self.text) or bool(self._calls)

    def count(self, raw: Any) -> bool:
        """Take a usage object; tell whether it was one."""
        counts = counts_in(raw)
        if counts is None:
            return False
        if counts.shape is BEDROCK_METRICS:
            self._metrics = counts
        else:
            self._counts = counts if self._counts is None else self._counts.updated(counts)
        return True

    def count_delta(self, raw: Any) -> None:
        """Take a usage object of LangChain's chunks, which some integrations send as parts and some as running totals.

        A total repeats the input; a part that follows the input's carries none.
        """
        counts = counts_in(raw)
        if counts is None:
            return
        before = self._counts
        if before is not None and not counts.values.get("input"):
            counts = before.plus(counts)
        self._counts = counts

    @property
    def has_usage(self) -> bool:
        """Tell whether any usage object was seen."""
        return self._counts is not None or self._metrics is not None

    def begin(self, call_id: Any) -> None:
        """Note which provider call the coming events belong to; usage of different calls in one stream adds up."""
        name = text(call_id)
        if not name or name == self._call_id:
            return
        if self._call_id is not None:
            self._earlier, self._counts, self._metrics = self.usage(), None, None
        self._call_id = name

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

    def usage(self) -> Usage | None:
        """Return the provider's usage so far; of several calls in one stream, the sum."""
        usage = self._counts.usage() if self._counts is not None else None
        if self._metrics is not None:
            metrics = self._metrics.usage()
            usage = metrics if usage is None or self._bills_apart() else _filled(usage, metrics)
        if self._earlier is None or usage is None:
            return usage or self._earlier
        return self._earlier + usage

    def _bills_apart(self) -> bool:
        """Tell whether Bedrock's metering is meant: Cohere's body counts a preamble nobody wrote or pays for."""
        return self._counts is not None and self._counts.shape is COHERE

    def reading(self) -> Reading:
        """Return what is known so far."""
        return Reading(
            usage=self.usage(),
            text=str(self.text),
            tool_calls=tuple(ToolCall(call.name, str(call.arguments)) for call in self._calls.values()),
            model=self.model,
            error=self.error,
            finish_reasons=tuple(self._reasons),
            reasoning=str(self.reasoning),
            dropped_tokens=self.text.dropped_tokens() + self.reasoning.dropped_tokens(),
        )


def _filled(usage: Usage, metrics: Usage) -> Usage:
    """Return a body's usage with what it leaves out taken from Bedrock's own metering."""
    return Usage(
        input_tokens=usage.input_tokens if usage.input_tokens is not None else metrics.input_tokens,
        output_tokens=usage.output_tokens if usage.output_tokens is not None else metrics.output_tokens,
        total_tokens=usage.total_tokens,
        cached_input_tokens=usage.cached_input_tokens,
        cache_write_input_tokens=usage.cache_write_input_tokens,
        reasoning_tokens=usage.reasoning_tokens,
    ).with_total()
