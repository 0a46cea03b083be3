"""``ldai doctor``: find out why AI Configs or their metrics do not arrive."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ldclient import Context

from ..terminal import fail
from .config import check_config
from .connection import Target, check_event, check_hosts, check_key, connect, find_target, find_warnings
from .findings import Finding, print_finding, skipped
from .process import check_process

PROBLEM_FOUND = 1
TIMEOUT_SECONDS = 10.0

_EPILOG = """\
The client that evaluates the AI Config sends nothing. Only --send-event sends something: one custom event with the
name "ldai-doctor" of an anonymous context, which does not count in the metrics of any AI Config.

exit status:
  0  no problem; there may be warnings
  1  a problem was found
  2  the command could not run
"""


def add_to(commands: Any) -> None:
    """Add the command to ``ldai``."""
    parser = commands.add_parser(
        "doctor",
        help="find out why nothing arrives",
        description="Find out why AI Configs or their metrics do not arrive. Set the variables of your application.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=run)
    parser.add_argument("config_key", nargs="?", metavar="KEY", help="key of an AI Config to check")
    who = parser.add_mutually_exclusive_group()
    who.add_argument("--context-key", metavar="KEY", help="evaluate for the user with this key")
    who.add_argument("--context", type=_parse_context, metavar="JSON", help='evaluate for {"kind": "user", "key": …}')
    parser.add_argument("--send-event", action="store_true", help="send one event, and check that it is accepted")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    """Run all checks in order and print the findings."""
    ld_context = args.context or Context.create(args.context_key or "ldai-doctor")
    if not ld_context.valid:
        return fail(f"the context cannot be used: {ld_context.error}")
    found = []
    for finding in _check_all(args, ld_context):
        found.append(finding)
        if not args.json:
            print_finding(finding)
    if args.json:
        print(json.dumps([finding.to_json() for finding in found], indent=2))
    return PROBLEM_FOUND if any(finding.level == "problem" for finding in found) else 0


def _parse_context(text: str) -> Context:
    try:
        return Context.from_dict(json.loads(text))
    except Exception as problem:  # ldclient raises a bare Exception
        raise argparse.ArgumentTypeError(f"{text!r} is not a context: {problem}") from None


def _check_all(args: argparse.Namespace, ld_context: Context) -> Iterator[Finding]:
    yield from check_process(os.environ, Path.cwd())
    target, findings = find_target(os.environ)
    yield from findings
    if target is None:
        return
    yield from check_key(target)
    yield from check_hosts(target)
    yield from _check_ai_config(target, args.config_key, ld_context)
    yield from find_warnings(target)
    if not target.sends_events:
        yield skipped("event", "AI Configs come from a file: no events are sent", "set a key to report runs")
    elif args.send_event:
        yield check_event(target)
    else:
        yield skipped("event", "none was sent", "give --send-event to send one, which does not count in any metrics")


def _check_ai_config(target: Target, config_key: str | None, ld_context: Context) -> Iterator[Finding]:
    with connect(target, timeout=TIMEOUT_SECONDS) as (client, finding):
        yield finding
        if config_key is None:
            yield skipped("AI Config", "none was checked", "give the key of one: ldai doctor KEY --context-key USER")
        elif finding.level == "problem":
            yield skipped("AI Config", "LaunchDarkly is not connected", "do what the line above says, and try again")
        else:
            yield from check_config(client, config_key, ld_context)
