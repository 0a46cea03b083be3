"""What judges are told, and what counts as a score."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Any

# The form of ldai.judge.evaluation_schema_builder, which the provider packages make structured output of.
SCHEMA: dict[str, Any] = {
    "title": "EvaluationResponse",
    "description": "Response containing an evaluation (score and reasoning).",
    "type": "object",
    "properties": {
        "score": {"type": "number", "minimum": 0, "maximum": 1, "description": "Score between 0.0 and 1.0."},
        "reasoning": {"type": "string", "description": "Reasoning behind the score."},
    },
    "required": ["score", "reasoning"],
    "additionalProperties": False,
}
#: For models that are not bound to the schema.
INSTRUCTION = 'Answer with JSON only: {"score": a number from 0.0 to 1.0, "reasoning": "one sentence"}'

_JUDGES_METRICS = "$ld:ai:judge:"
_LAUNCHDARKLYS_EVENTS = "$ld:"
_FENCED = re.compile(r"\s*```\w*\s*(.*?)\s*```\s*", re.DOTALL)


class NoScoreError(Exception):
    """Say why an evaluation came to no score, without a word of what was judged or answered.

    Args:
        kind: The kind of trouble, as ``Tracking.stats()`` counts it.
        reason: What happened and what to do, as a clause.
    """

    def __init__(self, kind: str, reason: str) -> None:
        super().__init__(reason)
        self.kind = kind


def evaluation_input(asked: str, answered: str) -> str:
    """Put what is judged as the AI SDK does (``ldai.judge.Judge``), so that judges see what they were written for."""
    return f"MESSAGE HISTORY:\n{asked}\n\nRESPONSE TO EVALUATE:\n{answered}"


def score_in(answer: Any) -> float:
    """Find the score in a judge's answer.

    Args:
        answer: A mapping with ``score``, or JSON text of one, which may stand in a code fence.

    Raises:
        NoScoreError: If there is none from 0 to 1.
    """
    said = _parsed(answer) if isinstance(answer, str) else answer
    if not isinstance(said, Mapping):
        raise NoScoreError(
            "judge_answer", "its model did not answer with a JSON object; see which model the judge uses"
        )
    problem = problem_with_score(said.get("score"))
    if problem is not None:
        raise NoScoreError("judge_answer", f"its model's score {problem}")
    return float(said["score"])


def problem_with_score(score: object) -> str | None:
    """Say why a value is not a score, or return ``None``."""
    if not isinstance(score, (int, float)) or isinstance(score, bool):
        return f"is of type {type(score).__name__}; it has to be a number from 0 to 1"
    if not math.isfinite(score) or not 0 <= score <= 1:
        return "is not from 0 to 1"
    return None


def problem_with_metric(metric_key: object) -> str | None:
    """Say why a value cannot be the key of a score's metric, or return ``None``."""
    if not isinstance(metric_key, str) or not metric_key.strip():
        return f"its metric key is {metric_key!r}; give the event key of a metric in LaunchDarkly"
    if metric_key.startswith(_LAUNCHDARKLYS_EVENTS) and not metric_key.startswith(_JUDGES_METRICS):
        return f"its metric key {metric_key!r} is an event of LaunchDarkly's own; choose another"
    return None


def _parsed(text: str) -> Any:
    fenced = _FENCED.fullmatch(text)
    try:
        return json.loads(fenced[1] if fenced else text)
    except (ValueError, RecursionError):
        return None
