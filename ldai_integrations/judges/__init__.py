"""Score runs after the response: LaunchDarkly's judges, and scores of the application's own."""

from __future__ import annotations

from ._judges import Evaluation, Judges, own_score
from ._scores import problem_with_metric, problem_with_score
from ._settings import JudgeSettings

__all__ = ["Evaluation", "JudgeSettings", "Judges", "own_score", "problem_with_metric", "problem_with_score"]
