"""Scores of a run: what its judges are asked when it is over, and what the application says of it itself."""

from __future__ import annotations

import contextvars
from collections.abc import Callable
from typing import TYPE_CHECKING

from ..judges import Evaluation, own_score, problem_with_metric, problem_with_score
from .current import Frame, bind

if TYPE_CHECKING:
    from ldai.providers.types import JudgeResult

    from ..records import RunRecord
    from ..typing import Score
    from .run import Run
    from .tracking import Tracking


class Scores:
    """Hold the application's own scores of one run until it is over, and see that none is sent twice; thread-safe."""

    __slots__ = ("_claimed", "_held", "_send")

    def __init__(self) -> None:
        self._claimed: set[tuple[str, str]] = set()
        self._held: list[tuple[str, Score]] = []
        self._send: Callable[[str, Score], None] | None = None

    def claim(self, judge_key: str, metric_key: str) -> bool:
        """Return whether this is the first score of a judge, or of the application itself, under a metric."""
        before = len(self._claimed)
        self._claimed.add((judge_key, metric_key))
        return len(self._claimed) > before

    def given_by(self, judge_key: str) -> bool:
        """Tell whether the application has asked a judge itself."""
        return any(judge_key == key for key, _metric in self._claimed)

    def hold(self, metric_key: str, score: Score) -> None:
        """Take a score: for later, or to be sent at once if the run is over."""
        self._held.append((metric_key, score))
        self._hand_over()

    def open(self, send: Callable[[str, Score], None]) -> None:
        """Have what is held, and all that follows, sent by ``send``."""
        self._send = send
        self._hand_over()

    def _hand_over(self) -> None:
        while self._send is not None and self._held:
            try:
                held = self._held.pop(0)
            except IndexError:  # another thread was faster
                return
            self._send(*held)


def score_run(run: Run, metric_key: str, score: Score) -> None:
    """Take a score that the application gives a run; one that cannot be is counted."""
    problem = problem_with_metric(metric_key)
    if problem is None and not callable(score):
        problem = problem_with_score(score)
        problem = None if problem is None else f"the score {problem}"
    if problem is None and not run.scores.claim("", metric_key):
        problem = f"the run has a score for {metric_key!r} already, and a run has one score per metric"
    if problem is None:
        run.scores.hold(metric_key, score)
        return
    run.frame.tracking.diagnostics.note(
        "evaluate", run.config_key, "A score for a run of %r was not taken: %s.", run.config_key, problem
    )


class Destination:
    """Where the scores of one run go when it is over; holds nothing of the request but its LaunchDarkly context."""

    __slots__ = ("_config_key", "_ld_context", "_tracker", "_tracking")

    def __init__(self, tracking: Tracking, record: RunRecord) -> None:
        self._tracking = tracking
        self._config_key = record.config_key
        self._ld_context = record.ld_context
        self._tracker = record.tracker

    def send(self, metric_key: str, score: Score) -> None:
        """Track a score of the application's own, or have it computed off the request."""
        if callable(score):
            self._tracking.judges.score(metric_key, score, self.contextvars(), self.track)
        else:
            self.track(own_score(metric_key, score))

    def track(self, result: JudgeResult) -> None:
        """Send a score on the run."""
        with self._tracking.diagnostics.guard("score", self._config_key):
            self._tracker.track_judge_result(result)

    def contextvars(self) -> contextvars.Context:
        """Return what a judge sees: of the request its LaunchDarkly context only, and runs that nobody judges."""
        ld_context = self._ld_context
        frame = Frame(self._tracking, ld_context_from=lambda _request: ld_context)
        frame.judging = True
        seen = contextvars.Context()
        seen.run(bind, frame)
        return seen


def evaluations_of(run: Run, record: RunRecord) -> list[Evaluation]:
    """Return what the drawn judges of a run are to be asked: nothing unless it was served, and ended in success."""
    judges = [key for key in run.judged_by if not run.scores.given_by(key)]
    if not judges or not record.enabled or record.outcome != "success":
        return []
    diagnostics = run.frame.tracking.diagnostics
    with diagnostics.guard("judge_text", run.config_key):
        asked, answered = _asked(run), run.evidence.answered()
        problem = _problem_with_texts(asked, answered, run.frame.tracking.judges.max_chars)
        if problem is None:
            return [_evaluation(run, record, key, asked, answered) for key in judges]
        diagnostics.note(
            "judge_text", f"{run.config_key}: {problem}", "A run of %r is not judged: %s.", run.config_key, problem
        )
    return []


def _asked(run: Run) -> str:
    """Return the messages that the model was given, one a line; empty where nobody told what the user asked."""
    asked = run.evidence.calls.last_asked()
    if asked:
        return asked
    messages = run.evidence.prompt
    if messages is None:
        messages = run.configured_messages()
        if not run.variables and all(message["role"] == "system" for message in messages):
            return ""
    return "\n".join(f"{message['role']}: {message['content']}" for message in messages)


def _problem_with_texts(asked: str, answered: str, max_chars: int) -> str | None:
    if not asked:
        return "what the user asked is not known; call the model through wrap_client, or with run.messages(user=…)"
    if not answered.strip():
        return "its answer has no text that can be read; give the response to run.observe()"
    if len(asked) + len(answered) > max_chars:
        return "its texts are longer than JudgeSettings.max_chars"
    return None


def _evaluation(run: Run, record: RunRecord, judge_key: str, asked: str, answered: str) -> Evaluation:
    destination, scores = Destination(run.frame.tracking, record), run.scores

    def track_once(result: JudgeResult) -> None:
        if scores.claim(judge_key, result.metric_key or ""):
            destination.track(result)

    return Evaluation(
        judge_key=judge_key,
        ld_context=run.ld_context,
        variables=run.variables,
        asked=asked,
        answered=answered,
        contextvars=destination.contextvars(),
        track=track_once,
    )


def drop(_metric_key: str, _score: Score) -> None:
    """Leave out a score of a run that is not reported."""
