"""Calls of LaunchDarkly's newer AI SDK, which sends events when a call has ended."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ..records import Usage
from ..usage import Reading
from .ledger import Ledger, ProviderCall

_TOKENS = {"tokens:input": "input_tokens", "tokens:output": "output_tokens", "tokens:total": "total_tokens"}
# The error of a call, by the event about its outcome.
_ERRORS = {"generation:success": "", "generation:error": "error"}


@dataclass(frozen=True, slots=True, eq=False)
class SdkCalls:
    """The calls of the newer SDK in one run, as entries of its ledger.

    The events of a call are not sent: the run sends its own when it ends. So a call that fails before another one
    succeeds is not a failure of the run, and tokens of a wrapped client inside the SDK count once.

    Attributes:
        ledger: The ledger of the run.
        clock: The clock of the run, in seconds.
    """

    ledger: Ledger
    clock: Callable[[], float]
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
            now = self.clock()
            call.started_at, call.ended_at = now - (value or 0) / 1000, now
        return True

    @property
    def ended_at(self) -> float | None:
        """The end of the last call on the run's clock; ``None`` without a call.

        It does not include the judges that the SDK runs before it returns.
        """
        return max((call.ended_at or call.started_at for call in self._by_id.values()), default=None)
