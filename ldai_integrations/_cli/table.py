"""A table people like to read, and a progress bar; both by rich."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime

from ..metrics import Metrics
from .figures import FIGURES, UNKNOWN, written

OnProgress = Callable[[int, int], object]


def print_table(title: str, start: datetime, end: datetime, columns: Mapping[str, Metrics]) -> None:
    """Print one column per variation; figures that are unknown in all of them are left out.

    Raises:
        ImportError: If rich is not installed.
    """
    from rich.console import Console
    from rich.table import Table

    # rich takes a pipe for 80 columns wide and would cut what a program wants to read.
    console = Console(width=None if sys.stdout.isatty() else 400)
    console.print(f"{title}, {_minute(start)} to {_minute(end)}", style="bold", highlight=False)
    table = Table()
    table.add_column("")
    for name in columns:
        table.add_column(name or "(default served)", justify="right", overflow="fold")
    for figure in FIGURES:
        cells = [written(figure, metrics) for metrics in columns.values()]
        if any(cell != UNKNOWN for cell in cells):
            table.add_row(figure.label, *cells)
    if not table.row_count:
        table.add_row("nothing is known: no events in this time", *["" for _ in columns])
    console.print(table, highlight=False)
    if any(metrics.approximate for metrics in columns.values()):
        console.print("≈ weighted by generations: LaunchDarkly gives means of at most 100 days")


def _minute(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} {moment.tzname()}"


@contextmanager
def progress(what: str) -> Iterator[OnProgress | None]:
    """Show a bar on standard error while requests are made; nothing where it is no terminal, or rich is missing."""
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
        task = bar.add_task(what, total=None, visible=False)
        yield lambda done, of: bar.update(task, completed=done, total=of, visible=of > 1)
