"""Report a run through LaunchDarkly's own tracker."""

from __future__ import annotations

from ldai.tracker import TokenUsage

from ..records import Outcome, RunRecord, Usage


class LaunchDarklySink:
    """Write each record to LaunchDarkly once, under its run id.

    Args:
        cancelled_as: What a cancelled run counts as: ``"cancelled"`` sends neither success nor error.
        report_estimates: Whether token counts that we estimated are sent.
    """

    def __init__(self, *, cancelled_as: Outcome = "cancelled", report_estimates: bool = True) -> None:
        self._cancelled_as = cancelled_as
        self._report_estimates = report_estimates

    def emit(self, record: RunRecord) -> None:
        """Send duration, time to first token, tokens, tool calls and success or error, each unless already sent."""
        tracker = record.tracker
        sent = tracker.get_summary()
        if sent.duration_ms is None:
            tracker.track_duration(record.duration_ms)
        if sent.time_to_first_token is None and record.time_to_first_token_ms is not None:
            tracker.track_time_to_first_token(record.time_to_first_token_ms)
        tokens = self._tokens(record.usage)
        if sent.tokens is None and tokens is not None:
            tracker.track_tokens(tokens)
        if record.tool_calls:
            tracker.track_tool_calls(record.tool_calls)
        outcome = self._cancelled_as if record.outcome == "cancelled" else record.outcome
        if sent.success is None and outcome == "success":
            tracker.track_success()
        elif sent.success is None and outcome == "error":
            tracker.track_error()

    def _tokens(self, usage: Usage | None) -> TokenUsage | None:
        """Return what to send; a zero is not sent by the tracker, so it stands for unknown."""
        if usage is None:
            return None
        hidden = frozenset[str]() if self._report_estimates else usage.estimated

        def count(name: str) -> int:
            return 0 if name in hidden else getattr(usage, name) or 0

        tokens = TokenUsage(total=count("total_tokens"), input=count("input_tokens"), output=count("output_tokens"))
        return tokens if tokens.total or tokens.input or tokens.output else None
