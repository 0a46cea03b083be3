"""Importing the package against importing LaunchDarkly's AI SDK, in fresh processes."""

from __future__ import annotations

import subprocess
import sys

from ._measure import Contestant, Figure, interleaved, ratio

_ROUNDS = 9
_PROGRAM = "import time; begun = time.perf_counter(); import {module}; print(time.perf_counter() - begun)"


def figures() -> list[Figure]:
    """Measure both imports."""
    modules = ("ldai", "ldai_integrations")
    times = interleaved({module: _imported(module) for module in modules}, rounds=_ROUNDS)
    return [Figure("import / import ldai", f"{ratio(times, 'ldai_integrations', 'ldai'):.2f}", "at most 1.1")]


def _imported(module: str) -> Contestant:
    def contestant() -> float:
        command = [sys.executable, "-c", _PROGRAM.format(module=module)]
        return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)

    return contestant
