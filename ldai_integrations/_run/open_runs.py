"""The open runs of an application, and provider calls that belong to none of them."""

from __future__ import annotations

import os
import time
import weakref
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

from ldclient import Context

from .._diagnostics import Diagnostics
from .._locks import forks
from .ledger import refer_to

_POLL_SECONDS = 0.005
# How many calls outside of any run a run remembers: their responses may still be given to run.observe.
_MOST_OUTSIDE = 64
# What the last of these calls returned, as far as it supports weak references.
_returned: deque[Callable[[], object]] = deque(maxlen=_MOST_OUTSIDE)


class CallOutside:
    """A provider call that belongs to no run: it may have been one of a run that was open."""

    #: Whether the application gave its response to a run.
    is_observed: bool = False
    #: Whether it was made after the end of a run, by code that had begun there.
    is_late: bool = False
    _response: Callable[[], object] | None = None

    def remember(self, response: object) -> None:
        """Remember what the call returned; it is not kept alive if it supports weak references."""
        self._response = refer_to(response)
        with suppress(TypeError):
            _returned.append(weakref.ref(response))

    def returned(self, response: object) -> bool:
        """Return whether the call returned this very object."""
        return self._response is not None and self._response() is response


class CallsOutside:
    """The provider calls that belong to no run and may be those of one run. Thread-safe."""

    __slots__ = ("_calls", "_has_forgotten", "_has_forgotten_late")

    def __init__(self) -> None:
        self._calls: list[CallOutside] = []
        # Whether a call was forgotten that nobody had observed, and that nobody can observe any more; and a late one.
        self._has_forgotten = self._has_forgotten_late = False

    def add(self, call: CallOutside) -> None:
        """Add a call; forget the oldest one if there are many."""
        self._calls.append(call)
        if len(self._calls) > _MOST_OUTSIDE:
            oldest = self._calls.pop(0)
            self._has_forgotten |= not (oldest.is_observed or oldest.is_late)
            self._has_forgotten_late |= oldest.is_late and not oldest.is_observed

    def observe(self, response: object) -> bool:
        """Note that the application gives a response to the run; return whether one of the calls returned it."""
        for call in tuple(self._calls):
            if call.returned(response):
                call.is_observed = True
                return True
        return False

    @property
    def has_unobserved(self) -> bool:
        """Whether the run does not know the response of a call that is not late.

        A late call usually belongs to the run that has ended.
        """
        return self._has_forgotten or any(not (call.is_observed or call.is_late) for call in tuple(self._calls))

    @property
    def may_lack_tokens(self) -> bool:
        """Whether the run does not know the response of a call, late or not, so that its tokens may be missing."""
        has_forgotten = self._has_forgotten or self._has_forgotten_late
        return has_forgotten or any(not call.is_observed for call in tuple(self._calls))


class OpenRun(Protocol):
    """A run that is open, for the modules that :class:`~ldai_integrations._run.state.RunState` imports itself."""

    config_key: str
    finished: bool
    counts_without_call: bool
    calls_outside: CallsOutside

    @property
    def parent(self) -> OpenRun | None:
        """The run around it."""

    @property
    def is_in_background(self) -> bool:
        """Whether another thread or task than this one is in the handler or the block of the run."""

    @property
    def ld_context(self) -> Context:
        """The LD context that the AI Config is evaluated for."""

    @property
    def feedback_token(self) -> str:
        """The token for a vote; empty if there is nothing to vote on."""

    def abandon(self) -> None:
        """End a run whose output was not consumed to its end."""


class OpenRuns:
    """The open runs of one application, which it does not keep alive. Thread-safe.

    Args:
        diagnostics: Receives calls that nobody counts.

    Attributes:
        tracks_requests: Whether a middleware has opened a run. Each call of a model should then be made in a run.
    """

    tracks_requests: bool = False

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
        for run in self.alive():
            run.abandon()

    def end_inherited(self) -> None:
        """End the runs of the parent process, without a report."""
        for reference in self._runs.copy():
            run = reference()
            if run is not None:
                run.finished = True

    def alive(self) -> list[OpenRun]:
        """Return the runs that are open."""
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

    def note_missed(self) -> None:
        """Note a provider call while no run is open, which may have been made for an earlier request."""
        if self.tracks_requests:
            self._diagnostics.note(
                "call_outside_run",
                "middleware",
                "A model was called outside of any run, although a middleware tracks the requests, for example on a "
                "thread that works on after its request; the call is not counted. Open a run of its own there: with "
                "track_ai(config_key=…). Pass the run to a thread that its request waits for: "
                "executor.submit(run.bind(function), …).",
            )


def open_runs() -> list[OpenRun]:
    """Return the open runs of all applications of the process."""
    return [run for application in tuple(_all) for run in application.alive()]


def are_tracked() -> bool:
    """Return whether an application of the process tracks runs."""
    return bool(_all)


def was_returned_outside(response: object) -> bool:
    """Return whether a call that belongs to no run, and that was noted, returned this very object."""
    return any(refer() is response for refer in tuple(_returned))


def note_in_open_runs(call: CallOutside) -> None:
    """Note a provider call that belongs to no run in every open run of the process."""
    runs = open_runs()
    for run in runs:
        run.calls_outside.add(call)
    if not runs and not call.is_late:
        for application in tuple(_all):
            application.note_missed()


def _forked() -> None:
    """End the runs of the parent process in a child, which reports none of them."""
    for application in tuple(_all):
        application.end_inherited()


_all: weakref.WeakSet[OpenRuns] = weakref.WeakSet()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
