"""Answer wrongly on purpose, so that an application's behaviour under failure can be tested."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from starlette.responses import Response

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from ._responses import HangUp

_TYPES: Mapping[str, tuple[type, ...]] = {
    "path": (str,),
    "status": (int, type(None)),
    "count": (int, type(None)),
    "delay_ms": (int, float),
    "close": (bool,),
    "handled": (bool,),
}


@dataclass(frozen=True)
class Fault:
    """Describe what happens to the next requests for a path.

    Attributes:
        path: Exact path, such as ``/bulk``.
        status: Answer with this status, 200 to 599.
        count: For this many requests; ``None`` for all from now on.
        delay_ms: Wait so long first, milliseconds.
        close: Hang up instead of answering. Without ``status`` and ``close`` a fault is a mere delay.
        handled: Let the server do its work first, so that only its answer is lost. Not for ``/all``, which never ends.
    """

    path: str
    status: int | None = None
    count: int | None = 1
    delay_ms: float = 0
    close: bool = False
    handled: bool = False

    def __post_init__(self) -> None:
        """Check the values."""
        for name, types in _TYPES.items():
            value = getattr(self, name)
            if not isinstance(value, types) or (isinstance(value, bool) and bool not in types):
                raise ValueError(f"fault: {name} must not be {value!r:.40}")
        if self.status is not None and not 200 <= self.status <= 599:
            raise ValueError(f"fault: status must be from 200 to 599, not {self.status}")
        if (self.count is not None and self.count < 1) or self.delay_ms < 0:
            raise ValueError("fault: count must be at least 1 and delay_ms at least 0")
        if (self.close and self.status is not None) or (self.handled and self.only_delays):
            raise ValueError("fault: give either status or close; handled needs one of them")

    @property
    def only_delays(self) -> bool:
        """Tell whether the request is answered as ever, only later."""
        return self.status is None and not self.close

    @classmethod
    def from_json(cls, value: Any) -> Fault:
        """Read a fault from JSON.

        Raises:
            ValueError: A field is unknown or of a wrong type.
        """
        if not isinstance(value, dict) or "path" not in value or value.keys() - _TYPES.keys():
            raise ValueError(f"fault: must be an object with path and any of {', '.join(_TYPES)}")
        return cls(**value)


class FaultList:
    """Hold the faults still to come, in order. Safe to use from any thread."""

    def __init__(self) -> None:
        """Start without faults."""
        self._lock = threading.Lock()
        self._faults: list[Fault] = []

    def add(self, fault: Fault) -> None:
        """Put a fault behind the others."""
        with self._lock:
            self._faults.append(fault)

    def replace(self, faults: Iterable[Fault]) -> None:
        """Put these in the place of all others."""
        with self._lock:
            self._faults = list(faults)

    def take(self, path: str) -> Fault | None:
        """Return the fault for a request of this path, counted, if there is one."""
        with self._lock:
            for index, fault in enumerate(self._faults):
                if fault.path == path:
                    if fault.count is not None:
                        left = [replace(fault, count=fault.count - 1)] if fault.count > 1 else []
                        self._faults[index : index + 1] = left
                    return fault
        return None

    def to_json(self) -> list[dict[str, Any]]:
        """Return the faults still to come."""
        with self._lock:
            return [asdict(fault) for fault in self._faults]


class FaultInjector:
    """Let the listed faults happen to the requests of an application."""

    def __init__(self, app: ASGIApp, *, faults: FaultList, hang_up: HangUp, stopping: asyncio.Event) -> None:
        """Wrap an application.

        Args:
            app: What to disturb.
            faults: The faults to come.
            hang_up: The answer that is none.
            stopping: Ends every delay.
        """
        self.app = app
        self._faults = faults
        self._hang_up = hang_up
        self._stopping = stopping

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, unless a fault is due."""
        fault = self._faults.take(scope["path"])
        if fault is None:
            await self.app(scope, receive, send)
            return
        if fault.delay_ms:
            await self._delay(fault.delay_ms / 1000)
        if fault.only_delays:
            await self.app(scope, receive, send)
            return
        if fault.handled:
            await self.app(scope, receive, _nowhere)
        else:
            await _read_body(receive)
        answer = self._hang_up if fault.status is None else Response(status_code=fault.status)
        await answer(scope, receive, send)

    async def _delay(self, seconds: float) -> None:
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), seconds)


async def _nowhere(message: Message) -> None:
    """Drop what the application answers."""


async def _read_body(receive: Receive) -> None:
    """Read to the end, so that the client gets to see the answer and not a broken pipe."""
    while (await receive()).get("more_body", False):
        pass
