"""A provider on this machine, and a Tracking whose records a test can wait for."""

from __future__ import annotations

from ..ledger.conftest import launchdarkly, provider, runs, serving_provider, settings

__all__ = ["launchdarkly", "provider", "runs", "serving_provider", "settings"]
