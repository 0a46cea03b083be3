"""What the application and LaunchDarkly's trackers state about a run; it replaces what the run measured."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from ..records import Usage

# The events that a run has once, and what they state.
_ONCE = {"generation:success": "success", "generation:error": "success", "duration:total": "duration"}


@dataclass(slots=True)
class Stated:
    """The figures of one run that were stated before its end.

    Attributes:
        usages: The tokens of provider calls that the application reports itself.
        tools: The names of the tools that the model called.
        first_token_at: When the first token arrived, on the run's clock in seconds.
        events: What LaunchDarkly's trackers have sent: ``success``, ``duration``, ``first_token``, ``tokens`` and
            ``tools``.
    """

    usages: list[Usage] = field(default_factory=list)
    tools: list[str] = field(default_factory=list)
    first_token_at: float | None = None
    events: dict[str, Any] = field(default_factory=dict)

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
