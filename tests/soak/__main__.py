"""``python -m tests.soak [REQUESTS [DOOR …]]``: 100,000 requests through each door without a network, and what is left.

One process for each door. Prints requests a second, records, and growth from the first batch of them to the end, and in
their second half; exits with 1 where something was left, lost or told twice.
"""

from __future__ import annotations

import subprocess
import sys

from .measure import DOORS, soak

_WARNINGS = ["-W", "ignore"]


def _main(requests: int, doors: list[str]) -> int:
    if len(doors) == 1:
        report = soak(doors[0], requests)
        print(report)
        return len(report.wrong())
    commands = ([sys.executable, *_WARNINGS, "-m", "tests.soak", str(requests), door] for door in doors)
    return max(subprocess.run(command, check=False).returncode for command in commands)


if __name__ == "__main__":
    count, *names = sys.argv[1:] or ["100_000"]
    sys.exit(min(1, _main(int(count), names or list(DOORS))))
