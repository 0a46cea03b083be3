"""The open runs of a process."""

from __future__ import annotations

import time
import weakref
from typing import Protocol

from .._diagnostics import Diagnostics
from ..delivery import forks


class OpenRun(Protocol):
    """A run that is open."""

    had_stray_calls: bool

    def abandon(self) -> None:
        """End a run whose output was not consumed to its end."""


_POLL_SECONDS = 0.005


class OpenRuns:
    """The open runs of one application, which it does not keep alive. Thread-safe.

    Args:
        diagnostics: Receives provider calls that belong to no run.
    """

    def __init__(self, diagnostics: Diagnostics) -> None:
        self._diagnostics = diagnostics
        self._runs: set[weakref.ref[OpenRun]] = set()
        self._forks = forks.count
        _all.add(self)

    def add(self, run: OpenRun) -> None:
        """Add a run that was opened."""
        if self._forks != forks.count:  # the runs of the parent process are not ours
            self._forks, self._runs = forks.count, set()
        self._runs.add(weakref.ref(run, self._runs.discard))

    def discard(self, run: OpenRun) -> None:
        """Remove a run that was reported."""
        self._runs.discard(weakref.ref(run))

    def abandon(self) -> None:
        """End all runs, because the process ends."""
        for run in self._alive():
            run.abandon()

    def _alive(self) -> list[OpenRun]:
        if self._forks != forks.count:
            return []
        return [run for reference in self._runs.copy() if (run := reference()) is not None]

    def wait(self, timeout: float) -> bool:
        """Wait until the runs that are open now have ended.

        Args:
            timeout: The longest time to wait, in seconds.

        Returns:
            False if the time was not sufficient.
        """
        if self._forks != forks.count:
            return True
        waited_for, deadline = self._runs.copy(), time.monotonic() + timeout
        while not (ended := self._runs.isdisjoint(waited_for)) and time.monotonic() < deadline:
            time.sleep(_POLL_SECONDS)
        return ended

    def _note_stray_call(self) -> None:
        runs = self._alive()
        for run in runs:
            run.had_stray_calls = True
        if runs:
            self._diagnostics.note(
                "call_outside_run",
                "client",
                "A model was called outside of any run while runs were open, for example on a thread without the "
                "context of its run; the tokens of these runs are unknown. Pass the run to the thread: "
                "executor.submit(run.bind(function), …).",
            )


def note_stray_call() -> None:
    """Note, in every open run of the process, a provider call that belongs to no run."""
    for application in tuple(_all):
        application._note_stray_call()


_all: weakref.WeakSet[OpenRuns] = weakref.WeakSet()
