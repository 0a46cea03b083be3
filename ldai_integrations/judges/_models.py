"""The call of a judge's model, by a function of the application or the AI SDK's provider packages, and its score."""

from __future__ import annotations

import asyncio
import inspect
import json
import re
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from contextvars import copy_context
from dataclasses import replace
from typing import Any

from ldai.models import AIJudgeConfig, ModelConfig
from ldai.providers import Runner, RunnerFactory
from ldai.providers.types import LDAIMetrics, RunnerResult

from .._ai_configs import snake_case
from ..typing import JudgeModel

# The form of ldai.judge.evaluation_schema_builder, which the provider packages turn into structured output.
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
# For models that are not bound to the schema.
_INSTRUCTION = 'Answer with JSON only: {"score": a number from 0.0 to 1.0, "reasoning": "one sentence"}'

# LaunchDarkly's own event keys, of which only those of judges may be used for scores.
_OWN_EVENTS, _JUDGE_EVENTS = "$ld:", "$ld:ai:judge:"
_CODE_FENCE = re.compile(r"\s*```\w*\s*(.*?)\s*```\s*", re.DOTALL)

# Each holds a client with connections. A judge has one, unless its prompt differs from request to request.
_MAX_RUNNERS = 32


class NoScoreError(Exception):
    """An evaluation without a score; its text quotes neither the run nor the answer of the judge.

    Args:
        kind: The kind of failure, as ``Tracking.stats()`` counts it.
        reason: What happened and what to do, as a clause.
    """

    def __init__(self, kind: str, reason: str) -> None:
        super().__init__(reason)
        self.kind = kind


class Models:
    """The models of judges. It lives as long as the event loop to which their clients are bound."""

    def __init__(self, model: JudgeModel | None) -> None:
        self._model = model
        self._runners: OrderedDict[str, Runner] = OrderedDict()
        self._unavailable: set[str] = set()

    def runner(self, config: AIJudgeConfig) -> Runner:
        """Return a runner of the AI SDK for a judge.

        Raises:
            NoScoreError: If no provider package can call its model.
        """
        if self._model is not None:
            return _FunctionRunner(self._model, config)
        key = json.dumps(config.to_dict(), sort_keys=True, default=str)
        runner = self._runners.pop(key, None) or self._from_package(config)
        self._runners[key] = runner
        if len(self._runners) > _MAX_RUNNERS:
            self._runners.popitem(last=False)
        return runner

    def forget(self) -> None:
        """Release the clients, on their event loop, where they close themselves."""
        self._runners.clear()

    def _from_package(self, config: AIJudgeConfig) -> Runner:
        provider = config.provider.name if config.provider else ""
        runner = None
        if provider not in self._unavailable:  # the AI SDK logs three warnings each time
            runner = RunnerFactory.create_model(_with_snake_case(config), multi_turn=False)
        if runner is None:
            self._unavailable.add(provider)
            raise NoScoreError(
                "judge_unavailable",
                f"no provider package can call the models of {provider!r}; install launchdarkly-server-sdk-ai-openai "
                "or launchdarkly-server-sdk-ai-langchain and set its API key, or give JudgeSettings(model=…)",
            )
        return runner


def _with_snake_case(config: AIJudgeConfig) -> AIJudgeConfig:
    """Return a judge whose parameters have the names of Python's clients, because the packages do not rename them."""
    if config.model is None:
        return config
    model = config.model.to_dict()
    parameters = {snake_case(name): value for name, value in (model["parameters"] or {}).items()}
    return replace(config, model=ModelConfig(**{**model, "parameters": parameters}))


class _FunctionRunner:
    """A function of the application in the form of the AI SDK's runners."""

    def __init__(self, model: JudgeModel, config: AIJudgeConfig) -> None:
        self._model = model
        self._config = config

    async def run(self, input: str, output_type: dict[str, Any] | None = None) -> RunnerResult:  # noqa: A002, ARG002  # the SDK's own names
        messages = [message.to_dict() for message in self._config.messages or ()]
        messages.append({"role": "user", "content": f"{input}\n\n{_INSTRUCTION}"})
        answer = await call_function(self._model, messages, self._config)
        metrics = LDAIMetrics(success=True)
        if isinstance(answer, str):
            return RunnerResult(content=answer, metrics=metrics)
        return RunnerResult(content="", metrics=metrics, parsed=answer)


async def call_function(function: Callable[..., Any], *args: object) -> Any:
    """Call a function of the application: a coroutine function here, any other on a thread of its own."""
    is_async = inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(type(function).__call__)
    try:
        result = function(*args) if is_async else await _call_on_thread(function, *args)
        return await result if inspect.isawaitable(result) else result
    except (SystemExit, KeyboardInterrupt) as exc:  # it would end the event loop
        raise NoScoreError(
            "judge_raised", f"its callable raised {type(exc).__name__}; let it raise an Exception"
        ) from None


async def _call_on_thread(function: Callable[..., Any], *args: object) -> Any:
    """Call on a daemon thread: the threads of an executor keep the process from ending while one of them hangs."""
    future: Future[Any] = Future()
    context = copy_context()

    def work() -> None:
        try:
            future.set_result(context.run(function, *args))
        except BaseException as exc:
            future.set_exception(exc)

    threading.Thread(target=work, name="ldai-judge", daemon=True).start()
    wrapped = asyncio.wrap_future(future)
    try:
        return await asyncio.shield(wrapped)
    except asyncio.CancelledError:
        await asyncio.wait({wrapped})  # a thread cannot be stopped, and occupies its place until it ends
        raise


def format_evaluation(asked: str, answered: str) -> str:
    """Return the text to judge in the form of the AI SDK (``ldai.judge.Judge``), for which judges were written."""
    return f"MESSAGE HISTORY:\n{asked}\n\nRESPONSE TO EVALUATE:\n{answered}"


def read_score(answer: object) -> float:
    """Return the score in a judge's answer.

    Args:
        answer: A mapping with ``score``, or its JSON text, which may be in a code fence.

    Raises:
        NoScoreError: If there is no score from 0 to 1.
    """
    if isinstance(answer, str):
        fenced = _CODE_FENCE.fullmatch(answer)
        try:
            answer = json.loads(fenced[1] if fenced else answer)
        except (ValueError, RecursionError):
            answer = None
    if not isinstance(answer, Mapping):
        raise NoScoreError(
            "judge_answer", "its model did not answer with a JSON object; see which model the judge uses"
        )
    problem = problem_with_score(answer.get("score"))
    if problem is not None:
        raise NoScoreError("judge_answer", f"its model's score {problem}")
    return float(answer["score"])


def problem_with_score(score: object) -> str | None:
    """Return why a value is not a score, or ``None``."""
    if not isinstance(score, (int, float)) or isinstance(score, bool):
        return f"is of type {type(score).__name__}; it has to be a number from 0 to 1"
    if not 0 <= score <= 1:  # NaN is not, either
        return "is not from 0 to 1"
    return None


def problem_with_metric(metric_key: object) -> str | None:
    """Return why a value cannot be the key of a score's metric, or ``None``."""
    if not isinstance(metric_key, str) or not metric_key.strip():
        return f"its metric key is {metric_key!r}; give the event key of a metric in LaunchDarkly"
    if metric_key.startswith(_OWN_EVENTS) and not metric_key.startswith(_JUDGE_EVENTS):
        return f"its metric key {metric_key!r} is an event of LaunchDarkly's own; choose another"
    return None
