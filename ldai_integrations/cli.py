"""The ``ldai`` command."""

from __future__ import annotations

import argparse
import errno
import os
import sys
from collections.abc import Sequence

from ._cli import completion, dev, doctor, encodings, init, metrics, pull
from ._cli.terminal import fail
from ._example_apps import demo
from ._version import __version__

# The status of a program that SIGPIPE ends, as shells report it.
_CLOSED_PIPE = 141


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        argv: The arguments; ``None`` uses those of the process.

    Returns:
        Exit status 0 for success, 1 if a check found something, 2 if the command could not run, or 141 if nobody reads
        its output to the end.
    """
    parser = _parser()
    completion.complete(parser)
    try:
        try:
            args = parser.parse_args(argv)
            status: int = args.run(args)
        finally:
            sys.stdout.flush()  # also after --help, which ends the process
    except BrokenPipeError:  # the reader, such as head, has read enough
        _forget_output()
        return _CLOSED_PIPE
    except OSError as problem:
        if problem.filename is not None or problem.errno != errno.ENOSPC:
            raise
        _forget_output()
        return fail(f"standard output cannot be written: {problem.strerror}")
    return status


def _forget_output() -> None:
    """Send what is still to be written nowhere. Otherwise the interpreter tries it again when it ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="ldai", description="Run, check and measure LaunchDarkly AI Configs from the command line."
    )
    parser.add_argument("--version", action="version", version=f"ldai-integrations {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for command in (demo, init, pull, dev, metrics, doctor, encodings, completion):
        command.add_to(commands)
    return parser
