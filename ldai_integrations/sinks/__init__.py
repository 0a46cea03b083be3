"""Where the record of a finished run goes."""

from __future__ import annotations

from ._launchdarkly import LaunchDarklySink
from ._log import LogSink

__all__ = ["LaunchDarklySink", "LogSink"]
