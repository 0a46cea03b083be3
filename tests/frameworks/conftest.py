"""A provider on this machine, and a Tracking whose records a test can wait for."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from ldai_integrations import RunRecord, track_ai
from ldai_integrations.testing import OfflineLaunchDarkly, RecordingSink

from ..ledger.conftest import launchdarkly, provider, runs, serving_provider, settings
from .stacks.stack import wait

__all__ = ["launchdarkly", "provider", "record_of", "runs", "serving_provider", "settings"]

#: Serves a request with an asynchronous handler that answers failures politely; returns the record of its run.
RecordOf = Callable[[Callable[[], Awaitable[Any]]], RunRecord]


@pytest.fixture
def record_of(launchdarkly: OfflineLaunchDarkly, runs: RecordingSink) -> RecordOf:
    """Return a function that serves a request and returns the record of its run."""

    def serve(work: Callable[[], Awaitable[Any]]) -> RunRecord:
        @track_ai(config_key="chat", tracking=launchdarkly.tracking)
        async def handler() -> str:
            try:
                await work()
            except Exception:
                return "Sorry"
            return "Done"

        wait(handler())
        assert "framework" not in launchdarkly.tracking.stats().diagnostics
        return runs.wait(1)[-1]

    return serve
