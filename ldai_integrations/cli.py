"""The ``ldai`` command."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from ._cli import dev, doctor, encodings, metrics


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        argv: The arguments; ``None`` uses those of the process.

    Returns:
        Exit status 0 for success, 1 if a check found something, or 2 if the command could not run.
    """
    args = _parser().parse_args(argv)
    status: int = args.run(args)
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="ldai", description="Run, check and measure LaunchDarkly AI Configs from the command line."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for command in (dev, metrics, doctor, encodings):
        command.add_to(commands)
    return parser
