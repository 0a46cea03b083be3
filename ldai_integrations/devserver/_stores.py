"""What the server holds, in one place for every endpoint."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ._faults import FaultList

if TYPE_CHECKING:
    from ._events import EventStore
    from ._flags import FlagStore
    from ._streams import FlagStreams


@dataclass
class Losses:
    """Count what did not arrive.

    Attributes:
        dropped_events: Events that SDKs threw away before sending, by their own diagnostics.
        refused_payloads: Payloads that could not be stored.
    """

    dropped_events: int = 0
    refused_payloads: int = 0


@dataclass(frozen=True)
class Stores:
    """Bundle what is served, what arrived, and what is to go wrong.

    Attributes:
        flags: The flags being served.
        streams: The SDKs they are pushed to.
        events: The events received.
        losses: The events known to be lost.
        faults: The faults to come.
    """

    flags: FlagStore
    streams: FlagStreams
    events: EventStore
    losses: Losses = field(default_factory=Losses)
    faults: FaultList = field(default_factory=FaultList)

    def status(self) -> dict[str, int]:
        """Count open streams, what has arrived, and what is known to be lost."""
        return {
            "streams": self.streams.connected,
            **self.events.status(),
            "refusedPayloads": self.losses.refused_payloads,
            "droppedEvents": self.losses.dropped_events,
        }

    def clear(self) -> None:
        """Forget all events, losses and faults; the flags stay."""
        self.events.clear()
        self.faults.replace([])
        self.losses.dropped_events = self.losses.refused_payloads = 0
