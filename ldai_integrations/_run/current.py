"""The run that the calling code belongs to; outside of any run, one that does nothing."""

from __future__ import annotations

import time
from functools import cache
from typing import Any, TypeVar

from ldclient import Context

from .._diagnostics import Diagnostics
from .._launchdarkly.configs import Configs
from .._options import options_of
from ..settings import Settings
from .context import RequestScope, Services, get_current
from .kinds import may_be_response
from .lifetime import Start
from .open_runs import CallOutside, are_tracked, note_in_open_runs, was_returned_outside
from .options import NO_RUN, RunOptions
from .run import Run, run_of
from .state import RunState, open_run

T = TypeVar("T")

_OF_NO_RUN = RunOptions(config_key=NO_RUN)


class _Silent:
    """A client that serves every default and sends nothing."""

    def variation(self, _key: str, _context: Context, default: object) -> object:
        """Return the default."""
        return default

    def track(self, *args: object) -> None:
        """Do nothing."""

    remember_run = track


@cache
def _idle_services() -> Services:
    """Return the services of idle runs, which use some of them only."""
    client: Any = _Silent()
    nothing: Any = None
    diagnostics = Diagnostics()
    defaults: dict[str, Any] = {name: option.default for name, option in options_of(Settings).items()}
    return Services(
        settings=Settings(**defaults, feedback=None, judges=None, visitors=None),
        clock=time.perf_counter,
        diagnostics=diagnostics,
        ld_client=client,
        configs=Configs(client, diagnostics),
        judges=nothing,
        feedback=None,
        costs=None,
        flushing=nothing,
        reporter=nothing,
        start=Start(),
        is_idle=True,
    )


def idle_scope() -> RequestScope:
    """Return a scope for code without a Tracking: its runs have ended, have their default, and send nothing."""
    return RequestScope(_idle_services())


class _NoRun(Run):
    """The run that code gets outside of any run. It only notes the calls that the application observes there."""

    def observe(self, response: T) -> T:
        """Note a provider call that belongs to no run, unless a wrapped client has noted it; return the response."""
        with self._state.services.diagnostics.guard("observe", self.config_key, is_private=True):
            if are_tracked() and may_be_response(response) and not was_returned_outside(response):
                note_call_outside()
        return response


def current_run() -> Run:
    """Return the run that is in progress here; outside of a run, one that does nothing, with a disabled AI Config."""
    current = get_current()
    if isinstance(current, RunState):
        return run_of(current)
    return _NoRun(open_run(idle_scope(), _OF_NO_RUN, variables={}))


def get_open_run() -> RunState | None:
    """Return the run that is in progress here; ``None`` outside of any run, and after the end of the run."""
    run = get_current()
    return run if isinstance(run, RunState) and not run.finished else None


def note_call_outside() -> CallOutside | None:
    """Note a provider call that is made here, and that belongs to no open run.

    Returns:
        The call; ``None`` if nobody tracks calls here.
    """
    current = get_current()
    if (current is None and not are_tracked()) or (current is not None and current.services.is_idle):
        return None
    if isinstance(current, RunState) and current.finished:
        call = current.note_call_after_end()
        current.calls_outside.add(call)
        return call
    call = CallOutside()
    if current is not None and not current.scope.open_runs:  # it belongs to this request, and to no other one's run
        if current.scope.had_runs:
            current.services.diagnostics.note(
                "call_after_run",
                "request",
                "A model was called in a request whose runs had ended, for example in a background task; the call is "
                "not counted. Open a run of its own there: with track_ai(config_key=…).",
            )
        return call
    note_in_open_runs(call)
    return call
