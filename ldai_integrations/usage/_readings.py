"""What was read from a response or a stream."""

from __future__ import annotations

from dataclasses import field, replace
from decimal import Decimal
from functools import reduce
from operator import add

from .._value import value_class
from ..records import Usage
from ._estimates import estimate_output
from ._families import family_of
from ._tokens import TextTally, count_tokens

# Finish reasons of an answer that was cut off at its limit, in lower case.
_CUT = frozenset(("length", "max_tokens", "max_output_tokens"))


@value_class
class CalledTool:
    """A tool that the model called.

    Attributes:
        name: The tool's name; empty if the provider did not send it.
        arguments: The arguments as JSON text.
    """

    name: str
    arguments: str = ""


@value_class
class Reading:
    """Everything that was read from a response or a stream.

    Attributes:
        usage: The provider's own numbers; ``None`` if it sent none. The sum, if there are several calls.
        text: Visible output, at most 262,144 characters for each call.
        tool_calls: Tools that the model called, in order.
        model: The model that answered last, as the provider names it.
        error: Type or code of an error in the response, never its message.
        finish_reasons: Why generation ended, in the provider's words; at most one for each call.
        reasoning: Reasoning that the response shows, at most 262,144 characters for each call.
        tallies: Counters of the text and reasoning beyond these limits.
        ids: The ids of the response, or of the responses that it contains.
        api: ``"responses"`` for OpenAI's Responses API, which adds one token to an answer; otherwise ``"chat"``.
        parts: The readings of the single calls, if there are several.
        service_tier: The tier that served the request, in the provider's words and in lower case.
        cost: What a gateway or the provider says that the call costs, in USD.
        billed: The parts of the call that have a price of their own: the tokens of each part, and the model that made
            it. The model is ``None`` if it is that of the call, and empty if it is unknown. Without parts, the provider
            bills the usage. Anthropic lists the passes of a call. OpenAI counts the models of its tools separately.
            Cohere bills fewer tokens than the usage has.
        has_wrong_counts: Whether the provider sent a number of tokens that cannot be true, such as -1. This count is
            unknown.
        has_fees: Whether something costs more than the tokens, such as the provider's own tools.
        has_usage_so_far: Whether the usage of a stream may be that of its beginning only: it came with output or before
            it, and no finish reason followed.
        has_open_choices: Whether one of several choices has begun, and its finish reason has not arrived.
        is_whole: Whether a whole response was read, and not only events of a stream.
        is_start: Whether an event was read that says that it is the first one of a stream.
        is_part: Whether an event was read that says that its answer goes on.
        is_cached: Whether nothing was read but answers of a framework's cache, which are not provider calls.
        received_at: When a framework received it, in seconds since the epoch; ``None`` if it does not say so.
    """

    usage: Usage | None = None
    text: str = ""
    tool_calls: tuple[CalledTool, ...] = ()
    model: str | None = None
    error: str | None = None
    finish_reasons: tuple[str, ...] = ()
    reasoning: str = ""
    tallies: tuple[TextTally, ...] = field(default=(), repr=False, compare=False)
    ids: tuple[str, ...] = ()
    api: str = field(default="chat", repr=False, compare=False)
    parts: tuple[Reading, ...] = ()
    service_tier: str = ""
    cost: Decimal | None = None
    billed: tuple[tuple[Usage, str | None], ...] = ()
    has_wrong_counts: bool = False
    has_fees: bool = False
    has_usage_so_far: bool = field(default=False, repr=False, compare=False)
    has_open_choices: bool = field(default=False, repr=False, compare=False)
    is_whole: bool = field(default=False, repr=False, compare=False)
    is_start: bool = field(default=False, repr=False, compare=False)
    is_part: bool = field(default=False, repr=False, compare=False)
    is_cached: bool = field(default=False, repr=False, compare=False)
    received_at: float | None = field(default=None, repr=False, compare=False)

    @property
    def calls(self) -> tuple[Reading, ...]:
        """One reading for each provider call; only this one if the response is a single call, and none of a cache.

        A sum that a framework reports without the single calls is one reading without ids.
        """
        return () if self.is_cached else self.parts or (self,)

    @property
    def has_input_only(self) -> bool:
        """Whether the provider counted input, but no output, as for embeddings."""
        return self.usage is not None and self.usage.input_tokens is not None and self.usage.output_tokens is None

    @property
    def has_output(self) -> bool:
        """Whether there is any text, reasoning or tool call."""
        return bool(self.text or self.reasoning or self.tool_calls)

    @property
    def dropped_tokens(self) -> int:
        """Tokens of the text that is not kept; counting takes about 50 µs for 1,000 characters."""
        return sum(tally.tokens() for tally in self.tallies)

    def estimate(self, *, model: str | None = None, request: object = None) -> Usage:
        """Estimate the output tokens from everything that was shown: about 50 µs for 1,000 characters.

        Args:
            model: The model's name, if the response does not contain it.
            request: The request, if it is known.
        """
        if self.parts:
            return reduce(add, (part.estimate(model=model, request=request) for part in self.parts))
        name = self.model or model
        usage = estimate_output(
            self.text,
            model=name,
            tool_calls=self.tool_calls,
            request=request,
            api=self.api,
            cut=not _CUT.isdisjoint(map(str.lower, self.finish_reasons)),
        )
        more = self.dropped_tokens
        if self.reasoning:
            more += count_tokens(self.reasoning, model=name) + family_of(name).per_reasoning
        return replace(usage, output_tokens=(usage.output_tokens or 0) + more)
