"""How the model of a judge is asked: a callable of the application's, or the AI SDK's provider packages."""

from __future__ import annotations

import asyncio
import inspect
import json
import threading
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future
from contextvars import copy_context
from typing import Any

from ldai.models import AIJudgeConfig
from ldai.providers import Runner, RunnerFactory
from ldai.providers.types import LDAIMetrics, RunnerResult

from ..typing import JudgeModel
from ._scores import INSTRUCTION, NoScoreError

# Each holds a client with connections; a judge has one unless its prompt differs from request to request.
_MOST_RUNNERS = 32


class Models:
    """Give what asks a judge's model; lives as long as the event loop that its clients are bound to."""

    def __init__(self, model: JudgeModel | None) -> None:
        self._model = model
        self._runners: OrderedDict[str, Runner] = OrderedDict()
        self._missing: set[str] = set()

    def runner(self, config: AIJudgeConfig) -> Runner:
        """Return a runner of the AI SDK for a judge.

        Raises:
            NoScoreError: If no provider package can ask its model.
        """
        if self._model is not None:
            return _CalledModel(self._model, config)
        key = json.dumps(config.to_dict(), sort_keys=True, default=str)
        runner = self._runners.pop(key, None) or self._from_package(config)
        self._runners[key] = runner
        if len(self._runners) > _MOST_RUNNERS:
            self._runners.popitem(last=False)
        return runner

    def forget(self) -> None:
        """Let go of clients, on their event loop, where they close themselves."""
        self._runners.clear()

    def _from_package(self, config: AIJudgeConfig) -> Runner:
        provider = config.provider.name if config.provider else ""
        runner = None
        if provider not in self._missing:  # the AI SDK logs three warnings each time
            runner = RunnerFactory.create_model(config, multi_turn=False)
        if runner is None:
            self._missing.add(provider)
            raise NoScoreError(
                "judge_unavailable",
                f"no provider package can ask the models of {provider!r}; install launchdarkly-server-sdk-ai-openai "
                "or launchdarkly-server-sdk-ai-langchain and set its API key, or give JudgeSettings(model=…)",
            )
        return runner


class _CalledModel:
    """A callable in the form of the AI SDK's runners."""

    def __init__(self, model: JudgeModel, config: AIJudgeConfig) -> None:
        self._model = model
        self._config = config

    async def run(self, input: str, output_type: dict[str, Any] | None = None) -> RunnerResult:  # noqa: A002, ARG002  # the SDK's own names
        messages = [message.to_dict() for message in self._config.messages or ()]
        messages.append({"role": "user", "content": f"{input}\n\n{INSTRUCTION}"})
        answer = await called(lambda: self._model(messages, self._config), is_async=is_async(self._model))
        metrics = LDAIMetrics(success=True)
        if isinstance(answer, str):
            return RunnerResult(content=answer, metrics=metrics)
        return RunnerResult(content="", metrics=metrics, parsed=answer)


def is_async(call: Callable[..., Any]) -> bool:
    """Tell whether calling returns at once, with something to await."""
    return inspect.iscoroutinefunction(call) or inspect.iscoroutinefunction(getattr(call, "__call__", None))  # noqa: B004  # the method itself is asked


async def called(call: Callable[[], Any], *, is_async: bool) -> Any:
    """Call what we were given: coroutine functions here, others on a thread of their own."""
    try:
        result = call() if is_async else await _on_thread(call)
        return await result if inspect.isawaitable(result) else result
    except (SystemExit, KeyboardInterrupt) as exc:  # would end the event loop
        raise NoScoreError(
            "judge_raised", f"its callable raised {type(exc).__name__}; let it raise an Exception"
        ) from None


async def _on_thread(call: Callable[[], Any]) -> Any:
    """Call on a daemon thread, because those of an executor keep a process from ending while one hangs."""
    future: Future[Any] = Future()
    context = copy_context()

    def work() -> None:
        try:
            future.set_result(context.run(call))
        except BaseException as exc:
            future.set_exception(exc)

    threading.Thread(target=work, name="ldai-judge", daemon=True).start()
    wrapped = asyncio.wrap_future(future)
    try:
        return await asyncio.shield(wrapped)
    except asyncio.CancelledError:
        await asyncio.wait({wrapped})  # a thread cannot be stopped: its place is taken until it is done
        raise
