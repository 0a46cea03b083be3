"""The import of the package, against the import of LaunchDarkly's AI SDK, in new processes with compiled modules."""

from __future__ import annotations

import os
import subprocess
import sys

from ._measure import Contestant, Figure, interleaved, ratio

_ROUNDS = 9
_PROGRAM = "import time; begun = time.process_time(); {statement}; print(time.process_time() - begun)"
_SDK = "import ldai"


def figures() -> list[Figure]:
    """Measure the import of the package, whose names are loaded when they are used, and of the names themselves."""
    package, names = "import ldai_integrations", "from ldai_integrations import Tracking, track_ai"
    times = interleaved({statement: _executed(statement) for statement in (_SDK, package, names)}, rounds=_ROUNDS)
    return [
        Figure(what="import / import ldai", value=ratio(times, package, _SDK), at_most=1.1),
        Figure(what="import of Tracking and track_ai / import ldai", value=ratio(times, names, _SDK)),
    ]


def _executed(statement: str) -> Contestant:
    command = [sys.executable, "-c", _PROGRAM.format(statement=statement)]
    environ = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}

    def contestant() -> float:
        return float(subprocess.run(command, env=environ, capture_output=True, text=True, check=True).stdout)

    return contestant
