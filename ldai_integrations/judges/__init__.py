"""Scores of runs, given after the response: by LaunchDarkly's judges, or by the application itself."""

from __future__ import annotations

from ..settings import JudgeSettings
from ._judges import Evaluation, Judges, own_score
from ._models import problem_with_metric, problem_with_score

__all__ = ["Evaluation", "JudgeSettings", "Judges", "own_score", "problem_with_metric", "problem_with_score"]
