"""The runs that have not ended, for whoever ends the process."""

from __future__ import annotations

import time
import weakref
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .run import Run

_POLL_SECONDS = 0.005


class OpenRuns:
    """Know the runs of a process that are open, and keep none of them alive; thread-safe."""

    def __init__(self) -> None:
        self._runs: set[weakref.ref[Run]] = set()

    def add(self, run: Run) -> None:
        """Note a run that was opened."""
        self._runs.add(weakref.ref(run, self._runs.discard))

    def discard(self, run: Run) -> None:
        """Forget a run that was reported."""
        self._runs.discard(weakref.ref(run))

    def abandon(self) -> None:
        """End them all: nobody is left to go on with them."""
        for reference in tuple(self._runs):
            run = reference()
            if run is not None:
                run.abandon()

    def wait(self, timeout: float) -> bool:
        """Wait until those that are open now have ended.

        Args:
            timeout: Seconds to wait at most.

        Returns:
            False if there was not time enough.
        """
        waited_for, deadline = self._runs.copy(), time.monotonic() + timeout
        while not (ended := self._runs.isdisjoint(waited_for)) and time.monotonic() < deadline:
            time.sleep(_POLL_SECONDS)
        return ended
