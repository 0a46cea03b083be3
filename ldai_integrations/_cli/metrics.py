"""``ldai metrics``: the figures of an AI Config in a time range."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from ..exceptions import LDAIIntegrationError
from ..metrics import Metrics
from .conditions import Condition, parse_condition
from .data import print_csv, print_json
from .figures import BY_NAME
from .launchdarkly import Source, add_source_arguments, source
from .output import failed
from .plot import save_plot
from .table import print_table, progress
from .window import hours, moment, window

TOTAL = "all"
CONDITION_HELD = 1
_POINTS = 24
_LONGEST_STEP = timedelta(days=100)  # LaunchDarkly's own limit for one request

_EPILOG = f"""\
figures for --fail-if:
  {", ".join(BY_NAME)}
  "errors > 5%" compares the error rate, "errors > 5" their number; units: %, ms, s, USD

exit status:
  0  done, and no --fail-if held
  1  a --fail-if held
  2  could not run, or a figure of a --fail-if is unknown
"""


def add_to(commands: Any) -> None:
    """Add the command to those of ``ldai``."""
    parser = commands.add_parser(
        "metrics",
        help="show the metrics of an AI Config",
        description="Show the metrics of an AI Config, from LaunchDarkly or the dev server.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=run)
    parser.add_argument("config_key", metavar="KEY", help="key of the AI Config")
    parser.add_argument("--hours", type=hours, metavar="N", help="the last N hours; default 24")
    parser.add_argument("--from", dest="start", type=moment, metavar="TIME", help="ISO 8601, UTC without an offset")
    parser.add_argument("--to", dest="end", type=moment, metavar="TIME", help="the first moment that does not count")
    parser.add_argument("--by-variation", action="store_true", help="tell the variations apart, too")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print JSON; an unknown figure is null")
    form.add_argument("--csv", action="store_true", help="print CSV; an unknown figure is empty")
    parser.add_argument("--plot", type=Path, metavar="FILE.png", help="draw the figures over time")
    parser.add_argument(
        "--fail-if", type=_condition, action="append", default=[], metavar="'errors > 5%'", help="may be repeated"
    )
    add_source_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Ask, print, draw and judge."""
    try:
        start, end = window(args, datetime.now(timezone.utc))
        asked = source(args)
        columns = _ask(args, asked, start, end)
        _print(args, asked.env, start, end, columns)
        if args.plot is not None:
            _plot(args, asked, start, end)
    except ImportError as missing:
        extra = "plot" if missing.name and missing.name.startswith("matplotlib") else "cli"
        way_out = "" if extra == "plot" else ", or use --json or --csv"
        return failed(f"{missing.name} is not installed: pip install 'ldai-integrations[{extra}]'{way_out}")
    except (LDAIIntegrationError, ValueError) as problem:
        return failed(str(problem))
    except OSError as problem:
        return failed(f"{args.plot} cannot be written: {problem.strerror}")
    return _judge(args.fail_if, columns if not args.by_variation else _without_total(columns))


def _condition(text: str) -> Condition:
    try:
        return parse_condition(text)
    except ValueError as problem:
        raise argparse.ArgumentTypeError(str(problem)) from None


def _ask(args: argparse.Namespace, asked: Source, start: datetime, end: datetime) -> dict[str, Metrics]:
    key: str = args.config_key
    with progress(key) as on_progress:
        given: Any = {"env": asked.env, "start": start, "end": end, "on_progress": on_progress}
        columns = {TOTAL: asked.client.metrics(key, **given)}
        if args.by_variation:
            found = asked.client.metrics_by_variation(key, **given)
            columns |= {variation.variation_key: variation.metrics for variation in found}
    return columns


def _print(args: argparse.Namespace, env: str, start: datetime, end: datetime, columns: Mapping[str, Metrics]) -> None:
    about = {"config_key": args.config_key, "env": env}
    if args.json:
        print_json(about, start, end, columns)
    elif args.csv:
        print_csv(about, start, end, columns)
    else:
        print_table(f"{args.config_key} ({env})", start, end, columns)


def _plot(args: argparse.Namespace, asked: Source, start: datetime, end: datetime) -> None:
    with progress("plot") as on_progress:
        points = asked.client.metrics_over_time(
            args.config_key,
            env=asked.env,
            start=start,
            end=end,
            points=max(_POINTS, -((start - end) // _LONGEST_STEP)),
            by_variation=args.by_variation,
            on_progress=on_progress,
        )
    save_plot(args.plot, f"{args.config_key} ({asked.env}), times in UTC", points)
    print(f"ldai: drawn to {args.plot}", file=sys.stderr)


def _without_total(columns: Mapping[str, Metrics]) -> dict[str, Metrics]:
    return {name: metrics for name, metrics in columns.items() if name != TOTAL}


def _judge(conditions: Sequence[Condition], columns: Mapping[str, Metrics]) -> int:
    """Say which conditions hold, and return the exit status."""
    status = 0
    for condition in conditions:
        for name, metrics in columns.items():
            holds, where = condition.holds(metrics), "" if name == TOTAL else f" in variation {name!r}"
            if holds:
                print(f"ldai: {condition.text} holds{where}: it is {condition.found(metrics)}", file=sys.stderr)
                status = CONDITION_HELD
            elif holds is None:
                problem = failed(f"{condition.text} cannot be told{where}: {condition.figure.name} is unknown")
                status = status or problem
    return status
