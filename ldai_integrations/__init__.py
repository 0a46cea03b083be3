"""Track LaunchDarkly AI Configs in Python web applications with one line.

The doors are modules of their own, so that importing the core imports no framework: ``ldai_integrations.flask``,
``ldai_integrations.starlette``, ``ldai_integrations.asgi`` and ``ldai_integrations.wsgi``.
"""

from __future__ import annotations

from ._core.idle import current_run
from ._core.run import Run
from ._core.settings import Settings
from ._core.tracking import Tracking
from ._version import __version__
from .clients import wrap_client
from .decorator import track_ai
from .exceptions import ConfigurationError, LDAIIntegrationError, TrackingNotConfiguredError
from .records import FlushReport, RunRecord, Stats, Usage
from .signals import default_served, run_finished, run_opened

__all__ = [
    "ConfigurationError",
    "FlushReport",
    "LDAIIntegrationError",
    "Run",
    "RunRecord",
    "Settings",
    "Stats",
    "Tracking",
    "TrackingNotConfiguredError",
    "Usage",
    "__version__",
    "current_run",
    "default_served",
    "run_finished",
    "run_opened",
    "track_ai",
    "wrap_client",
]
