"""``ldai metrics``: the figures of an AI Config in a time range."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from importlib import import_module
from pathlib import Path
from textwrap import fill
from typing import Any
from urllib.parse import quote

from ..exceptions import LDAIIntegrationError
from ..metrics import Metrics, MetricsClient
from ..metrics._http import Connection
from .figures import BY_NAME, Condition, parse_condition
from .output import TOTAL, Columns, FurtherFigures, Report, print_csv, print_json, print_table, save_plot
from .rest import Access, add_arguments, find_access
from .terminal import (
    CLOSED_PIPE_LINE,
    INTERRUPTED_LINE,
    fail,
    file_argument,
    number_argument,
    show_progress,
    tell,
    text_argument,
)

CONDITION_MET = 1
DEFAULT_HOURS = 24.0
LONGEST_RANGE = timedelta(days=3660)
HOURS = number_argument(
    float,
    lambda hours: 0 < hours <= LONGEST_RANGE / timedelta(hours=1),
    "a number of hours, more than 0 and at most ten years",
)
_POINTS = 24
_FIRST_YEAR = 1980  # nobody means an earlier one, and a day before the year 1 is not a time in Python
_LONGEST_STEP = timedelta(days=100)  # LaunchDarkly's limit for one request

# The metrics of a time without any event: no field is sent then, but the sums are known. Means and rates are not.
_NO_EVENTS = Metrics(
    input_tokens=0,
    output_tokens=0,
    total_tokens=0,
    generation_success_count=0,
    generation_error_count=0,
    thumbs_up=0,
    thumbs_down=0,
    input_cost=Decimal(0),
    output_cost=Decimal(0),
)

_EPILOG = f"""\
figures for --fail-if:
{fill(", ".join(BY_NAME), 78, initial_indent="  ", subsequent_indent="  ")}
  "errors > 5%" compares the error rate, "errors > 5" the number of errors;
  units: %, ms, s, USD; a time needs ms or s, and a rate above 1 needs %

exit status:
  0    success, and no --fail-if is met
  1    a --fail-if is met
  2    the command could not run, or a figure of a --fail-if is unknown
{INTERRUPTED_LINE}; the conditions may not have been checked
{CLOSED_PIPE_LINE}

