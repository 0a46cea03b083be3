"""Figures as counters, and the bounds they must lie between."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

# What is counted for a run, and so for any number of runs: whole numbers, milliseconds, tokens.
Figures = Counter[str]


def as_row(figures: Figures) -> Figures:
    """Return figures as LaunchDarkly shows them: generations counted, the time to first token as its mean."""
    row = Counter({name: n for name, n in figures.items() if name not in ("runs", "first_tokens", "tool_calls")})
    row["generations"] = figures["success"] + figures["errors"]
    if figures["first_tokens"]:
        row["first_token_ms"] = round(figures["first_token_ms"] / figures["first_tokens"])
    return +row


@dataclass(frozen=True, slots=True)
class Bounds:
    """The least and the most that figures may be; where the two are equal, the figure is known exactly."""

    low: Figures = field(default_factory=Counter)
    high: Figures = field(default_factory=Counter)

    def __add__(self, other: Bounds) -> Bounds:
        """Return the bounds of both together."""
        return Bounds(self.low + other.low, self.high + other.high)

    def as_row(self) -> Bounds:
        """Return the bounds of the row that LaunchDarkly shows."""
        return Bounds(as_row(self.low), as_row(self.high))

    def differences(self, reported: Figures) -> list[str]:
        """Say which figures lie outside."""
        found = []
        for name in sorted(self.high.keys() | reported.keys()):
            low, high, figure = self.low[name], self.high[name], reported[name]
            if not low <= figure <= high:
                wanted = str(low) if low == high else f"between {low} and {high}"
                found.append(f"{name} is {figure}, must be {wanted}")
        return found
