"""One log line per finished run, for development and for log pipelines."""

from __future__ import annotations

import logging

from ..records import RunRecord


class LogSink:
    """Log one line per record to the ``ldai_integrations.runs`` logger, without prompts, answers or the context.

    Args:
        level: Level of the line; info unless told.
    """

    def __init__(self, *, level: int = logging.INFO) -> None:
        self._level = level
        self._logger = logging.getLogger("ldai_integrations.runs")

    def emit(self, record: RunRecord) -> None:
        """Write the line."""
        usage = record.usage
        self._logger.log(
            self._level,
            "%s %s in %d ms, %s tokens",
            record.config_key,
            record.outcome,
            record.duration_ms,
            "unknown" if usage is None or usage.total_tokens is None else usage.total_tokens,
            extra={
                "ldai_run_id": record.run_id,
                "ldai_config_key": record.config_key,
                "ldai_variation_key": record.variation_key,
                "ldai_outcome": record.outcome,
                "ldai_duration_ms": record.duration_ms,
                "ldai_time_to_first_token_ms": record.time_to_first_token_ms,
            },
        )
