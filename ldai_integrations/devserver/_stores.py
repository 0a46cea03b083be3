"""The state of the server, shared by all endpoints, and the warnings that applications have sent."""

from __future__ import annotations

import asyncio
import hmac
import time
from dataclasses import dataclass, field
from typing import Annotated, TypeAlias

from fastapi import Depends, Header, HTTPException
from fastapi.requests import HTTPConnection

from ._events import EventStore
from ._faults import FaultList
from ._flags import FlagStore
from ._http import Bodies
from ._metrics import Selection
from ._prices import ListPrices, read_prices

MAX_WARNINGS = 100
MAX_WARNING_CHARS = 1000


class Warnings:
    """The newest warnings of applications, each once. Any thread may read them."""

    def __init__(self) -> None:
        self._found: list[dict[str, object]] = []  # replaced by another list, never changed

    def add(self, content: object) -> None:
        """Add a warning, or the time at which it has arrived again.

        Args:
            content: An object with ``kind``, its name in ``Tracking.stats().diagnostics``, and ``text``, the line of
                the log.

        Raises:
            ValueError: It is something else.
        """
        match content:
            case {"kind": str(kind), "text": str(text)}:
                # JSON may contain half a character, and UTF-8 may not.
                kind, text = (one[:MAX_WARNING_CHARS].encode(errors="replace").decode() for one in (kind, text))
            case _:
                raise ValueError('a warning has the form {"kind": …, "text": …}')
        others = [warning for warning in self._found if warning["text"] != text]
        newest = {"kind": kind, "text": text, "receivedMs": int(time.time() * 1000)}
        self._found = [newest, *others][:MAX_WARNINGS]

    def clear(self) -> None:
        """Delete all warnings."""
        self._found = []

    def to_json(self) -> list[dict[str, object]]:
        """Return the warnings, the newest one first, with the time at which each has arrived last."""
        return self._found


@dataclass
class Stores:
    """The flags, the received events, the faults and the known losses.

    Attributes:
        flags: The flags being served.
        events: The events received.
        sdk_key: The only accepted SDK key; ``None`` accepts any.
        list_prices: The price list, for variations without prices; ``None`` if there is none.
        stopping: Set when the server stops.
        faults: The faults of the next requests.
        bodies: The request bodies that are being read.
        warnings: The warnings that applications have sent.
        dropped_events: Events that SDKs dropped before sending, according to their own diagnostics.
        refused_payloads: Payloads that could not be stored.
        live_pages: The number of open pages.
        page_turn: Held while the data of one page is read, so that pages do not take all worker threads.
    """

    flags: FlagStore
    events: EventStore
    sdk_key: str | None = None
    list_prices: ListPrices | None = None
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    faults: FaultList = field(default_factory=FaultList)
    bodies: Bodies = field(default_factory=Bodies)
    warnings: Warnings = field(default_factory=Warnings)
    dropped_events: int = 0
    refused_payloads: int = 0
    live_pages: int = 0
    page_turn: asyncio.Lock = field(default_factory=asyncio.Lock)

    def status(self) -> dict[str, int]:
        """Return the numbers of open streams, of what has arrived, and of known losses."""
        return {
            "streams": self.flags.streams,
            **self.events.status(),
            "refusedPayloads": self.refused_payloads,
            "droppedEvents": self.dropped_events,
        }

    def select(self, config_key: str, since_ms: int | None = None, until_ms: int | None = None) -> Selection:
        """Return the events of an AI Config in a range of time, with the prices of its variations."""
        prices = read_prices(self.flags.payload["flags"].get(config_key), self.list_prices)
        return Selection(self.events, config_key, prices, since_ms, until_ms)

    def clear(self) -> None:
        """Delete all events, losses, faults and warnings; the flags stay."""
        self.events.clear()
        self.faults.replace([])
        self.warnings.clear()
        self.dropped_events = self.refused_payloads = 0


async def _stores_of(connection: HTTPConnection) -> Stores:
    stores: Stores = connection.app.state.stores
    return stores


#: A parameter of an endpoint that gets the state of its server.
ServerStores: TypeAlias = Annotated[Stores, Depends(_stores_of)]


async def check_key(stores: ServerStores, authorization: Annotated[str, Header(include_in_schema=False)] = "") -> None:
    """Refuse a request without the SDK key, if the server was started with one."""
    if stores.sdk_key is not None and not hmac.compare_digest(authorization.encode(), stores.sdk_key.encode()):
        raise HTTPException(401, "This server was started with another SDK key.")
