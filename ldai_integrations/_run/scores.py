"""Scores of a run, those of its judges and of the application, and the texts that judges and sinks read."""

from __future__ import annotations

import contextvars
from collections.abc import Iterable, Mapping
from typing import Any

from ldai.providers.types import JudgeResult

from ..judges import Evaluation, own_score, problem_with_metric, problem_with_score
from ..records import RunRecord, RunTexts
from ..typing import RunCompanion, Score
from .context import bind
from .scope import RequestScope, Services
from .state import RunState


def score_run(run: RunState, metric_key: str, score: Score) -> None:
    """Take a score that the application gives a run; something that cannot be a score is logged and counted."""
    problem = problem_with_metric(metric_key)
    if problem is None and not callable(score):
        problem = problem_with_score(score)
        problem = None if problem is None else f"the score {problem}"
    if problem is None and not run.scores.claim("", metric_key):
        problem = f"the run has a score for {metric_key!r} already, and a run has one score per metric"
    if problem is None:
        run.scores.hold(metric_key, score)
        return
    run.services.diagnostics.note(
        "evaluate", run.config_key, "A score for a run of %r was not recorded: %s.", run.config_key, problem
    )


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


def evaluations_of(run: RunState, record: RunRecord) -> list[Evaluation]:
    """Return the evaluations for the judges of a run; none unless the run was a success."""
    judges = [key for key in run.judge_keys if not run.scores.given_by(key)]
    if not judges or not record.enabled or record.outcome != "success":
        return []
    services = run.services
    with services.diagnostics.guard("judge_text", run.config_key):
        question, answer = _question(run), "\n\n".join(_completions_of(run))
        problem = _problem_with_texts(question, answer, services.judges.max_chars)
        if problem is None:
            return [_evaluation(run, record, key, question, answer) for key in judges]
        services.diagnostics.note(
            "judge_text", f"{run.config_key}: {problem}", "A run of %r is not judged: %s.", run.config_key, problem
        )
    return []


def _question(run: RunState) -> str:
    """Return the messages that the model was given, one per line; empty if it is not known what the user asked."""
    turns = _prompt_of(run)
    if not turns:
        turns = _turns_of(run.configured_messages())
        if not run.variables and all(role == "system" for role, _text in turns):
            return ""
    return "\n".join(f"{role}: {text}" for role, text in turns)


def _problem_with_texts(question: str, answer: str, max_chars: int) -> str | None:
    if not question:
        return "what the user asked is not known; call the model through wrap_client, or with run.messages(user=…)"
    if not answer.strip():
        return "its answer has no text that can be read; give the response to run.observe()"
    if len(question) + len(answer) > max_chars:
        return "its texts are longer than JudgeSettings.max_chars"
    return None


def _evaluation(run: RunState, record: RunRecord, judge_key: str, question: str, answer: str) -> Evaluation:
    destination, scores = Destination(run.services, run.companions.values(), record), run.scores

    def track_once(result: JudgeResult) -> None:
        if scores.claim(judge_key, result.metric_key or ""):
            destination.track(result)

    return Evaluation(
        judge_key=judge_key,
        ld_context=run.ld_context,
        variables=run.variables,
        asked=question,
        answered=answer,
        contextvars=destination.contextvars(),
        track=track_once,
    )


def texts_of(run: RunState) -> RunTexts:
    """Return what the model was given last, and everything that it answered."""
    return RunTexts(prompt=tuple(_prompt_of(run)), completions=tuple(_completions_of(run)))


def _prompt_of(run: RunState) -> list[tuple[str, str]]:
    """Return the role and the text of the messages of the last request; empty if they are not known."""
    return run.ledger.turns_of_last_request() or _turns_of(run.prompt or ())


def _completions_of(run: RunState) -> list[str]:
    """Return the text of each provider call; without one, the text of the handler's output."""
    calls = run.counted_calls()
    texts = [call.reading.text for call in calls] if calls else [run.output.text()]
    return [text for text in texts if text]


def _turns_of(messages: Iterable[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """Return the role and the text of each message of an AI Config."""
    return [(str(message["role"]), str(message["content"])) for message in messages]
