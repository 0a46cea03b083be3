"""The run that the calling code belongs to; outside of any run, one that does nothing."""

from __future__ import annotations

import time
from collections.abc import Mapping
from functools import cache
from typing import Any, cast

from ldai import AICompletionConfig
from ldai.evaluator import Evaluator
from ldai.tracker import LDAIConfigTracker
from ldclient import Context, LDClient

from .._diagnostics import Diagnostics
from ..delivery import forks
from ..settings import Settings
from .context import get_current
from .graph import get_graph
from .lifetime import Start
from .open_runs import note_stray_call
from .options import RunOptions
from .run import Run
from .scope import RequestScope, Services
from .state import RunState


def run_of(state: RunState) -> Run:
    """Return the run as the application sees it; until it is reported, always the same object."""
    run = state.public
    if not isinstance(run, Run):
        run = state.public = Run(state)
    return run


def open_run(
    scope: RequestScope,
    options: RunOptions,
    *,
    variables: Mapping[str, object],
    ld_context: Context | None = None,
    parent: RunState | None = None,
) -> RunState:
    """Open a run in a request scope. The code that opens a run finishes it, at the latest when the scope closes."""
    services = scope.services
    if forks.count:
        services.flushing.ensure_started()
    if ld_context is None and not scope.has_source:
        # Determined now, because random bytes release the interpreter's lock. At the end of a run, another thread could
        # then see a state that is not complete.
        ld_context = scope.ld_context
    run = RunState(scope, options, variables=variables, ld_context=ld_context, parent=parent)
    graph = get_graph()
    if graph is not None:
        run.graph_key, run.report_node = graph.key, graph.enter(run)
    scope.open_runs.add(run)
    scope.had_runs = True
    if scope.vote_token is not None:
        scope.vote_token.consider(run)
    services.reporter.open(run)
    return run


class _Silent:
    """A client that sends nothing."""

    def track(self, *args: object) -> None:
        """Do nothing."""


class _Disabled:
    """AI Configs that are all disabled and have no messages."""

    def resolve(self, *_args: object, **_options: object) -> AICompletionConfig:
        """Return a disabled AI Config."""
        return AICompletionConfig("", enabled=False, create_tracker=_silent_tracker, evaluator=Evaluator.noop())


def _silent_tracker() -> LDAIConfigTracker:
    return LDAIConfigTracker(cast(LDClient, _Silent()), "", "", "", 1, _IDLE_CONTEXT, "", "")


@cache
def _idle_services() -> Services:
    """Return the services of idle runs, which use some of them only."""
    configs: Any = _Disabled()
    ld_client: Any = _Silent()
    nothing: Any = None
    return Services(
        settings=Settings(judges=None, costs=False),
        clock=time.perf_counter,
        diagnostics=Diagnostics(),
        ld_client=ld_client,
        configs=configs,
        judges=nothing,
        feedback=None,
        costs=None,
        flushing=nothing,
        reporter=nothing,
        start=Start(),
    )


def idle_run() -> RunState:
    """Return a run for code outside of any run: it has ended, its AI Config is disabled, and it sends nothing."""
    run = RunState(RequestScope(_idle_services()), _IDLE_OPTIONS, variables={}, ld_context=_IDLE_CONTEXT)
    run.finished = True
    return run


_IDLE_OPTIONS = RunOptions(config_key="(no run)")
_IDLE_CONTEXT = Context.builder("none").anonymous(True).build()


def current_run() -> Run:
    """Return the run that is in progress here; outside of a run, one that does nothing."""
    current = get_current()
    return run_of(current if isinstance(current, RunState) else idle_run())


def note_call_outside(current: RequestScope | RunState | None) -> None:
    """Count a provider call that belongs to no open run.

    Args:
        current: What is bound where the call is made.
    """
    if isinstance(current, RunState):
        current.services.diagnostics.note(
            "call_after_run",
            current.config_key,
            "A model was called after the end of a run of %r, for example in a background task; the call is not "
            "counted. Open a run of its own there: with track_ai(config_key=…).",
            current.config_key,
        )
        return
    if current is not None and not current.open_runs:  # it belongs to this request, and to no other one's run
        if current.had_runs:
            current.services.diagnostics.note(
                "call_after_run",
                "request",
                "A model was called in a request whose runs had ended, for example in a background task; the call is "
                "not counted. Open a run of its own there: with track_ai(config_key=…).",
            )
        return
    note_stray_call()
