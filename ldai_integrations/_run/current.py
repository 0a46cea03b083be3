"""The run that the calling code belongs to; outside of any run, one that does nothing."""

from __future__ import annotations

import time
from collections.abc import Mapping
from functools import cache, partial
from typing import Any

from ldai import AICompletionConfig
from ldai.evaluator import Evaluator
from ldai.tracker import LDAIConfigTracker
from ldclient import Context

from .._diagnostics import Diagnostics
from .._launchdarkly.configs import AIConfig
from ..settings import Settings
from ..typing import Score
from .context import RequestScope, Services, get_current
from .open_runs import note_stray_call
from .options import RunOptions
from .run import Run


class IdleRun(Run):
    """A run for code outside of any run. Its methods can be called and do nothing.

    ``config.enabled`` is False and ``finished`` is True.
    """

    def __init__(self) -> None:
        super().__init__(RequestScope(_idle_services()), _IDLE_OPTIONS, variables={}, ld_context=_IDLE_CONTEXT)
        self.finished = True

    @property
    def served(self) -> AIConfig:
        """A disabled AI Config without messages."""
        tracker = partial(LDAIConfigTracker, _Silent(), "", "", "", 1, _IDLE_CONTEXT, "", "")  # type: ignore[arg-type]  # only track() is called
        return AICompletionConfig("", enabled=False, create_tracker=tracker, evaluator=Evaluator.noop())

    @property
    def feedback_token(self) -> str:
        """Empty: there is nothing to vote on."""
        return ""

    def evaluate(self, metric_key: str, score: Score) -> None:
        """Do nothing."""

    def track(self, metric_key: str, value: float | None = None, data: Mapping[str, Any] | None = None) -> None:
        """Do nothing."""


class _Silent:
    """A client that sends nothing."""

    def track(self, *args: object) -> None:
        """Do nothing."""


@cache
def _idle_services() -> Services:
    """Return the services of idle runs, which use the clock and the diagnostics only."""
    nothing: Any = None
    return Services(
        settings=Settings(judges=None, costs=False),
        clock=time.perf_counter,
        diagnostics=Diagnostics(),
        ld_client=nothing,
        configs=nothing,
        judges=nothing,
        feedback=None,
        costs=None,
        flushing=nothing,
        reporter=nothing,
    )


_IDLE_OPTIONS = RunOptions(config_key="(no run)")
_IDLE_CONTEXT = Context.builder("none").anonymous(True).build()


def current_run() -> Run:
    """Return the run that is in progress here; outside of a run, one that does nothing."""
    current = get_current()
    return current if isinstance(current, Run) else IdleRun()


def note_call_outside(current: RequestScope | Run | None) -> None:
    """Count a provider call that belongs to no open run.

    Args:
        current: What is bound where the call is made.
    """
    if isinstance(current, Run):
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
