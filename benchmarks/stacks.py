"""The matrix of frameworks and provider clients: whether their figures are those of the provider.

``python -m benchmarks.stacks`` uses every installed one in each pattern, against a provider of this machine. It exits
with 1 if a cell is neither exact nor a documented exception.
"""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Iterable

from ldai_integrations import Settings
from ldai_integrations.testing import OfflineLaunchDarkly, ai_config, recorded_runs
from ldai_integrations.usage import warm_up
from tests.frameworks.cells import PATTERNS, Application, Cell
from tests.frameworks.stacks import STACKS
from tests.ledger.provider import serving

_WIDTH = 14


def main() -> int:
    """Print a row for each stack, then the reasons; return the exit code."""
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    warm_up(timeout=30)
    reasons: dict[str, int] = {}
    is_right = True
    print(_row("", PATTERNS))
    configs = {"chat": ai_config(messages="You are a helpful assistant. " * 20)}
    settings = Settings(flush="never", judges=None)
    with (
        serving() as provider,
        OfflineLaunchDarkly(configs, settings=settings) as launchdarkly,
        recorded_runs() as runs,
    ):
        application = Application(launchdarkly.tracking, runs, provider)
        for stack in STACKS:
            if stack.is_installed:
                cells = [application.check(stack, pattern) for pattern in PATTERNS]
                is_right = is_right and all(cell.kind != "wrong" for cell in cells)
                print(_row(stack.name, [_numbered(cell, reasons) for cell in cells]), flush=True)
    for reason, number in reasons.items():
        print(f"({number}) {reason}")
    missing = sorted({stack.package for stack in STACKS if not stack.is_installed})
    print(f"not installed: {', '.join(missing) or 'nothing'}")
    return 0 if is_right else 1


def _row(name: str, cells: Iterable[str]) -> str:
    return " ".join([f"{name:24}", *(f"{cell:{_WIDTH}}" for cell in cells)]).rstrip()


def _numbered(cell: Cell, reasons: dict[str, int]) -> str:
    """Return a cell with the number of its reason."""
    return f"{cell.kind} ({reasons.setdefault(cell.reason, len(reasons) + 1)})" if cell.reason else cell.kind


if __name__ == "__main__":
    sys.exit(main())
