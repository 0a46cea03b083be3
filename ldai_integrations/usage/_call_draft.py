"""One provider call of a response or a stream, while it is read."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from decimal import Decimal
from functools import reduce
from operator import add

from ..records import Usage
from ._counts import Counts
from ._shapes import COHERE
from ._tokens import TextTally

# Most passes of a call that are priced one by one.
_MOST_PASSES = 1_024
# Longest text of a call that is kept, in characters: about 60,000 tokens of English. The rest is only counted.
_MOST_TEXT = 262_144


class BoundedText:
    """The beginning of a growing text, and a counter of the tokens of the rest.

    Attributes:
        tally: Counts the rest; ``None`` while the whole text is kept.
    """

    __slots__ = ("_chunks", "_left", "tally")

    def __init__(self) -> None:
        self._chunks: list[str] = []
        self._left = _MOST_TEXT
        self.tally: TextTally | None = None

    def add(self, chunk: str, most: int) -> int:
        """Append a chunk that is not empty, and keep at most so many characters of it; return how many are kept."""
        size = len(chunk)
        if size > self._left or size > most:
            if self.tally is not None:
                self.tally.add(chunk)
                return 0
            size = min(self._left, most)
            self.tally = TextTally()
            self.tally.add(chunk[size:])
            chunk = chunk[:size]
        self._chunks.append(chunk)
        self._left -= size
        return size

    def __bool__(self) -> bool:
        return bool(self._chunks)

    def __str__(self) -> str:
        return "".join(self._chunks)


@dataclass(slots=True)
class ToolCallDraft:
    """One tool call of a model while it is read: its arguments may come in pieces."""

    name: str
    call_id: str
    arguments: BoundedText = field(default_factory=BoundedText)


@dataclass(slots=True)
class CallDraft:
    """One provider call while it is read.

    Attributes:
        text, reasoning: What the model wrote.
        tool_calls: By a key that the pieces of one tool call share.
        counts, metrics: The usage object of the response, and that of Bedrock.
        reason, choice: The finish reason, and the number of the choice that it belongs to.
        choices: Whether each choice of an OpenAI answer has ended, by its number.
        finished_at, counted_at: The number of the event with the finish reason, and of the last one with usage.
        spoke_at, reported_at: The number of the last event with output, and of the last one with a usage object that
            is not a part of LangChain's.
        no_usage_follows: Whether the provider sends no usage after the finish reason, so that nobody waits for it.
        is_done: Whether the line ``[DONE]`` has ended the stream. Some gateways send figures of their own after it.
        service_tier: The tier that served the request, in the provider's words.
        cost: What a gateway or the provider says that the call costs.
        billed: The tokens that Cohere bills.
        further: The counts of what another model did for the call, and the model's name, by the place in the response.
            They are not in the usage object of the response.
        fallbacks: How many models declined before another one went on with the answer.
        lacks_calls: Whether a framework made more calls, of whose tokens nothing is known.
        has_wrong_counts: Whether a usage object has a number that cannot be a count.
        has_fees: Whether something costs more than the tokens, such as the provider's own tools.
        received_at: When a framework received it, in seconds since the epoch.
    """

    text: BoundedText = field(default_factory=BoundedText)
    reasoning: BoundedText = field(default_factory=BoundedText)
    tool_calls: dict[object, ToolCallDraft] = field(default_factory=dict)
    ids: dict[str, None] = field(default_factory=dict)
    model: str | None = None
    error: str | None = None
    counts: Counts | None = None
    metrics: Counts | None = None
    reason: str = ""
    choice: int = 0
    choices: dict[int, bool] = field(default_factory=dict)
    finished_at: int = 0
    counted_at: int = 0
    spoke_at: int = 0
    reported_at: int = 0
    no_usage_follows: bool = False
    is_done: bool = False
    service_tier: str = ""
    cost: Decimal | None = None
    billed: Usage | None = None
    further: dict[str, tuple[Counts, str]] = field(default_factory=dict)
    fallbacks: int = 0
    lacks_calls: bool = False
    has_wrong_counts: bool = False
    has_fees: bool = False
    received_at: float | None = None

    @property
    def has_content(self) -> bool:
        """Whether any text or tool call was seen."""
        return bool(self.text or self.tool_calls)

    @property
    def has_usage(self) -> bool:
        """Whether any usage object was seen."""
        return self.counts is not None or self.metrics is not None

    @property
    def has_answer(self) -> bool:
        """Whether more is known than the provider's id and the model."""
        return bool(self.has_content or self.has_usage or self.reasoning or self.error or self.reason)

    @property
    def is_empty(self) -> bool:
        """Whether nothing is known of this call."""
        return not (self.ids or self.model or self.has_answer)

    @property
    def lacks_passes(self) -> bool:
        """Whether passes of models that declined are missing. The last pass of a fallback has a kind of its own."""
        kinds = [one.kind for one in self.counts.passes] if self.fallbacks and self.counts is not None else []
        answers = kinds.count("message") + kinds.count("fallback_message")
        return self.fallbacks > 0 and ("fallback_message" not in kinds or answers <= self.fallbacks)

    def usage(self) -> Usage | None:
        """Return the usage of the call with that of other models; a lower bound if it lacks passes or calls."""
        usage = self._usage_of_response()
        if usage is None:
            return None
        usage = reduce(add, (counts.usage() for counts, _ in self.further.values()), usage)
        return replace(usage, lower_bound=True) if self.lacks_passes or self.lacks_calls else usage

    def _usage_of_response(self) -> Usage | None:
        """Return the usage of the response, completed by what Bedrock counted."""
        body = self.counts.usage() if self.counts is not None else None
        if self.metrics is None:
            return body
        metered = self.metrics.usage()
        # Cohere's own usage includes a preamble that nobody wrote or pays for.
        if body is None or (self.counts is not None and self.counts.shape is COHERE):
            return metered
        if body.input_tokens is not None and body.output_tokens is not None:
            return body
        return replace(
            body,
            input_tokens=metered.input_tokens if body.input_tokens is None else body.input_tokens,
            output_tokens=metered.output_tokens if body.output_tokens is None else body.output_tokens,
            total_tokens=None,
        ).with_total()

    def billed_parts(self) -> tuple[tuple[Usage, str | None], ...]:
        """Return the parts that have a price of their own, as :class:`~ldai_integrations.usage.Reading` has them."""
        if self.billed is not None:
            return ((self.billed, None),)
        further = tuple((counts.usage(), model) for counts, model in self.further.values())
        passes = self.counts.passes if self.counts is not None else ()
        has_passes = 1 < len(passes) <= _MOST_PASSES
        usage = self._usage_of_response() if further or has_passes else None
        if usage is None:
            return ()
        if has_passes:
            # Each of the models may have made a pass without a name, unless all passes are those of the last one.
            default = "" if self.fallbacks and not self.lacks_passes else None
            parts = tuple((one.counts.usage(), one.model or default) for one in passes)
            together = reduce(add, (part for part, _ in parts))
            if (together.input_tokens, together.output_tokens) == (usage.input_tokens, usage.output_tokens):
                return parts + further
        return ((usage, None), *further) if further else ()
