"""LaunchDarkly's AI client with two private steps replaced, and its tracker with one.

Should a later AI SDK drop or rename them, ours are simply not called any more and its own behaviour is back;
a test watches for that.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Callable
from types import FunctionType, SimpleNamespace
from typing import Any

import ldai.client
from ldai import AIAgentConfig, AICompletionConfig, LDAIClient
from ldai.evaluator import Evaluator
from ldai.models import JudgeConfiguration
from ldai.providers.types import JudgeResult
from ldai.tracker import LDAIConfigTracker
from ldclient import Context, LDClient

from .._diagnostics import Diagnostics
from .templates import render


def _seeing(names: dict[str, Any], func: FunctionType) -> FunctionType:
    """Return a function of the AI SDK's that finds its global names in ``names``."""
    seeing = FunctionType(func.__code__, names, func.__name__, func.__defaults__, func.__closure__)
    seeing.__kwdefaults__ = func.__kwdefaults__
    return seeing


def without_dumps(token: Any) -> Any:
    """Return a property with an encoder of ours in place of ``json.dumps``; anything else comes back as it is."""
    if type(token) is not property or type(token.fget) is not FunctionType:
        return token
    encoder = SimpleNamespace(dumps=json.JSONEncoder().encode)
    return property(_seeing({**token.fget.__globals__, "json": encoder}, token.fget))


class Tracker(LDAIConfigTracker):
    """Be LaunchDarkly's tracker, and leave ``json.dumps`` alone: the host's tests may count its calls.

    The AI SDK writes a token with each tracker; here its own code does so with an encoder of ours.
    """

    resumption_token = without_dumps(vars(LDAIConfigTracker).get("resumption_token"))


_NAMES = {**vars(ldai.client), "LDAIConfigTracker": Tracker}


def make_tracker(config: AICompletionConfig | AIAgentConfig) -> LDAIConfigTracker:
    """Have an AI Config's factory make a :class:`Tracker`; one that is not the AI SDK's makes what it makes."""
    factory: Any = config.create_tracker
    names = vars(ldai.client)
    untouched = names.get("LDAIConfigTracker") is LDAIConfigTracker  # a host's tests may put another there
    if untouched and type(factory) is FunctionType and factory.__globals__ is names:
        factory = _seeing(_NAMES, factory)
    tracker: LDAIConfigTracker = factory()
    return tracker


class AIClient(LDAIClient):
    """Render prompts for models instead of browsers, and build judges only when they judge."""

    def __init__(self, client: LDClient, diagnostics: Diagnostics) -> None:
        super().__init__(client)
        self._diagnostics = diagnostics

    def _LDAIClient__interpolate_template(self, template: str, variables: dict[str, Any]) -> str:  # noqa: N802  # the name that the SDK calls
        """Render without HTML escaping and without reading partials from disk."""
        try:
            return render(template, variables)
        except Exception as exc:
            kind = type(exc).__name__
            self._diagnostics.note(
                "variables",
                kind,
                "A prompt could not be rendered with its variables (%s) and is rendered without them; "
                "give strings, numbers, lists or dicts.",
                kind,
            )
            return render(template, {"ldctx": variables["ldctx"]})

    def _build_evaluator(
        self,
        judge_configuration: JudgeConfiguration | None,
        context: Context,
        default_ai_provider: str | None = None,
        variables: dict[str, Any] | None = None,
    ) -> Evaluator:
        """Return an evaluator that builds a judge when it is to judge: each takes 24 ms, and logs."""
        build = super()._build_evaluator
        judges = judge_configuration.judges if judge_configuration is not None else None
        if not judges:
            return build(None, context)

        def build_one(key: str) -> Evaluator:
            certain = JudgeConfiguration.Judge(key=key, sampling_rate=1.0)
            return build(JudgeConfiguration(judges=[certain]), context, default_ai_provider, variables)

        return _LazyEvaluator(judges, build_one)


class _LazyEvaluator(Evaluator):
    """Draw the samples first, as a judge of the AI SDK would, and build only the judges that are drawn, once each.

    A judge reports to a tracker of the request's LaunchDarkly context, so that no other request can share it.
    """

    def __init__(self, judges: list[JudgeConfiguration.Judge], build: Callable[[str], Evaluator]) -> None:
        super().__init__([])
        self._configured = judges
        self._build = build
        self._built: dict[str, Evaluator] = {}

    def evaluate(self, input_text: str, output_text: str) -> asyncio.Task[list[JudgeResult]]:
        """Run the judges as the AI SDK would; they are built on a thread."""
        drawn = {judge.key for judge in self._configured if random.random() <= judge.sampling_rate}
        return asyncio.create_task(self._judge(drawn, input_text, output_text))

    async def _judge(self, drawn: set[str], input_text: str, output_text: str) -> list[JudgeResult]:
        results: list[JudgeResult] = []
        for judge in self._configured:
            if judge.key not in drawn:
                results.append(JudgeResult(judge_config_key=judge.key))
                continue
            if judge.key not in self._built:
                self._built[judge.key] = await asyncio.to_thread(self._build, judge.key)
            results += await self._built[judge.key].evaluate(input_text, output_text)
        return results
