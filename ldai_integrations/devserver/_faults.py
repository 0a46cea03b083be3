"""Faults: wrong answers on purpose, to test how an application handles failures."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING

from starlette.responses import Response

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from ._http import HangUp

MAX_DELAY_MS = 24 * 3600 * 1000

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
    """A fault of the next requests for a path.

    Attributes:
        path: Exact path, such as ``/bulk``.
        status: Answer with this status, 200 to 599.
        count: The number of requests; ``None`` for all from now on.
        delay_ms: Wait this long first, in milliseconds.
        close: Close the connection instead of answering. Without ``status`` and ``close``, a fault is only a delay.
        handled: Let the server handle the request first, so that only its answer is lost. Not for ``/all``, which
            never ends.
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
        if self.count is not None and self.count < 1:
            raise ValueError(f"fault: count must be at least 1, not {self.count}")
        if not 0 <= self.delay_ms <= MAX_DELAY_MS:
            raise ValueError(f"fault: delay_ms must be from 0 to {MAX_DELAY_MS}")
        if (self.close and self.status is not None) or (self.handled and self.only_delays):
            raise ValueError("fault: give either status or close; handled needs one of them")

    @property
    def only_delays(self) -> bool:
        """Return whether the request gets its usual answer, only later."""
        return self.status is None and not self.close

    @classmethod
    def from_json(cls, value: object) -> Fault:
        """Read a fault from JSON.

        Raises:
            ValueError: A field is unknown or has a wrong value.
        """
        if not isinstance(value, dict) or "path" not in value or value.keys() - _TYPES.keys():
            raise ValueError(f"fault: must be an object with path and any of {', '.join(_TYPES)}")
        return cls(**value)


class FaultList:
    """The pending faults, in order. Any thread may use it."""

    def __init__(self) -> None:
        """Start without faults."""
        self._lock = threading.Lock()
        self._faults: list[Fault] = []

    def add(self, fault: Fault) -> None:
        """Add a fault after the others."""
        with self._lock:
            self._faults.append(fault)

    def replace(self, faults: Iterable[Fault]) -> None:
        """Replace all faults."""
        with self._lock:
            self._faults = list(faults)

    def take(self, path: str) -> Fault | None:
        """Return the fault for a request of this path, and count the request."""
        with self._lock:
            for index, fault in enumerate(self._faults):
                if fault.path == path:
                    if fault.count is not None:
                        left = [replace(fault, count=fault.count - 1)] if fault.count > 1 else []
                        self._faults[index : index + 1] = left
                    return fault
        return None

    def to_json(self) -> list[dict[str, object]]:
        """Return the pending faults."""
        with self._lock:
            return [asdict(fault) for fault in self._faults]


class FaultInjector:
    """A middleware that applies the pending faults to requests."""

    def __init__(self, app: ASGIApp, *, faults: FaultList, hang_up: HangUp, stopping: asyncio.Event) -> None:
        """Wrap an application.

        Args:
            app: The application.
            faults: The pending faults.
            hang_up: The response that closes the connection.
            stopping: Ends every delay.
        """
        self.app = app
        self._faults = faults
        self._hang_up = hang_up
        self._stopping = stopping

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, unless it gets a fault."""
        fault = self._faults.take(scope["path"])
        if fault is None:
            await self.app(scope, receive, send)
            return
        if fault.delay_ms:
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), fault.delay_ms / 1000)
        if fault.only_delays:
            await self.app(scope, receive, send)
            return
        if fault.handled:
            await self.app(scope, receive, _discard)
        else:
            # Read the body to its end. Otherwise the client sees a broken pipe instead of the answer.
            while (await receive()).get("more_body", False):
                pass
        answer = self._hang_up if fault.status is None else Response(status_code=fault.status)
        await answer(scope, receive, send)


async def _discard(message: Message) -> None:
    """Discard a part of the application's answer."""
