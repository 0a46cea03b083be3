"""Thousands of requests with every ending; ``python -m tests.soak`` sends 100,000 through each door."""

from __future__ import annotations

import os

import pytest

from .measure import DOORS, soak

_REQUESTS = int(os.environ.get("LDAI_SOAK_REQUESTS", "1000"))


@pytest.mark.timeout(60 + _REQUESTS // 20)
@pytest.mark.parametrize("door", DOORS)
def test_nothing_is_left_of_many_requests(door: str) -> None:
    """Memory stays flat, no task, thread, file or run is left, nothing is bound, and each run is told once."""
    report = soak(door, _REQUESTS)

    assert report.wrong() == [], str(report)
