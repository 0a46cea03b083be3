"""The errors that the library raises.

::

    LDAIIntegrationError
    ├── ConfigurationError (ValueError)            a value given at set-up cannot work
    ├── MetricsError                               metrics cannot be read from LaunchDarkly
    ├── TrackingNotConfiguredError (RuntimeError)  there is no LaunchDarkly client to track with
    └── UnusableConfigError (RuntimeError)         no model can be called with an AI Config

They are raised at set-up or on misuse. Only ``run.request`` raises one while a request is served: no model can be
called without the name of one.
"""

from __future__ import annotations

__all__ = [
    "ConfigurationError",
    "LDAIIntegrationError",
    "MetricsError",
    "TrackingNotConfiguredError",
    "UnusableConfigError",
]


class LDAIIntegrationError(Exception):
    """The base class of all errors that ldai_integrations raises."""


class ConfigurationError(LDAIIntegrationError, ValueError):
    """An error in a value given at set-up. Its text says which value it is and what to do."""


class MetricsError(LDAIIntegrationError):
    """An error while metrics are read from LaunchDarkly. Its text says why and what to do.

    Attributes:
        status: The HTTP status of the response; ``None`` if there was none.
    """

    def __init__(self, message: str, *, status: int | None) -> None:
        super().__init__(message)
        self.status = status


class TrackingNotConfiguredError(LDAIIntegrationError, RuntimeError):
    """An error because there is no LaunchDarkly client to track with. Its text says how to configure one."""


class UnusableConfigError(LDAIIntegrationError, RuntimeError):
    """An error because an AI Config is disabled or has no model. Its text says what to do."""
