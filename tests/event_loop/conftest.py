"""What the tests of the event loop share."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from ldai_integrations import Tracking

from ..judges.conftest import provider as provider
from .watchdog import WatchedLoop, watch

Measure = Callable[[Callable[[], Coroutine[Any, Any, Any]]], WatchedLoop]


@pytest.fixture
def measure(tracking: Tracking) -> Measure:
    """Give a function that runs a coroutine twice and returns the second loop: the first imports and caches things."""

    def measure(start: Callable[[], Coroutine[Any, Any, Any]]) -> WatchedLoop:
        watch(start())
        tracking.flush(30)
        loop = watch(start())
        tracking.flush(30)
        return loop

    return measure
