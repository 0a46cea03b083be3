"""LaunchDarkly's AI client with two private steps replaced.

Should a later AI SDK drop or rename them, ours are simply not called any more and its own behaviour is back;
a test watches for that.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from ldai import LDAIClient
from ldai.evaluator import Evaluator
from ldai.models import JudgeConfiguration
from ldai.providers.types import JudgeResult
from ldclient import Context, LDClient

from .._troubles import Troubles
from .templates import render


class AIClient(LDAIClient):
    """Render prompts for models instead of browsers, and build judges only when they judge."""

    def __init__(self, client: LDClient, troubles: Troubles) -> None:
        super().__init__(client)
        self._troubles = troubles

    def _LDAIClient__interpolate_template(self, template: str, variables: dict[str, Any]) -> str:  # noqa: N802
        """Render without HTML escaping and without reading partials from disk."""
        try:
            return render(template, variables)
        except Exception as exc:
            kind = type(exc).__name__
            self._troubles.note(
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
        """Return an evaluator that builds its judges on first use: it takes 24 ms and logs for each."""
        build = super()._build_evaluator
        if judge_configuration is None or not judge_configuration.judges:
            return build(None, context)
        return _LazyEvaluator(lambda: build(judge_configuration, context, default_ai_provider, variables))


class _LazyEvaluator(Evaluator):
    """Build the real evaluator when asked to evaluate."""

    def __init__(self, build: Callable[[], Evaluator]) -> None:
        super().__init__([])
        self._build = build

    def evaluate(self, input_text: str, output_text: str) -> asyncio.Task[list[JudgeResult]]:
        """Run the judges as the AI SDK would."""
        return self._build().evaluate(input_text, output_text)
