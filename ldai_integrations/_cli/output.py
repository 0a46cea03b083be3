"""Metrics as a table for people, as JSON and CSV for programs, and as a plot over time."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from datetime import datetime, timezone
from decimal import Decimal
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING, TypeAlias

from .._diagnostics import escape
from ..metrics import Metrics, MetricsPoint
from .figures import BY_NAME, FIGURES, UNKNOWN

if TYPE_CHECKING:
    from rich.console import Console

_FIELDS = [one.name for one in fields(Metrics) if one.name != "approximate"]
_COMPUTED = ["generations", "error_rate", "mean_duration_ms", "total_cost"]

#: The column of all variations together. Any text may be the key of a variation.
TOTAL = None
#: Metrics by the key of their variation, which is empty for runs that got a default.
Columns: TypeAlias = Mapping[str | None, Metrics]

# Events do not say which of their figures are estimates.
_ESTIMATES = "Tokens and costs may include estimates. A run with only one of input and output has no total."
_WITH_ESTIMATES = ("input_tokens", "output_tokens", "total_tokens", "input_cost", "output_cost")
# The width of a table that nobody sees on a terminal.
_WIDEST = 400
_TIMES = {"durationMs": "Duration", "timeToFirstTokenMs": "First token"}


@dataclass(frozen=True)
class FurtherFigures:
    """The figures of a column that only the dev server has.

    Attributes:
        percentiles: For each time, such as ``durationMs``, its percentiles by their names.
        scores: The means of scores without a field of their own in the metrics, by the key of the metric.
        without_outcome: The number of runs that were cancelled, or have no outcome.
    """

    percentiles: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    scores: Mapping[str, float] = field(default_factory=dict)
    without_outcome: int = 0


@dataclass(frozen=True)
class Report:
    """The metrics of an AI Config in a time range.

    Attributes:
        config_key: The key of the AI Config.
        env: The key of the environment.
        start: The beginning of the range.
        end: Its end, which is not included.
        columns: The metrics.
        further: The figures of columns that only the dev server has.
    """

    config_key: str
    env: str
    start: datetime
    end: datetime
    columns: Columns
    further: Mapping[str | None, FurtherFigures] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """Return the title of a table or a plot."""
        return f"{self.config_key} ({self.env})"

    def describe(self) -> dict[str, str]:
        """Return what the metrics are about, for programs."""
        about = {"config_key": self.config_key, "env": self.env}
        return {**about, "from": self.start.isoformat(), "to": self.end.isoformat()}


def print_table(report: Report) -> None:
    """Print one column per variation, without figures that are unknown in all of them.

    Raises:
        ImportError: rich is not installed.
    """
    from rich.console import Console

    # If standard output is a pipe, rich assumes 80 columns and shortens the text.
    console = Console(width=None if sys.stdout.isatty() else _WIDEST)
    period = " to ".join(f"{moment:%Y-%m-%d %H:%M} {moment.tzname()}" for moment in (report.start, report.end))
    columns = report.columns
    names = [escape(_title_of(name)) or "(default served)" for name in columns]
    rows = [(figure.label, [figure.format(metrics) for metrics in columns.values()]) for figure in FIGURES]
    rows += _further_rows([report.further.get(name, FurtherFigures()) for name in columns])
    rows = [(label, cells) for label, cells in rows if any(cell != UNKNOWN for cell in cells)]
    with console.capture() as captured:  # rich itself would end the process if nobody reads its output
        console.print(f"{report.title}, {period}", style="bold", markup=False, highlight=False)
        print_columns(console, names, rows or [("no events in this time", ["" for _ in names])])
        if any(getattr(metrics, name) for metrics in columns.values() for name in _WITH_ESTIMATES):
            console.print(_ESTIMATES)
        if any(metrics.approximate for metrics in columns.values()):
            console.print("≈ weighted by generations: LaunchDarkly returns means of at most 100 days")
        if any(BY_NAME["duration"].is_bound(metrics) for metrics in columns.values()):
            console.print("at most: LaunchDarkly does not report the number of durations; cancelled runs have one, too")
    print(captured.get(), end="")


def print_columns(console: Console, names: Sequence[str], rows: Sequence[tuple[str, Sequence[str]]]) -> None:
    """Print a table with a label and cells in each row.

    On a console that is too narrow for the table, there is one block per column, so that no number is broken.
    """
    from rich.table import Table
    from rich.text import Text

    table = Table()
    table.add_column("")
    for name in names:
        table.add_column(Text(name), justify="right", overflow="fold")
    for label, cells in rows:
        table.add_row(Text(label), *cells)
    if console.measure(table, options=console.options.update(max_width=_WIDEST)).maximum > console.width:
        console.print("\n".join(_blocks(names, rows, console.width)), markup=False, highlight=False)
    else:
        console.print(table, highlight=False)


def _title_of(column: str | None) -> str:
    return "all" if column is TOTAL else column


def _blocks(names: Sequence[str], rows: Sequence[tuple[str, Sequence[str]]], width: int) -> Iterator[str]:
    """Yield the lines of one block per column, which are broken at spaces only."""
    for index, name in enumerate(names):
        yield f"\n{name}"
        for label, cells in rows:
            line = f"  {label}: {cells[index]}" if cells[index] else f"  {label}"
            yield fill(line, width, subsequent_indent="    ", break_long_words=False, break_on_hyphens=False)


def _further_rows(known: Sequence[FurtherFigures]) -> Iterator[tuple[str, list[str]]]:
    """Yield label and cells of the rows that only the dev server has."""
    yield "Cancelled or no outcome", [f"{one.without_outcome:,}" if one.without_outcome else UNKNOWN for one in known]
    for name, label in _TIMES.items():
        yield f"{label}, p50 / p95 / p99", [_format_percentiles(one.percentiles.get(name)) for one in known]
    for key in sorted({key for one in known for key in one.scores}):
        yield f"{escape(key)}, mean", [f"{one.scores[key]:,.4g}" if key in one.scores else UNKNOWN for one in known]


def _format_percentiles(times: Mapping[str, int] | None) -> str:
    return UNKNOWN if times is None else " / ".join(f"{time:,}" for time in times.values()) + " ms"


def print_json(report: Report) -> None:
    """Print one object; an unknown figure is null. Figures that only the dev server has are there if it is asked."""
    found = [
        {
            "variation": _title_of(name),
            **_read_fields(metrics, float),
            **(asdict(report.further[name]) if name in report.further else {}),
        }
        for name, metrics in report.columns.items()
    ]
    json.dump({**report.describe(), "metrics": found}, sys.stdout, indent=2)
    print()


def print_csv(report: Report) -> None:
    """Print a header and one line per variation; an unknown figure is empty."""
    about = report.describe()
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow([*about, "variation", *_FIELDS, *_COMPUTED, "approximate"])
    for name, metrics in report.columns.items():
        values = _read_fields(metrics, lambda money: format(money, "f"))
        values["approximate"] = " ".join(sorted(metrics.approximate))
        writer.writerow([*map(_cell, (*about.values(), _title_of(name))), *values.values()])


def _cell(text: str) -> str:
    """Return a text for a cell of CSV. A spreadsheet takes one that begins with these characters for a formula."""
    text = escape(text)
    return f"'{text}" if text.startswith(("=", "+", "-", "@")) else text


def _read_fields(metrics: Metrics, format_money: Callable[[Decimal], object]) -> dict[str, object]:
    found = {name: getattr(metrics, name) for name in (*_FIELDS, *_COMPUTED)}
    found["generation_success_count"] = metrics.successes  # as in the table
    found["generation_error_count"] = metrics.errors
    values: dict[str, object] = {}
    for name, value in found.items():
        if isinstance(value, Decimal):
            values[name] = format_money(value)
        else:  # a mean has digits of binary fractions, such as 0.7300000000000001
            values[name] = round(value, 12) if isinstance(value, float) else value
    return {**values, "approximate": sorted(metrics.approximate)}


# The figure of each panel of the plot, and its unit in the title; an unknown value is a gap.
_PANELS = ("generations", "error_rate", "total_tokens", "duration", "first_token", "cost")
_UNITS = {"count": "", "share": ", %", "ms": ", ms", "USD": ", USD"}


def save_plot(path: Path, title: str, points: Sequence[MetricsPoint]) -> None:
    """Draw six panels over time with one line per variation, and save them.

    Args:
        path: The file; its suffix determines the format.
        title: The title above the panels.
        points: The metrics of each interval.

    Raises:
        ImportError: matplotlib is not installed.
        ValueError: The format of the file is unknown.
        OSError: The file cannot be written.
    """
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
    from matplotlib.figure import Figure

    figure = Figure(figsize=(14, 7.5), layout="constrained")
    figure.suptitle(title, x=0.01, ha="left", fontweight="bold")
    times = [_read_time((point.start_ms + point.end_ms) // 2) for point in points]
    names = dict.fromkeys(name for point in points for name in point.variations)
    empty = Metrics()
    for axes, shown in zip(figure.subplots(2, 3).flat, map(BY_NAME.__getitem__, _PANELS), strict=True):
        bound = any(shown.is_bound(metrics) for point in points for metrics in point.variations.values())
        axes.set_title(f"{shown.label}{' (at most)' if bound else ''}{_UNITS[shown.unit]}", loc="left", fontsize=10)
        factor = 100 if shown.unit == "share" else 1
        known = False
        for name in names:
            values = [shown.read(point.variations.get(name, empty)) for point in points]
            known = known or any(value is not None for value in values)
            heights = [float("nan") if value is None else float(value) * factor for value in values]
            axes.plot(times, heights, marker="o", markersize=3, label=name or "(default served)")
        axes.set_xlim(_read_time(points[0].start_ms), _read_time(points[-1].end_ms))
        axes.set_ylim(bottom=0)
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
        locator = AutoDateLocator(tz=timezone.utc, minticks=3)
        axes.xaxis.set_major_locator(locator)
        axes.xaxis.set_major_formatter(ConciseDateFormatter(locator, tz=timezone.utc))
        if not known:
            axes.set_yticks([])
            axes.text(0.5, 0.5, "unknown", transform=axes.transAxes, ha="center", color="gray")
    if set(names) - {None}:
        handles, labels = figure.axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=min(len(labels), 6), frameon=False)
    figure.savefig(path, dpi=110)


def _read_time(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, timezone.utc)
