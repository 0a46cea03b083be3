"""The texts of a run, which its judges and some sinks read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ldai.providers.types import JudgeResult

from ..judges import Evaluation
from ..records import RunRecord, RunTexts
from .matching import CountedCall
from .scores import Destination
from .state import RunState


def evaluations_of(run: RunState, record: RunRecord, calls: Sequence[CountedCall]) -> list[Evaluation]:
    """Return the evaluations for the judges of a run; none unless the run was a success."""
    judges = [key for key in run.judge_keys if not run.scores.given_by(key)]
    if not judges or not record.enabled or record.outcome != "success":
        return []
    services = run.services
    with services.diagnostics.guard("judge_text", run.config_key):
        question, answer = _question(run), "\n\n".join(_completions_of(run, calls))
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


def texts_of(run: RunState, calls: Sequence[CountedCall]) -> RunTexts:
    """Return what the model was given last, and everything that it answered."""
    return RunTexts(prompt=tuple(_prompt_of(run)), completions=tuple(_completions_of(run, calls)))


def _prompt_of(run: RunState) -> list[tuple[str, str]]:
    """Return the role and the text of the messages of the last request; empty if they are not known."""
    return run.ledger.turns_of_last_request() or _turns_of(run.prompt or ())


def _completions_of(run: RunState, calls: Sequence[CountedCall]) -> list[str]:
    """Return the text of each provider call; without one, the text of the handler's output."""
    texts = [call.reading.text for call in calls] if calls else [run.output.text()]
    return [text for text in texts if text]


def _turns_of(messages: Iterable[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """Return the role and the text of each message of an AI Config."""
    return [(str(message["role"]), str(message["content"])) for message in messages]
