"""``ldai demo``: run the example apps as real processes, send requests to them, and check every reported figure.

It needs no account and no key. With ``--live``, the apps use LaunchDarkly and OpenAI.
"""

from __future__ import annotations

import argparse
import os
import sys
from typing import Any

from ldai_integrations._cli.terminal import CLOSED_PIPE_LINE, fail

_EPILOG = f"""\
exit status:
  0    every figure agrees; Ctrl-C after that is the normal end
  1    a figure differs, or a process did not start
  2    the command could not run
  130  Ctrl-C or SIGTERM came before all figures were compared
{CLOSED_PIPE_LINE}
"""


def add_to(commands: Any) -> None:
    """Add the command to ``ldai``."""
    parser = commands.add_parser(
        "demo",
        help="see it work: example apps, requests, and every figure compared",
        description="Start a Flask app, a FastAPI app, a model server and the dev server, send\n"
        "requests, and compare every reported figure with what was sent.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=run)
    parser.add_argument(
        "--serve",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="keep everything running until Ctrl-C, or end after the check; by default it runs on if it is started in"
        " a terminal",
    )
    parser.add_argument(
        "--live",
        action="store_true",
        help="use LaunchDarkly and OpenAI, with LAUNCHDARKLY_SDK_KEY and OPENAI_API_KEY. OpenAI bills the requests, and"
        " the figures are not compared, because an SDK key cannot read them",
    )


def run(args: argparse.Namespace) -> int:
    """Run the demo."""
    try:
        from .demonstrate import demonstrate
    except ImportError as missing:
        return fail(f"{missing.name} is not installed: pip install 'ldai-integrations[dev]'")
    missing_keys = [name for name in ("LAUNCHDARKLY_SDK_KEY", "OPENAI_API_KEY") if not os.environ.get(name)]
    if args.live and missing_keys:
        return fail(f"--live needs {' and '.join(missing_keys)}")
    serve = sys.stdin.isatty() and sys.stdout.isatty() if args.serve is None else args.serve
    return demonstrate(serve=serve, live=args.live)
