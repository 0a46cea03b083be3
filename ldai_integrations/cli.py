"""The ``ldai`` command."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from ._cli import dev, doctor, encodings, metrics

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        argv: The arguments; ``None`` takes those of the process.

    Returns:
        Exit status 0, 2 where the command could not run, or 1 where it found what it was to look for.
    """
    args = _parser().parse_args(argv)
    status: int = args.run(args)
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="ldai", description="Work with LaunchDarkly AI Configs on this machine.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for command in (dev, metrics, doctor, encodings):
        command.add_to(commands)
    return parser
