"""What the application and LaunchDarkly's trackers state about a run; it replaces what the run measured."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from ..records import Usage
from ..typing import Score

# The events that a run has once, and what they state.
_ONCE = {"generation:success": "success", "generation:error": "success", "duration:total": "duration"}


class Stated:
    """The figures of one run that were stated before its end.

    Attributes:
        usage: The tokens of provider calls that the application reports itself.
        tools: The names of the tools that the model called.
        first_token_at: When the first token arrived, on the run's clock in seconds.
        events: What LaunchDarkly's trackers have sent: ``success``, ``duration``, ``first_token``, ``tokens`` and
            ``tools``.
    """

    __slots__ = ("events", "first_token_at", "tools", "usage")

    def __init__(self) -> None:
        self.usage: Usage | None = None
        self.tools: list[str] = []
        self.first_token_at: float | None = None
        self.events: dict[str, Any] = {}

    def take_event(self, event_name: str, data: dict[str, Any], value: float | None) -> bool:
        """Note an event of one of LaunchDarkly's trackers.

        Args:
            event_name: The name of the event, without ``$ld:ai:``.
            data: The data of the event.
            value: Its metric value.

        Returns:
            Whether it must be sent. A run has one outcome and one duration: the first one counts.
        """
        events = self.events
        once = _ONCE.get(event_name)
        if once is not None:
            if once in events:
                return False
            events[once] = round(value or 0) if once == "duration" else event_name == "generation:success"
        elif event_name == "tokens:ttf":
            events["first_token"] = round(value or 0)
        elif event_name.startswith("tokens:"):
            tokens: Usage = events.get("tokens") or Usage()
            field = f"{event_name.removeprefix('tokens:')}_tokens"
            counts: dict[str, Any] = {field: (getattr(tokens, field) or 0) + round(value or 0)}
            events["tokens"] = replace(tokens, **counts)
        elif event_name == "tool_call":
            events.setdefault("tools", []).append(str(data.get("toolKey", "")))
        return True


class Scores:
    """The scores of one run. Thread-safe.

    Scores that the application gives are kept until the run is over. No score is sent twice.
    """

    __slots__ = ("_claimed", "_held", "_send")

    def __init__(self) -> None:
        self._claimed: set[tuple[str, str]] = set()
        self._held: list[tuple[str, Score]] = []
        self._send: Callable[[str, Score], None] | None = None

    def claim(self, judge_key: str, metric_key: str) -> bool:
        """Return whether this is the first score of a judge, or of the application itself, under a metric."""
        before = len(self._claimed)
        self._claimed.add((judge_key, metric_key))
        return len(self._claimed) > before

    def given_by(self, judge_key: str) -> bool:
        """Return whether the application has asked a judge itself."""
        return any(judge_key == key for key, _metric in self._claimed)

    def hold(self, metric_key: str, score: Score) -> None:
        """Take a score. It is sent when the run is over, or at once if it is."""
        self._held.append((metric_key, score))
        self._hand_over()

    def open(self, send: Callable[[str, Score], None]) -> None:
        """Send the kept scores, and all that follow, with ``send``."""
        self._send = send
        self._hand_over()

    def _hand_over(self) -> None:
        while self._send is not None and self._held:
            try:
                held = self._held.pop(0)
            except IndexError:  # another thread was faster
                return
            self._send(*held)
