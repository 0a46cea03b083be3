"""Values: the usage, the cost and the record of a run, and reports about deliveries."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Literal

from ._value import value_class

if TYPE_CHECKING:
    from ldclient import Context

Mode = Literal["completion", "agent"]
Outcome = Literal["success", "error", "cancelled", "discarded"]
UsageSource = Literal["provider", "estimate", "partial"]


@value_class
class Usage:
    """The tokens of one or more provider calls.

    Every count is in tokens, zero or more; ``None`` means unknown, never zero. Where all three are known, input plus
    output plus ``other_tokens`` is the total, unless ``lower_bound`` is set.

    Attributes:
        input_tokens: All prompt tokens, including those read from a cache.
        output_tokens: All generated tokens, including reasoning.
        total_tokens: The provider's total, else input plus output. If only one of these is known, a lower bound has it
            as its total.
        cached_input_tokens: The part of the input that was read from a cache.
        cache_write_input_tokens: The part of the input that was written to a cache.
        reasoning_tokens: The part of the output that was reasoning.
        estimated: Names of the fields that we computed; the provider sent the others.
        lower_bound: Whether the real number may be higher, because of content that cannot be counted, hidden reasoning,
            or a call in the sum that did not report a count.
        other_tokens: The part of the total that is neither input nor output: what the provider's own tools put into
            the prompt, where the provider counts it separately (Gemini, Mistral).
        input_audio_tokens: The part of the input that was audio.
        input_image_tokens: The part of the input that was images.
        output_audio_tokens: The part of the output that is audio.
        output_image_tokens: The part of the output that is images.
        cache_write_1h_input_tokens: The part of ``cache_write_input_tokens`` that the cache keeps for an hour, which
            costs more.
        cached_input_audio_tokens: The part of ``cached_input_tokens`` that was audio.
        cached_input_image_tokens: The part of ``cached_input_tokens`` that was images.
    """

    input_tokens: int | None = None
    output_tokens: int | None = None
    total_tokens: int | None = None
    cached_input_tokens: int | None = None
    cache_write_input_tokens: int | None = None
    reasoning_tokens: int | None = None
    estimated: frozenset[str] = frozenset()
    lower_bound: bool = False
    other_tokens: int | None = None
    input_audio_tokens: int | None = None
    input_image_tokens: int | None = None
    output_audio_tokens: int | None = None
    output_image_tokens: int | None = None
    cache_write_1h_input_tokens: int | None = None
    cached_input_audio_tokens: int | None = None
    cached_input_image_tokens: int | None = None

    @property
    def source(self) -> UsageSource:
        """Who counted the tokens. ``"provider"``, ``"estimate"`` or ``"partial"`` (one count is the provider's)."""
        if not self.estimated:
            return "provider"
        known = {name for name in ("input_tokens", "output_tokens") if getattr(self, name) is not None}
        return "estimate" if known <= self.estimated else "partial"

    def with_total(self) -> Usage:
        """Return this usage with ``total_tokens`` filled in where input and output are known."""
        if self.total_tokens is not None or self.input_tokens is None or self.output_tokens is None:
            return self
        return Usage(  # replace() takes three times as long, and every run has a total
            self.input_tokens,
            self.output_tokens,
            self.input_tokens + self.output_tokens + (self.other_tokens or 0),
            self.cached_input_tokens,
            self.cache_write_input_tokens,
            self.reasoning_tokens,
            self.estimated | {"total_tokens"} if self.estimated else self.estimated,
            self.lower_bound,
            self.other_tokens,
            self.input_audio_tokens,
            self.input_image_tokens,
            self.output_audio_tokens,
            self.output_image_tokens,
            self.cache_write_1h_input_tokens,
            self.cached_input_audio_tokens,
            self.cached_input_image_tokens,
        )

    def filled_from(self, estimate: Usage) -> Usage:
        """Return this usage with its unknown input and output taken from an estimate.

        Nothing that the provider sent is overwritten. If the provider sent a total, input and output add up to it. A
        total that is the output alone lacks the input: a prompt has tokens.
        """
        input_tokens, output_tokens, total = self.input_tokens, self.output_tokens, self.total_tokens
        lacks_input = input_tokens is None and output_tokens and total == output_tokens + (self.other_tokens or 0)
        if output_tokens is None:
            output_tokens = estimate.output_tokens
        if input_tokens is None:
            input_tokens = estimate.input_tokens
        if lacks_input:
            total = None if input_tokens is not None else total
        elif total is not None and output_tokens is not None:
            parts = max(0, total - (self.other_tokens or 0))
            if self.output_tokens is None:
                output_tokens = min(output_tokens, parts) if self.input_tokens is None else parts - self.input_tokens
                output_tokens = max(0, output_tokens)
            if self.input_tokens is None:
                input_tokens = max(0, parts - output_tokens)
        filled = {"input_tokens": input_tokens, "output_tokens": output_tokens}
        added = {name for name, count in filled.items() if count is not None and getattr(self, name) is None}
        return replace(
            self,
            input_tokens=input_tokens,
            output_tokens=output_tokens,
            total_tokens=total,
            estimated=self.estimated | added,
            lower_bound=self.lower_bound or (bool(added) and estimate.lower_bound),
        ).with_total()

    def __add__(self, other: Usage) -> Usage:
        """Return the usage of both; a count that only one side reports makes the sum a lower bound.

        A part of a count, such as cached tokens, is estimated if one side has an estimate without it.
        """
        if not isinstance(other, Usage):
            return NotImplemented
        left, right = self._completed(other), other._completed(self)
        sums: dict[str, int | None] = {}
        estimated = left.estimated | right.estimated
        lower_bound = left.lower_bound or right.lower_bound
        for name in COUNTS:
            known = [count for count in (getattr(left, name), getattr(right, name)) if count is not None]
            sums[name] = sum(known) if known else None
            if len(known) == 1:
                whole = "output_tokens" if name in _PARTS_OF_OUTPUT else "input_tokens"
                lower_bound |= name in ("input_tokens", "output_tokens")
                unknown = left if getattr(left, name) is None else right
                estimated |= {name} if whole in unknown.estimated else set()
        if sums["input_tokens"] is not None and sums["output_tokens"] is not None:
            totals = [
                (side.input_tokens or 0) + (side.output_tokens or 0) + (side.other_tokens or 0)
                if side.total_tokens is None
                else side.total_tokens
                for side in (left, right)
            ]
            sums["total_tokens"] = sum(totals)
        if estimated and sums["total_tokens"] is not None:
            estimated |= {"total_tokens"}
        return Usage(**sums, estimated=estimated, lower_bound=lower_bound)

    def _completed(self, other: Usage) -> Usage:
        """Return this usage with its total, and with an output of zero if it is an embedding and the other is not."""
        is_embedding = self.output_tokens is None and self.input_tokens is not None
        if is_embedding and self.input_tokens == self.total_tokens and other.output_tokens is not None:
            return replace(self, output_tokens=0)
        return self.with_total()


# The parts of the output. Those of the input are the others.
_PARTS_OF_OUTPUT = ("reasoning_tokens", "output_audio_tokens", "output_image_tokens")
#: The names of the counts of a usage, which add up.
COUNTS = tuple(field.name for field in fields(Usage) if field.name.endswith("_tokens"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """The cost of one run, in USD, with the source of the price.

    Amounts are decimals, so that the sum of many runs is exact; ``float(cost.total_cost)`` where JSON needs a number.

    Attributes:
        input_cost: The cost of the input tokens, with those of a cache at their own price. ``None`` is unknown, never
            zero.
        output_cost: The cost of the output tokens. ``None`` is unknown, never zero.
        reported_cost: The cost of the calls for which the provider or a gateway reported it. It is not part of the
            other two.
        price_source: ``"ai-config"`` for the AI Config's own prices, ``"provider"`` for reported costs, else name and
            version of the price list; several are separated by commas.
        price_date: The first day of the prices, if the source says it.
        estimated: Whether some of the tokens were estimated.
        lower_bound: Whether the real cost may be higher: some tokens are unknown or have no price.
    """

    input_cost: Decimal | None = None
    output_cost: Decimal | None = None
    reported_cost: Decimal | None = None
    price_source: str
    price_date: date | None = None
    estimated: bool = False
    lower_bound: bool = False

    @property
    def total_cost(self) -> Decimal:
        """All amounts together, USD; the real cost is higher if ``lower_bound`` is set."""
        known = (self.input_cost, self.output_cost, self.reported_cost)
        return sum((amount for amount in known if amount is not None), Decimal(0))


@value_class
class RunRecord:
    """The result of one finished run.

    Attributes:
        run_id: The id that all of the run's LaunchDarkly events share; empty for a discarded run whose AI Config
            nobody asked for.
        config_key: Key of the AI Config.
        mode: ``"completion"`` or ``"agent"``.
        variation_key: Key of the served variation; empty if a default was served.
        version: Version of the served variation.
        model_name: Name of the configured model; empty if there is none.
        provider_name: Name of the configured provider; empty if there is none.
        enabled: Whether the AI Config was enabled; a disabled one is not reported.
        started_at: The start, in seconds since the epoch.
        duration_ms: The time from the start of the handler to the end of its result, in milliseconds.
        time_to_first_token_ms: The time to the first text, reasoning or tool delta, in milliseconds; ``None`` if
            nothing was streamed.
        time_to_first_answer_ms: The time to the first visible text, in milliseconds. It is later than the first token
            if the model reasoned or called tools before; ``None`` if nothing was streamed, or no text.
        usage: The tokens of all calls; ``None`` if they are unknown.
        outcome: ``success``, ``error``, ``cancelled``, or ``discarded`` (the run called no model).
        error: The exception that ended the run, if one did.
        tool_calls: Names of the tools called, in order.
        default_served: Whether LaunchDarkly had no usable variation, so that the default was served.
        cost: The cost of the calls, and the source of the prices; ``None`` if nothing is known about it.
        ld_context: The LaunchDarkly context for which the AI Config was evaluated.
        tracker: LaunchDarkly's own tracker for this run, for what comes later (feedback, scores).
        response_model: The model that answered last, as the provider names it; empty if the provider does not.
        finish_reasons: Why generation ended, in the provider's words: one entry for each provider call, in order;
            an empty text if the provider gave no reason.
        environment_id: Id of the LaunchDarkly environment; empty if the SDK does not know it.
        calls: How many provider calls were seen. Without one, how many responses of a provider with tokens are in the
            handler's output.
        failed_calls: How many of them failed.
        parent_run_id: The id of the run in which this one was opened; empty if there is none.
        graph_key: The key of the agent graph that this run is a node of; empty if there is none.
        abandoned: Whether the output of a cancelled run was left unread, as a WSGI server leaves it when the client
            disconnects. An ASGI server reports the disconnect to the handler, and this is false.
        conversation_id: The id that the application gave the conversation; empty if there is none.
        stated: Which figures LaunchDarkly's trackers sent before the end of the run (``duration``, ``first_token``,
            ``tokens``, ``tools``, ``success``); they are not sent again.
    """

    run_id: str
    config_key: str
    mode: Mode
    variation_key: str
    version: int
    model_name: str
    provider_name: str
    enabled: bool
    started_at: float
    duration_ms: int
    time_to_first_token_ms: int | None
    usage: Usage | None
    outcome: Outcome
    error: BaseException | None = field(default=None, compare=False)
    tool_calls: tuple[str, ...] = ()
    default_served: bool = False
    cost: Cost | None = None
    ld_context: Context | None = field(default=None, repr=False, compare=False)
    tracker: Any = field(default=None, repr=False, compare=False)
    time_to_first_answer_ms: int | None = None
    response_model: str = ""
    finish_reasons: tuple[str, ...] = ()
    environment_id: str = ""
    calls: int = 0
    failed_calls: int = 0
    parent_run_id: str = ""
    graph_key: str = ""
    stated: frozenset[str] = field(default=frozenset(), repr=False, compare=False)
    abandoned: bool = False
    conversation_id: str = ""

    @property
    def input_cost(self) -> Decimal | None:
        """The cost of the input tokens in USD; ``None`` if it is unknown."""
        return None if self.cost is None else self.cost.input_cost

    @property
    def output_cost(self) -> Decimal | None:
        """The cost of the output tokens in USD; ``None`` if it is unknown."""
        return None if self.cost is None else self.cost.output_cost


@dataclass(frozen=True, slots=True)
class RunTexts:
    """The texts of one run, for a sink that asked for them.

    Attributes:
        prompt: The role and the text of each message of the last request to a model.
        completions: The text of each answer, in order; without a provider call, the text of the handler's output.
    """

    prompt: tuple[tuple[str, str], ...] = field(repr=False)
    completions: tuple[str, ...] = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class FlushReport:
    """The result of one flush.

    Counts are in events as LaunchDarkly receives them. An event that still waits to be formatted counts as one, and so
    does a run that is still to be reported, or an evaluation in progress. ``None`` means that the LDClient does not
    report the count.

    Attributes:
        sent: Events that LaunchDarkly accepted during the flush.
        pending: Events from before the flush that still wait at its end; they are tried again.
        dropped: Events that were lost during the flush; ``Tracking.stats()`` has the reasons.
    """

    sent: int | None
    pending: int | None
    dropped: int | None

    @property
    def complete(self) -> bool:
        """Whether everything was sent, as far as the LDClient reports it."""
        return self.pending == 0 and not self.dropped


@dataclass(frozen=True, slots=True, kw_only=True)
class Stats:
    """Counts of what has happened in one process since its start.

    Attributes:
        runs: Runs that were reported.
        sent: Events that LaunchDarkly accepted; ``None`` if the LDClient does not report it.
        pending: Events that wait; ``None`` if the LDClient does not report it.
        dropped: Events lost, by reason: ``"spool_full"`` (the endpoint was unreachable for too long),
            ``"inbox_full"``, ``"too_large"``, ``"malformed"`` (refused by themselves), ``"unserialisable"``,
            ``"closed"`` (not sent before the end, or tracked after it), ``"fork"`` (too many before an inherited client
            was restarted). All but the last are known only if the LDClient reports them.
        connection: Whether AI Configs arrive: ``"ok"``, ``"initializing"``, ``"off"``, ``"unreachable"``, or what was
            answered, such as ``"HTTP 401"``.
        endpoint: The last answer of the events endpoint: ``"ok"``, ``"HTTP 503"``, ``"unreachable"``; ``"idle"`` before
            the first request, ``None`` if the LDClient does not report it.
        diagnostics: How often each kind of failure of the library happened.
        frameworks: The LLM frameworks that are connected: those of ``Settings.frameworks`` that have been imported.
    """

    runs: int
    sent: int | None
    pending: int | None
    dropped: Mapping[str, int]
    connection: str
    endpoint: str | None
    diagnostics: Mapping[str, int]
    frameworks: tuple[str, ...] = ()
