"""What must be reported, from what was sent, what the clients saw and what the model server billed.

Nothing in here is taken from the library or from LaunchDarkly. Exact: the number of runs, successes, errors, tool calls
and thumbs, and the tokens of every answer that came to its end. Bounded: times, which lie between what the model server
and the client measured around them, and the tokens of a stream that broke off, for which no provider sends usage.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from .figures import Bounds

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .traffic import Exchange

Call = dict[str, Any]  # one line of the model server's bill

# A run ends when the server has let go of the last byte, which the client may have read a little earlier.
LAST_BYTE_MS = 500
# A server learns that a client has hung up when it writes to it next.
HANG_UP_MS = 3_000
# The model server counts by its own rule; an estimate by tiktoken's is between half and twice that.
ESTIMATE_FACTOR = 2


def bounds_of(exchange: Exchange, calls: Sequence[Call]) -> Bounds:
    """Return what must be reported for one exchange that makes a run.

    Args:
        exchange: What the client saw.
        calls: The lines of the bill with its question.
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
    """Return the tokens: those billed, none for a failed call, and a range where a stream broke off."""
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
