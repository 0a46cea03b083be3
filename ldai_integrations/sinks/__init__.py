"""Sinks, which get the record of each finished run."""

from __future__ import annotations

import logging

from ldai.tracker import TokenUsage

from .._diagnostics import escape
from ..records import Outcome, RunRecord, Usage

__all__ = ["LaunchDarklySink", "LogSink"]


class LaunchDarklySink:
    """A sink that reports each record to LaunchDarkly once, through the tracker of the run.

    Args:
        cancelled_as: The outcome that is reported for a cancelled run. ``"cancelled"`` sends neither success nor error.
        report_estimates: Whether to send token counts that we estimated.
    """

    def __init__(self, *, cancelled_as: Outcome = "cancelled", report_estimates: bool = True) -> None:
        self._cancelled_as = cancelled_as
        self._report_estimates = report_estimates

    def emit(self, record: RunRecord) -> None:
        """Send duration, time to first token, tokens, tool calls and success or error, unless they were sent before."""
        tracker, stated, tokens = record.tracker, record.stated, self._tokens(record.usage)
        if "duration" not in stated:
            tracker.track_duration(record.duration_ms)
        if "first_token" not in stated and record.time_to_first_token_ms is not None:
            tracker.track_time_to_first_token(record.time_to_first_token_ms)
        if "tokens" not in stated and tokens is not None:
            tracker.track_tokens(tokens)
        if "tools" not in stated and record.tool_calls:
            tracker.track_tool_calls(record.tool_calls)
        outcome = self._cancelled_as if record.outcome == "cancelled" else record.outcome
        if "success" not in stated and outcome == "success":
            tracker.track_success()
        elif "success" not in stated and outcome == "error":
            tracker.track_error()

    def _tokens(self, usage: Usage | None) -> TokenUsage | None:
        """Return the tokens to send. The tracker does not send a zero, so it stands for unknown."""
        if usage is None:
            return None
        hidden = frozenset[str]() if self._report_estimates else usage.estimated
        names = {"total": "total_tokens", "input": "input_tokens", "output": "output_tokens"}
        counts = {kind: 0 if name in hidden else getattr(usage, name) or 0 for kind, name in names.items()}
        return TokenUsage(**counts) if any(counts.values()) else None


class LogSink:
    """A sink that logs one line per record, without prompts, answers or the LD context. It marks estimates.

    The logger is ``ldai_integrations.runs``.

    Args:
        level: The level of the line. The default is info.
    """

    def __init__(self, *, level: int = logging.INFO) -> None:
        self._level = level
        self._logger = logging.getLogger("ldai_integrations.runs")

    def emit(self, record: RunRecord) -> None:
        """Write the line."""
        usage, cost = record.usage, record.cost
        tokens = "unknown tokens"
        if usage is not None and usage.total_tokens is not None:
            tokens = f"{'at least ' if usage.lower_bound else ''}{usage.total_tokens} tokens"
            tokens += " (estimated)" if usage.estimated else ""
        self._logger.log(
            self._level,
            "%s %s in %d ms, %s",
            escape(record.config_key),
            record.outcome,
            record.duration_ms,
            tokens,
            extra={
                "ldai_run_id": record.run_id,
                "ldai_config_key": record.config_key,
                "ldai_variation_key": record.variation_key,
                "ldai_outcome": record.outcome,
                "ldai_duration_ms": record.duration_ms,
                "ldai_time_to_first_token_ms": record.time_to_first_token_ms,
                "ldai_cost_usd": None if cost is None else float(cost.total_cost),
                "ldai_cost_lower_bound": None if cost is None else cost.lower_bound,
            },
        )
