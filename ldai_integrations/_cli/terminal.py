"""Error messages and progress bars."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

COULD_NOT_RUN = 2

OnProgress = Callable[[int, int], object]


def fail(message: str) -> int:
    """Print why a command could not run, and return its exit status."""
    print(f"ldai: {message}", file=sys.stderr)
    return COULD_NOT_RUN


@contextmanager
def show_progress(name: str) -> Iterator[OnProgress | None]:
    """Show a bar on standard error while requests are made.

    There is no bar if standard error is not a terminal, or if rich is not installed.
    """
    if not sys.stderr.isatty():
        yield None
        return
    try:
        from rich.console import Console
        from rich.progress import Progress
    except ImportError:
        yield None
        return
    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(name, total=None, visible=False)
        yield lambda done, total: bar.update(task, completed=done, total=total, visible=total > 1)
