"""The ``ldai encodings`` commands: list and download the files for counting tokens."""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from ..exceptions import ConfigurationError
from .terminal import number_argument, rich_console, tell

_DEFAULT_TIMEOUT = 120.0
SECONDS = number_argument(
    float, lambda seconds: 0 < seconds <= 86_400, "a number of seconds, more than 0 and at most a day"
)


def add_to(commands: Any) -> None:
    """Add the commands to ``ldai``."""
    encodings = commands.add_parser(
        "encodings",
        help="manage the files with which tokens are counted",
        description="List and download the files for counting tokens.",
    )
    actions = encodings.add_subparsers(required=True, metavar="COMMAND")
    listing = actions.add_parser("list", help="show the paths of the files; status 1 if one is missing")
    listing.set_defaults(run=_list)
    fetching = actions.add_parser("prefetch", help="download the missing files")
    fetching.set_defaults(run=_prefetch)
    fetching.add_argument(
        "--timeout",
        type=SECONDS,
        default=_DEFAULT_TIMEOUT,
        metavar="SECONDS",
        help="maximum time for all files, default %(default)g",
    )
    for action in (listing, fetching):
        action.add_argument(
            "--dir", type=Path, metavar="DIRECTORY", help="their directory; default: the one that tiktoken uses"
        )


def _list(args: argparse.Namespace) -> int:
    from ..usage import encoding_files  # and with it tiktoken, which the other commands need not wait for

    files = encoding_files(args.dir)
    for name, path in files.items():
        print(f"{name:<12}  {path or 'not on this machine'}")
    return 0 if all(files.values()) else 1


def _prefetch(args: argparse.Namespace) -> int:
    from ..usage import prefetch

    try:
        with _show_downloads() as progress:
            written = prefetch(timeout=args.timeout, progress=progress, directory=args.dir)
    except (ConfigurationError, OSError) as problem:
        tell(str(problem))
        return 1
    for path in written:
        print(f"wrote {path}")
    if not written:
        print("All files are already on this machine.")
    return 0


@contextlib.contextmanager
def _show_downloads() -> Iterator[Callable[[str, int, int], None] | None]:
    """Show a bar for each file on standard error, if it is a terminal and rich is installed."""
    console = rich_console(sys.stderr)
    if console is None:
        yield None
        return
    from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn, TransferSpeedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=console) as bar:
        tasks: dict[str, TaskID] = {}

        def update(name: str, done: int, size: int) -> None:
            if name not in tasks:
                tasks[name] = bar.add_task(name, total=size or None)
            bar.update(tasks[name], completed=done)

        yield update
