"""``python -m tests.soak [REQUESTS [INTEGRATION …]]`` sends requests without a network, and measures what is left.

The default is 100,000 requests to each integration. Each has a process of its own. The command prints the requests per
second, the number of records, and the growth of memory from the first batch to the end and in the second half. It exits
with 1 if something was left, lost or reported twice.
"""

from __future__ import annotations

import subprocess
import sys

from .measure import INTEGRATIONS, soak

_WARNINGS = ["-W", "ignore"]


def _main(requests: int, integrations: list[str]) -> int:
    if len(integrations) == 1:
        report = soak(integrations[0], requests)
        print(report)
        return len(report.wrong())
    commands = (
        [sys.executable, *_WARNINGS, "-m", "tests.soak", str(requests), integration] for integration in integrations
    )
    return max(subprocess.run(command, check=False).returncode for command in commands)


if __name__ == "__main__":
    count, *names = sys.argv[1:] or ["100_000"]
    sys.exit(min(1, _main(int(count), names or list(INTEGRATIONS))))
