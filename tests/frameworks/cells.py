"""A cell of the matrix: a stack that is used in a pattern, and whether its record has the provider's figures."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Literal, get_args

from ldai_integrations import Tracking, track_ai
from ldai_integrations.records import RunRecord
from ldai_integrations.testing import RecordingSink

from ..ledger.provider import Provider
from .stacks import Pattern, Stack
from .stacks.stack import Use

PATTERNS: tuple[Pattern, ...] = get_args(Pattern)

_MODEL = "gpt-4o-mini"
_TOKENS, _TOOL_TOKENS = (7317, 3863), (1273, 647)
# The time between two chunks of a stream, in seconds.
_GAP = 0.05
# How late the first token may be noted besides, and how early; the start of a run is known to some milliseconds.
_LATE, _EARLY = 0.010, 0.005
_MOST_STREAMS = 6
_STOPPED = ("stop", "end_turn", "completed")


@dataclass(frozen=True)
class Cell:
    """What the matrix says about a stack in a pattern.

    Attributes:
        kind: ``"-"`` if the framework cannot do it.
        reason: Why the figures are not exact, or what is wrong.
    """

    kind: Literal["exact", "estimate", "not visible", "wrong", "-"]
    reason: str = ""

    def __str__(self) -> str:
        return f"{self.kind} ({self.reason})" if self.reason else self.kind


class Application:
    """An application whose handler calls models, tracked with the decorator alone."""

    def __init__(self, tracking: Tracking, runs: RecordingSink, provider: Provider) -> None:
        self._tracking = tracking
        self._runs = runs
        self._provider = provider

    def check(self, stack: Stack, pattern: Pattern) -> Cell:
        """Use a stack in a pattern, and compare the record with the provider's figures."""
        use = stack.use(pattern)
        if use is None:
            return Cell("-")
        tokens, calls = _TOKENS, 1
        if pattern == "stream":
            record, problems = self._stream(use, stack)
        elif pattern == "tool loop":
            tokens, calls = (_TOKENS[0] + _TOOL_TOKENS[0], _TOKENS[1] + _TOOL_TOKENS[1]), 2
            self._provider.serve(_MODEL, tokens=_TOKENS, tool="lookup", tool_tokens=_TOOL_TOKENS)
            record = self._run(use)
            problems = [] if record.tool_calls == ("lookup",) else [f"the tools are {record.tool_calls}"]
        elif pattern == "failure":
            self._provider.serve(_MODEL, status=400)
            record = self._run(use, is_polite=True)
            shown = record.outcome, record.calls, record.failed_calls, record.usage
            return Cell("exact") if shown == ("error", 1, 1, None) else Cell("wrong", f"a failure is {shown}")
        else:
            words = {"words": ("Hello", " there") * 20, "pause": 0.01} if pattern == "early end" else {}
            self._provider.serve(_MODEL, tokens=_TOKENS, **words)
            record = self._run(use)
            problems = _problems_of_answer(record, stack) if pattern == "whole" else []
        return _judge(record, tokens, calls, problems, stack.exceptions.get(pattern))

    def _stream(self, use: Use, stack: Stack) -> tuple[RunRecord, list[str]]:
        """Use a stream; check the time to the first token.

        Packages import and cache in the first stream, and a busy machine delays some, so that one in time suffices.
        """
        for _ in range(_MOST_STREAMS):
            self._provider.serve(_MODEL, tokens=_TOKENS, pause=_GAP)
            begun = time.perf_counter()
            record = self._run(use)
            first, sent = record.time_to_first_token_ms, self._provider.first_text_at or 0.0
            late = None if first is None else begun + first / 1000 - sent
            is_early = late is not None and late < -_EARLY and "first token" not in stack.exceptions
            if late is None or (late <= _LATE + _GAP and not is_early):
                break
        problems = _problems_of_answer(record, stack)
        if "first token" in stack.exceptions:
            is_late = late is not None and late > _LATE + _GAP
            problems += ["the first token is late, and no exception says so"] if is_late else []
        elif late is None or not -_EARLY <= late <= _LATE + _GAP:
            problems.append(f"the first token is {'not known' if late is None else f'{1000 * late:.0f} ms late'}")
        return record, problems

    def _run(self, use: Use, *, is_polite: bool = False) -> RunRecord:
        """Serve a request; return the record of its run."""

        @track_ai(config_key="chat", tracking=self._tracking)
        def handler() -> str:
            try:
                use(self._provider.url, _MODEL)
            except Exception:
                if not is_polite:
                    raise
            return "Sorry" if is_polite else "Done"

        count = len(self._runs.records)
        handler()
        return self._runs.wait(count + 1)[-1]


def _problems_of_answer(record: RunRecord, stack: Stack) -> list[str]:
    reasons = tuple(reason.lower() for reason in record.finish_reasons)
    expected = ("",) if "finish reason" in stack.exceptions else _STOPPED
    problems = [] if reasons and reasons[-1] in expected else [f"the finish reasons are {reasons}"]
    is_named = _MODEL in record.response_model
    return (
        problems
        if is_named is ("model" not in stack.exceptions)
        else [*problems, f"the model is {record.response_model!r}"]
    )


def _judge(record: RunRecord, tokens: tuple[int, int], calls: int, problems: list[str], exception: str | None) -> Cell:
    """Compare a record with the provider's figures, or with the documented exception."""
    usage = record.usage
    figures = (usage.input_tokens, usage.output_tokens) if usage is not None else (None, None)
    is_certain = usage is not None and usage.source == "provider" and not usage.lower_bound
    if record.outcome != "success":
        return Cell("wrong", f"the outcome is {record.outcome}")
    if exception is not None and (record.calls == 0 or usage is None) and not is_certain:
        return Cell("not visible", exception)
    if record.calls != calls:
        return Cell("wrong", f"{record.calls} calls instead of {calls}")
    is_less = figures[1] is None or 0 < figures[1] < tokens[1]
    if exception is not None and usage is not None and not is_certain and is_less:
        return Cell("estimate", exception)
    if exception is not None:
        problems = [*problems, "the documented exception is not observed"]
    if figures != tokens or not is_certain:
        problems = [*problems, f"{figures} instead of {tokens}, from {usage and usage.source}"]
    return Cell("wrong", "; ".join(problems)) if problems else Cell("exact")
