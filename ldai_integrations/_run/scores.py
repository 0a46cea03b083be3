"""The scores of a run: those of its judges and of the application."""

from __future__ import annotations

import contextvars
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from ldai.providers.types import JudgeResult

from ..judges import own_score, problem_with_metric, problem_with_score
from ..records import RunRecord
from ..typing import RunCompanion, Score
from .context import RequestScope, Services, bind


@dataclass(slots=True, eq=False)
class Scores:
    """The scores of one run. Thread-safe.

    Scores that the application gives are kept until the run is over. No score is sent twice.
    """

    _claimed: set[tuple[str, str]] = field(default_factory=set)
    _held: list[tuple[str, Score]] = field(default_factory=list)
    _send: Callable[[str, Score], None] | None = None

    def claim(self, judge_key: str, metric_key: str) -> bool:
        """Return whether this is the first score of a judge, or of the application itself, under a metric."""
        before = len(self._claimed)
        self._claimed.add((judge_key, metric_key))
        return len(self._claimed) > before

    def given_by(self, judge_key: str) -> bool:
        """Return whether the application has asked a judge itself."""
        return any(judge_key == key for key, _metric in self._claimed)

    def add(self, metric_key: str, score: Score) -> str | None:
        """Take a score of the application: it is sent when the run is over, or at once if it is.

        Returns:
            What is wrong with it; ``None`` if it was taken.
        """
        problem = problem_with_metric(metric_key)
        if problem is None and not callable(score):
            problem = problem_with_score(score)
            problem = None if problem is None else f"the score {problem}"
        if problem is None and not self.claim("", metric_key):
            problem = f"the run has a score for {metric_key!r} already, and a run has one score per metric"
        if problem is None:
            self._held.append((metric_key, score))
            self._hand_over()
        return problem

    def open(self, send: Callable[[str, Score], None]) -> None:
        """Send the kept scores, and all that follow, with ``send``."""
        self._send = send
        self._hand_over()

    def _hand_over(self) -> None:
        while self._send is not None and self._held:
            try:
                held = self._held.pop(0)
            except IndexError:  # another thread was faster
                return
            self._send(*held)


class Destination:
    """The destination of the scores of a reported run. Of the request, it keeps only the LD context."""

    __slots__ = ("_companions", "_config_key", "_ld_context", "_services", "_tracker")

    def __init__(self, services: Services, companions: Iterable[RunCompanion], record: RunRecord) -> None:
        self._services = services
        self._companions = tuple(companions)
        self._config_key = record.config_key
        self._ld_context = record.ld_context
        self._tracker = record.tracker

    def send(self, metric_key: str, score: Score) -> None:
        """Send a score of the application. A function is called outside of the request first."""
        if callable(score):
            self._services.judges.score(metric_key, score, self.contextvars(), self.track)
        else:
            self.track(own_score(metric_key, score))

    def track(self, result: JudgeResult) -> None:
        """Send a score for the run."""
        with self._services.diagnostics.guard("score", self._config_key):
            self._tracker.track_judge_result(result)
        for companion in self._companions:
            with self._services.diagnostics.guard("score", self._config_key):
                companion.score(result.metric_key or "", result.score or 0.0, result.judge_config_key)

    def contextvars(self) -> contextvars.Context:
        """Return the context of a judge: it knows the LD context of the request, and its own runs are not judged.

        What sinks had made current in the run is current there.
        """
        ld_context = self._ld_context
        scope = RequestScope(self._services, ld_context_from=lambda _request: ld_context)
        scope.is_judging = True
        context = contextvars.Context()
        context.run(bind, scope)
        for companion in self._companions:
            with self._services.diagnostics.guard("judge", self._config_key):
                context.run(companion.binding().enter)
        return context


def drop(_metric_key: str, _score: Score) -> None:
    """Ignore a score of a run that is not reported."""
