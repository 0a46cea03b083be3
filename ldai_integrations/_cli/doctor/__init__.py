"""``ldai doctor``: find out why AI Configs or their metrics do not arrive."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from ..._files import parse_json
from ..terminal import CLOSED_PIPE_LINE, INTERRUPTED_LINE, fail, text_argument
from .findings import print_finding

if TYPE_CHECKING:
    from ldclient import Context

PROBLEM_FOUND = 1

_EPILOG = f"""\
The client that evaluates the AI Config sends nothing. Only --send-event sends
something: one custom event with the name "ldai-doctor" of an anonymous context,
which does not count in the metrics of any AI Config.

exit status:
  0    no problem; there may be warnings
  1    a problem was found
  2    the command could not run
{INTERRUPTED_LINE}
{CLOSED_PIPE_LINE}
"""


def add_to(commands: Any) -> None:
    """Add the command to ``ldai``."""
    parser = commands.add_parser(
        "doctor",
        help="find out why nothing arrives",
        description="Find out why AI Configs or their metrics do not arrive.\n"
        "Run it with the environment variables of your application.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=run)
    parser.add_argument("config_key", type=text_argument, nargs="?", metavar="KEY", help="key of an AI Config to check")
    who = parser.add_mutually_exclusive_group()
    who.add_argument("--context-key", metavar="KEY", help="evaluate for the user with this key")
    who.add_argument("--context", type=_parse_context, metavar="JSON", help='evaluate for {"kind": "user", "key": …}')
    parser.add_argument("--send-event", action="store_true", help="send one event, and check that it is accepted")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    """Run all checks in order and print the findings."""
    from ldclient import Context  # LaunchDarkly's SDK, which the other commands need not wait for

    from .checks import check_all

    given = args.context or (Context.create(args.context_key) if args.context_key is not None else None)
    ld_context = given or Context.builder("ldai-doctor").anonymous(True).build()
    if not ld_context.valid:
        return fail(f"the context cannot be used: {ld_context.error}")
    found = []
    for finding in check_all(args, ld_context, for_anyone=given is None):
        found.append(finding)
        if not args.json:
            print_finding(finding)
    if args.json:
        print(json.dumps([asdict(finding) for finding in found], indent=2))
    return PROBLEM_FOUND if any(finding.level == "problem" for finding in found) else 0


def _parse_context(text: str) -> Context:
    from ldclient import Context

    try:
        found = parse_json(text.encode())
        if not isinstance(found, dict):
            raise ValueError("it is not an object")
    except ValueError as problem:
        example = '{"kind": "user", "key": "ada"}'
        raise argparse.ArgumentTypeError(
            f"{text!r:.200} is not a context: {problem}; use a JSON object such as {example}"
        ) from None
    return Context.from_dict(found)
