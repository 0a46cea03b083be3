"""The ``ldai`` command."""

from __future__ import annotations

import argparse
import errno
import io
import os
import sys
from collections.abc import Sequence

from ._cli.terminal import CLOSED_PIPE_LINE, INTERRUPTED_LINE, fail
from ._version import __version__

# The statuses of programs that SIGPIPE and SIGINT end, as shells report them.
_CLOSED_PIPE = 141
_INTERRUPTED = 130

_EPILOG = f"""\
exit status:
  0    success
  1    a check found something
  2    the command could not run
{INTERRUPTED_LINE}; 0 where it is the normal end, as of ldai dev
{CLOSED_PIPE_LINE}
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        argv: The arguments; ``None`` uses those of the process.

    Returns:
        Exit status 0 for success, 1 if a check found something, 2 if the command could not run, 130 after Ctrl-C, or
        141 if nobody reads its output to the end.
    """
    _prepare_output()
    try:
        try:
            return _run(argv)
        finally:
            sys.stdout.flush()  # also after --help, which ends the process
    except KeyboardInterrupt:
        print("Stopped.", file=sys.stderr)
        return _INTERRUPTED
    except BrokenPipeError:  # the reader, such as head, has read enough
        _forget_output()
        return _CLOSED_PIPE
    except OSError as problem:
        if problem.filename is not None or problem.errno != errno.ENOSPC:
            raise
        _forget_output()
        return fail(f"standard output cannot be written: {problem.strerror}")


def _prepare_output() -> None:
    """Let any text be printed: in any encoding, and also if standard output or standard error is closed."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115  # it stays open
        stream = getattr(sys, name)
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _forget_output() -> None:
    """Discard what is still to be written. Otherwise the interpreter tries to write it when it ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _run(argv: Sequence[str] | None) -> int:
    from ._cli import completion

    parser = _build_parser()
    completion.complete(parser)
    args = parser.parse_args(argv)
    status: int = args.run(args)
    return status


def _build_parser() -> argparse.ArgumentParser:
    # Ctrl-C may come while these modules are imported.
    from ._cli import completion, dev, doctor, encodings, init, metrics, pull
    from ._example_apps import demo

    parser = argparse.ArgumentParser(
        prog="ldai",
        description="Run, check and measure LaunchDarkly AI Configs from the command line.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"ldai-integrations {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for command in (demo, init, pull, dev, metrics, doctor, encodings, completion):
        command.add_to(commands)
    return parser
