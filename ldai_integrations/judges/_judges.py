"""Online evaluations: judges are drawn by their sampling rate and asked after the response."""

from __future__ import annotations

import asyncio
import os
import random
import sys
from collections.abc import Callable, Mapping
from contextvars import Context as Contextvars
from dataclasses import dataclass
from functools import partial
from typing import Any

from ldai.models import AIAgentConfig, AICompletionConfig, AIJudgeConfig
from ldai.providers.types import JudgeResult
from ldclient import Context

from .._diagnostics import Diagnostics, describe
from ..settings import JudgeSettings
from ._loop import BoundedLoop, Job
from ._models import (
    SCHEMA,
    Models,
    NoScoreError,
    call_function,
    format_evaluation,
    problem_with_metric,
    problem_with_score,
    read_score,
)

ReadConfig = Callable[[str, Context, Mapping[str, Any]], AIJudgeConfig]
Track = Callable[[JudgeResult], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """A run that one judge evaluates.

    Attributes:
        judge_key: The key of the judge's AI Config.
        ld_context: The LD context of the run, for which the judge's AI Config is evaluated.
        variables: The values of the ``{{variables}}`` in the judge's prompt.
        asked: The question to the model.
        answered: Its answer.
        contextvars: The context variables that a function of the application sees.
        track: Sends the score for the run.
    """

    judge_key: str
    ld_context: Context
    variables: Mapping[str, Any]
    asked: str
    answered: str
    contextvars: Contextvars
    track: Track


class Judges:
    """The evaluations of an application, on our own threads. Thread-safe; a forked child has its own threads.

    A function of the application, such as ``JudgeSettings.model`` or a score, is called there. If it raises, the score
    is missing, which is logged and counted.

    Args:
        settings: The options; ``None`` uses none of LaunchDarkly's judges.
        diagnostics: Where evaluations without a score are noted.
        read_config: Evaluates the AI Config of a judge.
    """

    def __init__(self, settings: JudgeSettings | None, diagnostics: Diagnostics, read_config: ReadConfig) -> None:
        self._asks_judges = settings is not None
        self._settings = settings if settings is not None else JudgeSettings()
        self._diagnostics = diagnostics
        self._read_config = read_config
        self._inherited: list[BoundedLoop] = []
        self._begin()

    @property
    def max_chars(self) -> int:
        """How long the texts of a run may be to be judged, in characters."""
        return self._settings.max_chars

    def draw(self, config: AICompletionConfig | AIAgentConfig) -> tuple[str, ...]:
        """Draw the judges of one run by their sampling rates; return their keys."""
        configuration = config.judge_configuration
        if configuration is None or not self._asks_judges or not config.enabled:
            return ()
        return tuple(judge.key for judge in configuration.judges if self._is_drawn(judge.key, judge.sampling_rate))

    def judge(self, evaluation: Evaluation) -> None:
        """Have a judge score a run, if there is room for it; return at once."""
        self._submit(
            evaluation.judge_key,
            Job(
                work=lambda: self._evaluate(evaluation),
                done=lambda result: None if result is None else evaluation.track(result),
                failed=partial(self._note_failure, evaluation.judge_key),
                context=evaluation.contextvars,
            ),
        )

    def score(self, metric_key: str, score: Callable[[], Any], contextvars: Contextvars, track: Track) -> None:
        """Have a function of the application score a run, if there is room for it; return at once."""

        async def work() -> JudgeResult:
            return own_score(metric_key, await call_function(score))

        failed = partial(self._note_failure, metric_key)
        self._submit(metric_key, Job(work=work, done=track, failed=failed, context=contextvars))

    @property
    def unfinished(self) -> int:
        """How many evaluations are not done."""
        return self._loop.unfinished if self._pid == os.getpid() else 0

    def join(self, timeout: float) -> bool:
        """Wait for the evaluations so far; return False if some are not done after ``timeout`` seconds."""
        return self._pid != os.getpid() or self._loop.join(timeout)

    def close(self) -> None:
        """End the threads. An evaluation that is not done is counted, and may still finish."""
        if self._pid != os.getpid():
            return
        for _ in range(self._loop.end()):
            self._diagnostics.note(
                "judge_unfinished",
                "close",
                "Evaluations were not finished when the Tracking was closed, and their scores may be missing. "
                "Give Tracking.flush() more time before, or judges a shorter timeout.",
            )
        self._begin()

    def _begin(self) -> None:
        settings = self._settings
        self._models = Models(settings.model)
        self._loop = BoundedLoop(
            places=settings.concurrency, queue=settings.queue, seconds=settings.timeout, at_end=self._models.forget
        )
        self._pid = os.getpid()

    def _submit(self, subject: str, job: Job) -> None:
        if self._pid != os.getpid():
            self._inherited.append(self._loop)  # its finalizer would use what belongs to the parent
            self._begin()
        # With gevent's threads, an event loop on our thread would be taken for that of the application.
        monkey: Any = sys.modules.get("gevent.monkey")
        if monkey is not None and monkey.is_module_patched("threading"):
            exc = NoScoreError("judge_unavailable", "gevent has replaced threads; use other workers")
            self._note_failure(subject, exc)
        elif not self._loop.submit(job):
            reason = (
                "too many evaluations wait already; lower the judge's sampling rate, or raise JudgeSettings.concurrency"
            )
            self._note_failure(subject, NoScoreError("judge_shed", reason))

    def _is_drawn(self, judge_key: object, rate: object) -> bool:
        if not isinstance(judge_key, str) or not isinstance(rate, (int, float)):
            exc = NoScoreError("judge_config", "its sampling rate is not a number from 0 to 1")
            self._note_failure(str(judge_key), exc)
            return False
        return random.random() < rate

    async def _evaluate(self, evaluation: Evaluation) -> JudgeResult | None:
        config = self._read_config(evaluation.judge_key, evaluation.ld_context, evaluation.variables)
        if not config.enabled:
            return None
        metric_key = config.evaluation_metric_key or ""
        problem = problem_with_metric(metric_key)
        if problem is not None:
            raise NoScoreError("judge_config", problem)
        runner = self._models.runner(config)
        question = format_evaluation(evaluation.asked, evaluation.answered)
        result = await config.create_tracker().track_metrics_of_async(
            lambda result: result.metrics, lambda: runner.run(question, output_type=SCHEMA)
        )
        if not result.metrics.success and not result.content:
            raise NoScoreError("judge_raised", "the call of its model failed; the AI SDK's log line says how")
        score = read_score(result.content if result.parsed is None else result.parsed)
        return _make_result(metric_key, score, judge_key=evaluation.judge_key)

    def _note_failure(self, subject: str, exc: BaseException) -> None:
        """Count and log an evaluation without a score, never with the text of an exception, which may quote the run."""
        if isinstance(exc, asyncio.TimeoutError):
            exc = NoScoreError(
                "judge_timeout",
                f"it took longer than {self._settings.timeout:g} s; check its model, or raise JudgeSettings.timeout",
            )
        elif not isinstance(exc, NoScoreError):
            exc = NoScoreError("judge_raised", f"{describe(exc)} was raised; fix it there")
        self._diagnostics.note(
            exc.kind, subject, "%r gave no score: %s. The judged request is not affected.", subject, exc
        )


def own_score(metric_key: str, score: object) -> JudgeResult:
    """Return a score of the application in the AI SDK's form.

    Raises:
        NoScoreError: If it is not a number from 0 to 1.
    """
    problem = problem_with_score(score)
    if problem is not None:
        raise NoScoreError("judge_answer", f"the score {problem}")
    return _make_result(metric_key, score, judge_key=None)


def _make_result(metric_key: str, score: Any, *, judge_key: str | None) -> JudgeResult:
    return JudgeResult(
        judge_config_key=judge_key, success=True, sampled=True, metric_key=metric_key, score=float(score)
    )
