"""``ldai doctor``: look for what keeps AI Configs, or their metrics, from arriving."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ldclient import Context

from ..output import failed
from .config import check_config
from .connection import Target, check_hosts, check_key, connected, find_target
from .events import check_event
from .findings import Finding, skipped
from .process import check_process

PROBLEM_FOUND = 1
TIMEOUT_SECONDS = 10.0

_EPILOG = """\
The AI Config is evaluated by a client that sends nothing. Only --send-event sends something: one custom event named
"ldai-doctor" of an anonymous context, which is no part of any AI Config's metrics.

exit status:
  0  no problem; there may be warnings
  1  a problem was found
  2  could not run
"""


def add_to(commands: Any) -> None:
    """Add the command to those of ``ldai``."""
    parser = commands.add_parser(
        "doctor",
        help="find out why nothing arrives",
        description="Find out why AI Configs, or their metrics, do not arrive: with what the environment says.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=run)
    parser.add_argument("config_key", nargs="?", metavar="KEY", help="key of an AI Config to look at")
    who = parser.add_mutually_exclusive_group()
    who.add_argument("--context-key", metavar="KEY", help="evaluate for the user with this key")
    who.add_argument("--context", type=_context, metavar="JSON", help='evaluate for {"kind": "user", "key": …}')
    parser.add_argument("--send-event", action="store_true", help="send one event, and see that it is taken")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    """Look at everything, in order, and say what was found."""
    ld_context = args.context or Context.create(args.context_key or "ldai-doctor")
    if not ld_context.valid:
        return failed(f"the context cannot be used: {ld_context.error}")
    found = []
    for finding in _examine(args, ld_context):
        found.append(finding)
        if not args.json:
            print(finding, flush=True)
    if args.json:
        print(json.dumps([finding.to_json() for finding in found], indent=2))
    return PROBLEM_FOUND if any(finding.level == "problem" for finding in found) else 0


def _context(text: str) -> Context:
    try:
        return Context.from_dict(json.loads(text))
    except Exception as problem:  # what ldclient raises is a bare Exception
        raise argparse.ArgumentTypeError(f"{text!r} is no context: {problem}") from None


def _examine(args: argparse.Namespace, ld_context: Context) -> Iterator[Finding]:
    yield from check_process(os.environ, Path.cwd())
    target, finding = find_target(os.environ)
    yield finding
    if target is None:
        return
    yield from check_key(target)
    yield from check_hosts(target)
    yield from _ask(args, target, ld_context)
    if not target.sends_events:
        yield skipped("event", "AI Configs come from a file: nothing is reported")
    elif args.send_event:
        yield check_event(target)
    else:
        yield skipped("event", "none was sent; --send-event sends one that is no part of any metrics")


def _ask(args: argparse.Namespace, target: Target, ld_context: Context) -> Iterator[Finding]:
    with connected(target, timeout=TIMEOUT_SECONDS) as (client, finding):
        yield finding
        if args.config_key is None:
            yield skipped("AI Config", "name one to have it looked at: ldai doctor KEY --context-key USER")
        elif finding.level == "problem":
            yield skipped("AI Config", "LaunchDarkly is not connected")
        else:
            yield from check_config(client, args.config_key, ld_context)
