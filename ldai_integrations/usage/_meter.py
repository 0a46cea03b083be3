"""The provider's usage of one stream, which may hold several calls."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import reduce
from operator import add
from typing import Any

from ..records import Usage
from ._counts import Counts, counts_in
from ._shapes import BEDROCK_METRICS, COHERE
from ._values import text

# Most calls that are told apart; no run makes so many.
_MOST_CALLS = 4_096


@dataclass(slots=True)
class _Call:
    counts: Counts | None = None
    metrics: Counts | None = None
    spoke: bool = False

    def usage(self) -> Usage | None:
        """Return the body's usage with what it leaves out taken from Bedrock's own metering."""
        body = self.counts.usage() if self.counts is not None else None
        if self.metrics is None:
            return body
        metered = self.metrics.usage()
        # Cohere's body counts a preamble that nobody wrote or pays for.
        if body is None or (self.counts is not None and self.counts.shape is COHERE):
            return metered
        return replace(
            body,
            input_tokens=metered.input_tokens if body.input_tokens is None else body.input_tokens,
            output_tokens=metered.output_tokens if body.output_tokens is None else body.output_tokens,
        ).with_total()


class Meter:
    """Keep the latest counts of each call, and add up the calls."""

    __slots__ = ("_calls", "call_id", "current")

    def __init__(self) -> None:
        self.call_id: str | None = None
        self.current = _Call()
        self._calls: dict[str | None, _Call] = {None: self.current}

    def begin(self, call_id: Any, *, anew: bool = False) -> bool:
        """Turn to a call: what is counted from now on is its. Tell whether it was there before.

        An id that the provider does not send changes nothing.

        Args:
            call_id: The provider's id of a response, which it may come back to.
            anew: This event opens a response: an id that was there before is another call's.
        """
        name = text(call_id)
        known = name in self._calls
        current = self.current
        other = (anew and (current.spoke or current.counts is not None)) or (name and name != self.call_id)
        if other and (known or len(self._calls) < _MOST_CALLS):
            self._open(name, anew=anew)
        return known

    def _open(self, name: str, *, anew: bool) -> None:
        if anew and name in self._calls:
            self._calls[f"{name} {len(self._calls)}"] = self._calls.pop(name)
        self.call_id = name
        self.current = self._calls.setdefault(name, _Call())

    def count(self, raw: Any, *, begun: bool = False) -> bool:
        """Take a usage object; tell whether it was one.

        Args:
            raw: The object.
            begun: The answer has only begun: of its output this says nothing.
        """
        counts = counts_in(raw)
        if counts is None:
            return False
        if begun:
            counts = counts.without("output")
        call = self.current
        if counts.shape is BEDROCK_METRICS:
            call.metrics = counts
        else:
            call.counts = counts if call.counts is None else call.counts.updated(counts)
        return True

    def count_delta(self, raw: Any) -> None:
        """Take a usage object of LangChain's chunks, which some integrations send as parts and some as running totals.

        A total repeats the input; a part that follows the input's carries none. Of an input that nobody told they
        write zero.
        """
        counts = counts_in(raw)
        if counts is None:
            return
        before = self.current.counts
        if not counts.values.get("input"):
            counts = counts.without("input", "total") if before is None else before.plus(counts)
        self.current.counts = counts

    @property
    def has_usage(self) -> bool:
        """Tell whether any usage object was seen."""
        return any(call.counts is not None or call.metrics is not None for call in self._calls.values())

    def usage(self) -> Usage | None:
        """Return the usage so far, all calls together."""
        known = [usage for usage in (call.usage() for call in self._calls.values()) if usage is not None]
        return reduce(add, known) if known else None
