"""The state of the server, shared by all endpoints."""

from __future__ import annotations

from dataclasses import dataclass, field

from ._events import EventStore
from ._faults import FaultList
from ._flags import FlagStore, FlagStreams
from ._http import Bodies
from ._warnings import Warnings


@dataclass
class Stores:
    """The flags, the received events, the faults and the known losses.

    Attributes:
        flags: The flags being served.
        streams: The open streams that get the flags.
        events: The events received.
        faults: The faults of the next requests.
        bodies: The request bodies that are being read.
        warnings: The warnings that applications have sent.
        dropped_events: Events that SDKs dropped before sending, according to their own diagnostics.
        refused_payloads: Payloads that could not be stored.
    """

    flags: FlagStore
    streams: FlagStreams
    events: EventStore
    faults: FaultList = field(default_factory=FaultList)
    bodies: Bodies = field(default_factory=Bodies)
    warnings: Warnings = field(default_factory=Warnings)
    dropped_events: int = 0
    refused_payloads: int = 0

    def status(self) -> dict[str, int]:
        """Return the numbers of open streams, of what has arrived, and of known losses."""
        return {
            "streams": self.streams.connected,
            **self.events.status(),
            "refusedPayloads": self.refused_payloads,
            "droppedEvents": self.dropped_events,
        }

    def clear(self) -> None:
        """Delete all events, losses, faults and warnings; the flags stay."""
        self.events.clear()
        self.faults.replace([])
        self.warnings.clear()
        self.dropped_events = self.refused_payloads = 0
