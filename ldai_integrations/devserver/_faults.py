"""Faults: wrong answers on purpose, to test how an application handles failures."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterable
from typing import TYPE_CHECKING

from pydantic import BaseModel, Field, ValidationError
from starlette.responses import Response

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from ._http import HangUp

MAX_DELAY_MS = 24 * 3600 * 1000


class Fault(BaseModel, strict=True, extra="forbid", use_attribute_docstrings=True):
    """A fault of the next requests for a path."""

    path: str = Field(pattern="^/")
    """Exact path, such as ``/bulk``."""
    status: int | None = Field(None, ge=200, le=599)
    """Answer with this status."""
    count: int | None = Field(1, ge=1)
    """The number of requests; ``None`` for all from now on."""
    delay_ms: float = Field(0, ge=0, le=MAX_DELAY_MS)
    """Wait this long first, in milliseconds."""
    close: bool = False
    """Close the connection instead of answering. Without ``status`` and ``close``, a fault is only a delay."""
    handled: bool = False
    """Let the server handle the request first, so that only its answer is lost. Not for ``/all``, which never ends."""

    @property
    def only_delays(self) -> bool:
        """Return whether the request gets its usual answer, only later."""
        return self.status is None and not self.close


def make_fault(fields: object) -> Fault:
    """Return a fault with these fields.

    Raises:
        ValueError: It is not an object, a field is unknown or has a wrong value, or two contradict each other.
    """
    if not isinstance(fields, dict):
        raise ValueError('fault: it must be an object such as {"path": "/bulk", "status": 503}')
    try:
        fault = Fault.model_validate(fields)
    except ValidationError as error:
        detail = error.errors()[0]
        raise ValueError(f"fault: {'.'.join(map(str, detail['loc']))}: {detail['msg']}") from None
    if (fault.close and fault.status is not None) or (fault.handled and fault.only_delays):
        raise ValueError("fault: give either status or close; handled needs one of them")
    return fault


class FaultList:
    """The pending faults, in order. Any thread may use it."""

    def __init__(self) -> None:
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
            fault = next((fault for fault in self._faults if fault.path == path), None)
            if fault is not None and fault.count is not None:
                fault.count -= 1
                if not fault.count:
                    self._faults.remove(fault)
            return fault

    def pending(self) -> list[Fault]:
        """Return the pending faults."""
        with self._lock:
            return list(self._faults)


class FaultInjector:
    """A middleware that applies the pending faults to requests.

    Args:
        app: The application.
        faults: The pending faults.
        hang_up: The response that closes the connection.
        stopping: Ends every delay.
    """

    def __init__(self, app: ASGIApp, *, faults: FaultList, hang_up: HangUp, stopping: asyncio.Event) -> None:
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
