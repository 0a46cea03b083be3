"""What people write and read: arguments, messages, consoles of rich and progress bars."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TextIO, TypeVar

from .._diagnostics import escape

if TYPE_CHECKING:
    from rich.console import Console

T = TypeVar("T")

COULD_NOT_RUN = 2

# The lines about statuses that any command may have, for the list in its help.
INTERRUPTED_LINE = "  130  Ctrl-C ended the command"
CLOSED_PIPE_LINE = "  141  the reader of the output, such as head, closed the pipe before the end"

OnProgress = Callable[[int, int], object]


def number_argument(convert: Callable[[str], T], accepts: Callable[[T], bool], what: str) -> Callable[[str], T]:
    """Return the type of an argument that is a number, for ``argparse``.

    Args:
        convert: Reads the number, or raises ValueError.
        accepts: Returns whether it is in its range.
        what: What the argument is, and its range.
    """

    def parse(text: str) -> T:
        try:
            found = convert(text)
            if accepts(found):
                return found
        except ValueError:
            pass
        raise argparse.ArgumentTypeError(f"{text!r} is not {what}")

    return parse


def is_utf_8(given: str) -> bool:
    """Return whether a text of the command line or of the environment has no bytes that are not UTF-8."""
    return not any("\ud800" <= char <= "\udfff" for char in given)


def text_argument(given: str) -> str:
    """Check an argument that is a text, for ``argparse``."""
    if not given.strip():
        raise argparse.ArgumentTypeError("must not be empty")
    if not is_utf_8(given):
        raise argparse.ArgumentTypeError(f"{given!r} is not text in UTF-8")
    return given


def file_argument(given: str) -> Path:
    """Check an argument that is the path of a file, for ``argparse``. It may have any bytes."""
    if not given:
        raise argparse.ArgumentTypeError("must not be empty")
    return Path(given)


def tell(message: str) -> None:
    """Print a message on standard error, as one line."""
    print(f"ldai: {escape(message)}", file=sys.stderr)


def fail(message: str) -> int:
    """Print why a command could not run, and return its exit status."""
    tell(message)
    return COULD_NOT_RUN


def rich_console(stream: TextIO) -> Console | None:
    """Return a console of rich for a stream; ``None`` if it is not a terminal, or if rich is not installed."""
    if not stream.isatty():
        return None
    try:
        from rich.console import Console
    except ImportError:
        return None
    return Console(file=stream)


@contextmanager
def show_progress(name: str) -> Iterator[OnProgress | None]:
    """Show a bar on standard error while requests are made, if it is a terminal and rich is installed."""
    console = rich_console(sys.stderr)
    if console is None:
        yield None
        return
    from rich.progress import Progress

    with Progress(console=console, transient=True) as bar:
        task = bar.add_task(name, total=None, visible=False)
        yield lambda done, total: bar.update(task, completed=done, total=total, visible=total > 1)
