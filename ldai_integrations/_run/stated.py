"""What the application and LaunchDarkly's trackers state about a run: figures, and calls of the newer AI SDK."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ..records import Usage
from ..usage import Reading
from .ledger import Ledger, ProviderCall

# The events that a run has once, and what they state.
_ONCE = {"generation:success": "success", "generation:error": "success", "duration:total": "duration"}
# The error of a call of the newer SDK, by the event about its outcome.
_ERRORS = {"generation:success": "", "generation:error": "error"}
# The counts that events state.
_TOKENS = {"tokens:input": "input_tokens", "tokens:output": "output_tokens", "tokens:total": "total_tokens"}


@dataclass(slots=True)
class Stated:
    """The figures of one run that were stated before its end. They replace what the run measured.

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
        elif event_name in _TOKENS:
            tokens: Usage = events.get("tokens") or Usage()
            name = _TOKENS[event_name]
            counts: dict[str, Any] = {name: (getattr(tokens, name) or 0) + round(value or 0)}
            events["tokens"] = replace(tokens, **counts)
        elif event_name == "tool_call":
            events.setdefault("tools", []).append(str(data.get("toolKey", "")))
        return True


@dataclass(slots=True, eq=False)
class SdkCalls:
    """The calls of LaunchDarkly's newer AI SDK in one run, as entries of its ledger.

    The SDK makes events when a call has ended. They are not sent: the run sends its own when it ends. So a call that
    fails before another one succeeds is not a failure of the run, and tokens of a wrapped client inside the SDK count
    once.

    Attributes:
        ledger: The ledger of the run.
    """

    ledger: Ledger
    _by_id: dict[object, ProviderCall] = field(default_factory=dict)

    def take_event(self, event_name: str, data: Mapping[str, Any], value: float | None) -> bool:
        """Note what an event says about a call; return whether it is about one.

        Args:
            event_name: The name of the event, without ``$ld:ai:``.
            data: The data of the event. Each call has a run id of its own.
            value: Its metric value.
        """
        if event_name != "duration:total" and event_name not in _ERRORS and event_name not in _TOKENS:
            return False
        call = self._by_id.get(data.get("runId"))
        if call is None:
            call = self._by_id[data.get("runId")] = self.ledger.begin("sdk")
            call.end(call.started_at)
        if event_name in _ERRORS:
            call.error = _ERRORS[event_name]
        elif event_name in _TOKENS:
            count: dict[str, Any] = {_TOKENS[event_name]: round(value or 0)}
            known = call.read() or Reading(usage=Usage())
            reading = replace(known, usage=replace(known.usage or Usage(), **count))
            call.read = lambda: reading
        else:
            now = self.ledger.clock()
            call.started_at, call.ended_at = now - (value or 0) / 1000, now
        return True

    @property
    def ended_at(self) -> float | None:
        """The end of the last call on the run's clock; ``None`` without a call.

        It does not include the judges that the SDK runs before it returns.
        """
        return max((call.ended_at or call.started_at for call in self._by_id.values()), default=None)
