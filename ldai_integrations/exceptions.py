"""Every error raised on purpose.

::

    LDAIIntegrationError
    ├── ConfigurationError (ValueError)            a value given at set-up cannot work
    ├── MetricsError                               LaunchDarkly's metrics cannot be read back
    └── TrackingNotConfiguredError (RuntimeError)  something was asked of a tracking that does not exist

They are raised at set-up or on direct misuse, never while a request is served.
"""

from __future__ import annotations

__all__ = ["ConfigurationError", "LDAIIntegrationError", "MetricsError", "TrackingNotConfiguredError"]


class LDAIIntegrationError(Exception):
    """Base of every error that ldai_integrations raises on purpose."""


class ConfigurationError(LDAIIntegrationError, ValueError):
    """Say which set-up value cannot work and what to do about it."""


class MetricsError(LDAIIntegrationError):
    """Say why metrics cannot be read back, and what to do about it.

    Attributes:
        status: The HTTP status of the answer; ``None`` where there was none.
    """

    def __init__(self, message: str, *, status: int | None) -> None:
        super().__init__(message)
        self.status = status


class TrackingNotConfiguredError(LDAIIntegrationError, RuntimeError):
    """Say that there is no LaunchDarkly client to track with, and the ways to give one."""
