"""The expected figures, computed from the requests, the answers and the model server's bill.

This module uses neither the library nor LaunchDarkly. Some figures are exact: the numbers of runs, successes, errors,
tool calls and thumbs, and the tokens of every complete answer. Others have bounds: times are between those of the
model server and those of the client; the tokens of an incomplete stream are estimated, because no provider sends usage
for it.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .traffic import Exchange

# The figures of one or more runs: counts, milliseconds and tokens.
Figures = Counter[str]


def as_row(figures: Figures) -> Figures:
    """Return figures as LaunchDarkly shows them: with the generations, and the mean of the time to first token."""
    row = Counter({name: n for name, n in figures.items() if name not in ("runs", "first_tokens", "tool_calls")})
    row["generations"] = figures["success"] + figures["errors"]
    if figures["first_tokens"]:
        row["first_token_ms"] = round(figures["first_token_ms"] / figures["first_tokens"])
    return +row


@dataclass(frozen=True, slots=True)
class Bounds:
    """The minimum and the maximum of figures. If both are equal, the figure is exact."""

    low: Figures = field(default_factory=Counter)
    high: Figures = field(default_factory=Counter)

    def __add__(self, other: Bounds) -> Bounds:
        """Return the bounds of the sum."""
        return Bounds(self.low + other.low, self.high + other.high)

    def as_row(self) -> Bounds:
        """Return the bounds of the figures that LaunchDarkly shows."""
        return Bounds(as_row(self.low), as_row(self.high))

    def differences(self, reported: Figures) -> list[str]:
        """Return the figures outside the bounds."""
        found = []
        for name in sorted(self.high.keys() | reported.keys()):
            low, high, figure = self.low[name], self.high[name], reported[name]
            if not low <= figure <= high:
                wanted = str(low) if low == high else f"between {low} and {high}"
                found.append(f"{name} is {figure}, must be {wanted}")
        return found


Call = dict[str, Any]  # one call in the model server's bill

# A run ends after the server has sent the last byte. The client may have read it a little earlier.
LAST_BYTE_MS = 500
# A server notices that a client has disconnected when it writes the next time.
HANG_UP_MS = 3_000
# The model server counts with its own rule. An estimate with tiktoken is between half and twice that.
ESTIMATE_FACTOR = 2


def bounds_of(exchange: Exchange, calls: Sequence[Call]) -> Bounds:
    """Return the expected figures of one exchange with a run.

    Args:
        exchange: The request and the answer.
        calls: The calls in the bill with its question.
    """
    step = exchange.step
    exact = Counter(
        runs=1,
        success=step.outcome == "success",
        errors=step.outcome == "error",
        tool_calls=step.tool_calls,
        thumbs_up=step.vote == "positive",
        thumbs_down=step.vote == "negative",
    )
    known = Bounds(exact, exact) + _tokens(exchange, calls)
    low, high = Counter(known.low), Counter(known.high)
    complete = [call["duration_ms"] for call in calls if call["state"] == "complete"]
    low["duration_ms"] = int(sum(complete) or calls[0]["first_token_ms"])
    high["duration_ms"] = int(exchange.duration_ms) + (HANG_UP_MS if step.hang_up_after else LAST_BYTE_MS)
    if exchange.words:
        low["first_tokens"] = high["first_tokens"] = 1
        low["first_token_ms"] = int(calls[0]["first_token_ms"])
        high["first_token_ms"] = int(exchange.first_ms) + 1
    return Bounds(low, high)


def _tokens(exchange: Exchange, calls: Sequence[Call]) -> Bounds:
    """Return the tokens in the bill, none for a failed call, or a range for an incomplete stream."""
    states = {call["state"] for call in calls}
    if states == {"failed"}:
        return Bounds()
    read, written = (sum(call[name] for call in calls) for name in ("prompt_tokens", "completion_tokens"))
    if states == {"complete"}:
        exact = _usage(read, written)
        return Bounds(exact, exact)
    seen = max(1, exchange.words)
    low = _usage(read // ESTIMATE_FACTOR, seen // ESTIMATE_FACTOR)
    high = _usage(read * ESTIMATE_FACTOR, written * ESTIMATE_FACTOR)
    return Bounds(low, high)


def _usage(read: int, written: int) -> Counter[str]:
    return Counter(input_tokens=read, output_tokens=written, total_tokens=read + written)
