"""Thousands of requests with every ending; ``python -m tests.soak`` sends 100,000 through each integration."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from .connections import SERVED
from .measure import INTEGRATIONS

pytestmark = pytest.mark.soak

_REQUESTS = int(os.environ.get("LDAI_SOAK_REQUESTS", "400"))


@pytest.mark.timeout(120 + _REQUESTS // 20)
@pytest.mark.parametrize("integration", INTEGRATIONS)
def test_nothing_is_left_of_many_requests(integration: str) -> None:
    """Memory stays flat, no task, thread, file or run is left, nothing is bound, and each run is told once."""
    _passes("tests.soak", str(_REQUESTS), integration)


@pytest.mark.timeout(200)
@pytest.mark.parametrize("name", SERVED)
def test_nothing_is_left_of_many_connections(name: str) -> None:
    """The same on sockets: some clients hang up, each run's events arrive once, and no thread or file is left."""
    _passes("tests.soak.connections", name)


def _passes(*module: str) -> None:
    """Run a module in a process of its own: what others leave here, or close, is not counted."""
    command = [sys.executable, "-W", "ignore", "-m", *module]
    done = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout + done.stderr[-2_000:]
