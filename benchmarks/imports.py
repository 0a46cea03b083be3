"""Importing the package against importing LaunchDarkly's AI SDK, in fresh processes with compiled modules."""

from __future__ import annotations

import os
import subprocess
import sys

from ._measure import Contestant, Figure, interleaved, ratio

_ROUNDS = 9
_PROGRAM = "import time; begun = time.process_time(); {statement}; print(time.process_time() - begun)"
_SDK = "import ldai"


def figures() -> list[Figure]:
    """Measure what nobody has used yet, and what an application uses."""
    package, names = "import ldai_integrations", "from ldai_integrations import Tracking, track_ai"
    times = interleaved({statement: _executed(statement) for statement in (_SDK, package, names)}, rounds=_ROUNDS)
    return [
        Figure("import / import ldai", f"{ratio(times, package, _SDK):.2f}", "at most 1.1; loads when it is used"),
        Figure("Tracking and track_ai / import ldai", f"{ratio(times, names, _SDK):.2f}", "and all that they need"),
    ]


def _executed(statement: str) -> Contestant:
    command = [sys.executable, "-c", _PROGRAM.format(statement=statement)]
    environ = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}

    def contestant() -> float:
        return float(subprocess.run(command, env=environ, capture_output=True, text=True, check=True).stdout)

    return contestant
