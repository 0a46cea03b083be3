"""The start of a client, during which runs wait for AI Configs."""

from __future__ import annotations

import time

from ldclient import LDClient

from .._diagnostics import Diagnostics
from ..delivery import has_answered, report_connection
from .background import is_on_event_loop, sleep

_POLL_SECONDS = 0.01
# Each request that waits on an event loop looks this often; there may be many.
_LOOP_POLL_SECONDS = 0.05


class Start:
    """The time in which the runs of an application wait for the first AI Configs. Thread-safe."""

    def __init__(self) -> None:
        #: Whether nobody has to wait any more.
        self.is_over: bool = True

    def begin(self, client: LDClient, diagnostics: Diagnostics, seconds: float) -> None:
        """Let runs wait for a client that was just made, for a limited time. A failure is logged at once."""
        self._client, self._diagnostics = client, diagnostics
        self._deadline = time.monotonic() + seconds
        self.is_over = False

    def wait(self) -> None:
        """Wait for the end of the start. On an event loop it returns at once."""
        while not self._check() and not is_on_event_loop():
            time.sleep(_POLL_SECONDS)

    async def await_end(self) -> None:
        """Wait for the end of the start without blocking the event loop, and without a thread."""
        while not self._check():
            await sleep(_LOOP_POLL_SECONDS)

    def _check(self) -> bool:
        if not self.is_over and (has_answered(self._client) or time.monotonic() >= self._deadline):
            self.is_over = True
            report_connection(self._client, self._diagnostics, timeout=0)
        return self.is_over
