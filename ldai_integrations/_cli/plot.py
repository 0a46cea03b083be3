"""Metrics over time as a picture, by matplotlib."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from ..metrics import Metrics, MetricsPoint

Read = Callable[[Metrics], Any]

PANELS: tuple[tuple[str, Read], ...] = (
    ("Generations", lambda metrics: metrics.generations),
    ("Error rate, %", lambda metrics: None if metrics.error_rate is None else 100 * metrics.error_rate),
    ("Tokens", lambda metrics: metrics.total_tokens),
    ("Duration, mean, s", lambda metrics: _seconds(metrics.mean_duration_ms)),
    ("First token, mean, s", lambda metrics: _seconds(metrics.time_to_first_token_ms)),
    ("Cost, USD", lambda metrics: None if metrics.total_cost is None else float(metrics.total_cost)),
)
_EMPTY = Metrics()


def save_plot(path: Path, title: str, points: Sequence[MetricsPoint]) -> None:
    """Draw six panels over time, one line per variation, and write them to a file.

    Args:
        path: Where to; its suffix decides the format.
        title: What stands above.
        points: What to draw; an unknown figure is a gap.

    Raises:
        ImportError: If matplotlib is not installed.
        ValueError: If the format of the file is not known.
        OSError: If the file cannot be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
    from matplotlib.figure import Figure

    figure = Figure(figsize=(14, 7.5), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title, x=0.01, ha="left", fontweight="bold")
    times: list[Any] = [_middle(point) for point in points]
    names = dict.fromkeys(name for point in points for name in point.variations)
    for axes, (label, read) in zip(figure.subplots(2, 3).flat, PANELS, strict=True):
        axes.set_title(label, loc="left", fontsize=10)
        known = 0
        for name in names:
            values = [read(point.variations.get(name, _EMPTY)) for point in points]
            known += sum(value is not None for value in values)
            heights = [float("nan") if value is None else value for value in values]
            axes.plot(times, heights, marker="o", markersize=3, label=name or "(default served)")
        axes.set_xlim(_utc(points[0].start_ms), _utc(points[-1].end_ms))
        axes.set_ylim(bottom=0)
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
        locator = AutoDateLocator(tz=timezone.utc, minticks=3)
        axes.xaxis.set_major_locator(locator)
        dates = ConciseDateFormatter(locator, tz=timezone.utc)
        axes.xaxis.set_major_formatter(dates)
        if not known:
            axes.set_yticks([])
            axes.text(0.5, 0.5, "unknown", transform=axes.transAxes, ha="center", color="gray")
    if set(names) - {None}:
        handles, labels = figure.axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=min(len(labels), 6), frameon=False)
    figure.savefig(path, dpi=110)


def _seconds(ms: float | None) -> float | None:
    return None if ms is None else ms / 1000


def _middle(point: MetricsPoint) -> datetime:
    return _utc((point.start_ms + point.end_ms) // 2)


def _utc(ms: int) -> datetime:
    return datetime.fromtimestamp(ms / 1000, timezone.utc)
