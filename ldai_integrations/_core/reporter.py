"""From a finished run to everybody who is told of it: sinks, receivers, judges."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .. import signals
from .account import account_for
from .outlets import Outlets
from .scoring import Destination, drop, evaluations_of

if TYPE_CHECKING:
    from ..typing import Sink
    from .run import Run
    from .tracking import Tracking


class Reporter:
    """Account for finished runs and hand their records out, each in whatever thread asks for it.

    Args:
        tracking: Whose runs they are.
        sinks: LaunchDarkly's, and those of the application.
    """

    def __init__(self, tracking: Tracking, sinks: tuple[Sink, ...]) -> None:
        self._tracking = tracking
        self._diagnostics = tracking.diagnostics
        self._outlets = Outlets(sinks, tracking.diagnostics)
        #: Runs that were reported.
        self.runs = 0

    def opened(self, run: Run) -> None:
        """Tell that a run has opened."""
        run.emitters = self._outlets.opened(run.config_key)
        if signals.run_opened.receivers:
            with self._diagnostics.guard("receiver of run_opened", run.config_key):
                signals.run_opened.send(run.config_key, run=run)

    def can_wait(self, run: Run) -> bool:
        """Tell whether a finished run may be reported later, on another thread.

        Receivers and sinks of the application's are told at once, where the run ended, unless there is much to count.
        """
        with self._diagnostics.guard("account", run.config_key):  # the application's own values may raise here
            if (signals.run_finished.receivers or self._outlets.are_own) and not run.evidence.is_long:
                return False
            if run.evidence.may_be_discarded:
                return run.resolved
            return run.config is not None  # which asks the application, while its request is there, for whom
        return False

    def report(self, run: Run, ended_at: float) -> None:
        """Account for a run and tell of it; takes as long as the handler's own calls of LaunchDarkly's SDK would."""
        try:
            record = account_for(run, ended_at)
        except Exception as exc:
            self._diagnostics.failed("account", run.config_key, exc)
            return
        evaluations = evaluations_of(run, record) if run.judged_by else []
        run.evidence.release()
        reported = record.enabled and record.outcome != "discarded"
        if reported:
            self.runs += 1  # nothing switches threads within this statement
            self._outlets.emit(record, run.emitters)
        if signals.run_finished.receivers:
            with self._diagnostics.guard("receiver of run_finished", run.config_key):
                signals.run_finished.send(run.config_key, record=record)
        with self._diagnostics.guard("judge", run.config_key):
            run.scores.open(Destination(self._tracking, record).send if reported else drop)
            for evaluation in evaluations:
                self._tracking.judges.judge(evaluation)