A run of the dev server counts as "Cancelled or no outcome" (JSON:
without_outcome) one minute after its start.
"""


def add_to(commands: Any) -> None:
    """Add the command to ``ldai``."""
    parser = commands.add_parser(
        "metrics",
        help="show the metrics of an AI Config",
        description="Show the metrics of an AI Config, from LaunchDarkly or the dev server.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=run)
    parser.add_argument("config_key", type=text_argument, metavar="KEY", help="key of the AI Config")
    parser.add_argument("--hours", type=HOURS, metavar="N", help="the last N hours; default 24")
    parser.add_argument("--from", dest="start", type=_parse_time, metavar="TIME", help="ISO 8601, UTC without offset")
    parser.add_argument("--to", dest="end", type=_parse_time, metavar="TIME", help="the end, which is not included")
    parser.add_argument("--by-variation", action="store_true", help="show each variation as well")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print JSON; an unknown figure is null")
    form.add_argument("--csv", action="store_true", help="print CSV; an unknown figure is empty")
    parser.add_argument("--plot", type=file_argument, metavar="FILE.png", help="draw the figures over time")
    parser.add_argument(
        "--fail-if",
        type=parse_condition,
        action="append",
        default=[],
        metavar="'errors > 5%'",
        help="exit with status 1 if this condition is met; may be repeated",
    )
    add_arguments(parser, dev_server=True)


def run(args: argparse.Namespace) -> int:
    """Read the metrics, print and draw them, and check the conditions."""
    try:
        if args.plot is not None:
            import_module("matplotlib.figure")  # its absence is an error before anything is requested or printed
        start, end = _find_range(args, datetime.now(timezone.utc))
        access = find_access(args, dev_server=True)
        client = MetricsClient(access.token, access.project, base_url=access.base_url)
        report = _read_report(args, access, client, start, end)
        if args.json:
            print_json(report)
        elif args.csv:
            print_csv(report)
        else:
            print_table(report)
        if args.plot is not None:
            _draw_plot(args.plot, client, report, by_variation=args.by_variation)
    except ImportError as missing:
        extra = "plot" if missing.name and missing.name.startswith("matplotlib") else "cli"
        alternative = "" if extra == "plot" else ", or use --json or --csv"
        return fail(f"{missing.name} is not installed: pip install 'ldai-integrations[{extra}]'{alternative}")
    except (LDAIIntegrationError, ValueError) as problem:
        return fail(str(problem))
    return _check_conditions(args.fail_if, report.columns)


def _find_range(args: argparse.Namespace, now: datetime) -> tuple[datetime, datetime]:
    """Return the beginning and the end of the time range.

    Raises:
        ValueError: Two arguments contradict each other.
    """
    if args.start is not None and args.hours is not None:
        raise ValueError("--hours and --from contradict each other; give one of them")
    end = args.end or now
    start = args.start or end - timedelta(hours=args.hours or DEFAULT_HOURS)
    if start >= end:
        raise ValueError(f"--from {start.isoformat()} is not before --to {end.isoformat()}")
    if end - start > LONGEST_RANGE:
        raise ValueError(f"--from {start.isoformat()} is more than ten years before --to {end.isoformat()}")
    return start, end


def _read_report(
    args: argparse.Namespace, access: Access, client: MetricsClient, start: datetime, end: datetime
) -> Report:
    key = args.config_key
    with show_progress(key) as on_progress:
        about: dict[str, Any] = {"env": access.env, "start": start, "end": end, "on_progress": on_progress}
        columns: dict[str | None, Metrics] = {TOTAL: client.metrics(key, **about)}
        if args.by_variation:
            found = client.metrics_by_variation(key, **about)
            columns |= {variation.variation_key: variation.metrics for variation in found}
    report = Report(key, access.env, start, end, columns)
    return report if args.csv or not access.is_dev_server else replace(report, further=_read_further(access, report))


def _read_further(access: Access, report: Report) -> dict[str | None, FurtherFigures]:
    """Return the figures by column that only the dev server has."""
    connection = Connection(access.base_url, access.token, timeout=30.0, max_wait=0.0)
    start, end = (str(round(moment.timestamp() * 1000)) for moment in (report.start, report.end))
    path = f"/dev/figures/{quote(report.config_key, safe='')}"
    found: Any = connection.get(path, {"env": report.env, "from": start, "to": end})
    known = {
        one["variationKey"]: FurtherFigures(one["percentiles"], one["scores"], one["withoutOutcome"]) for one in found
    }
    return dict.fromkeys(report.columns, FurtherFigures()) | known


def _draw_plot(path: Path, client: MetricsClient, report: Report, *, by_variation: bool) -> None:
    with show_progress("plot") as on_progress:
        points = client.metrics_over_time(
            report.config_key,
            env=report.env,
            start=report.start,
            end=report.end,
            points=max(_POINTS, -((report.start - report.end) // _LONGEST_STEP)),
            by_variation=by_variation,
            on_progress=on_progress,
        )
    try:
        save_plot(path, f"{report.title}, times in UTC", points)
    except OSError as problem:
        raise ValueError(f"{path} cannot be written: {problem.strerror}") from problem
    tell(f"saved the plot to {path}")


def _check_conditions(conditions: Sequence[Condition], columns: Columns) -> int:
    """Print which conditions are met or cannot be checked, and return the exit status."""
    status = 0
    for condition in conditions:
        for name, found in columns.items():
            metrics = _NO_EVENTS if found == Metrics() else _with_votes(found)
            met, place = condition.is_met(metrics), "" if name is TOTAL else f" in variation {name!r}"
            if met:
                tell(f"{condition.text} is met{place}: the value is {condition.figure.format(metrics)}")
                status = CONDITION_MET
            elif met is None:
                unknown = fail(f"{condition.text} cannot be checked{place}: {condition.figure.name} is unknown")
                status = status or unknown
    return status


def _with_votes(metrics: Metrics) -> Metrics:
    """Return metrics without unknown votes: LaunchDarkly leaves out a number of votes that is 0."""
    return replace(metrics, thumbs_up=metrics.thumbs_up or 0, thumbs_down=metrics.thumbs_down or 0)


def _parse_time(text: str) -> datetime:
    """Parse a date or a time of ISO 8601; without an offset it is UTC."""
    try:
        found = datetime.fromisoformat(text.strip().replace("Z", "+00:00"))
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a date or time; write 2026-11-20 or 2026-11-20T08:30+01:00 (UTC without an offset)"
        ) from None
    if found.year < _FIRST_YEAR:
        raise argparse.ArgumentTypeError(f"{text!r} is before {_FIRST_YEAR}")
    return found if found.tzinfo else found.replace(tzinfo=timezone.utc)
