"""``ldai init``: write a file with AI Configs to start from."""

from __future__ import annotations

import argparse
from importlib import resources
from pathlib import Path
from typing import Any

from .terminal import fail

#: The file that ``ldai dev`` serves if it is given none.
DEFAULT_FILE = Path("configs.json")


def add_to(commands: Any) -> None:
    """Add the command to ``ldai``."""
    parser = commands.add_parser(
        "init",
        help="write a file with AI Configs to start from",
        description="Write a file with two sample AI Configs, which `ldai dev` serves.",
    )
    parser.set_defaults(run=run)
    parser.add_argument(
        "file", type=Path, nargs="?", default=DEFAULT_FILE, metavar="FILE", help=f"default: {DEFAULT_FILE}"
    )


def run(args: argparse.Namespace) -> int:
    """Write the file, unless it exists."""
    try:
        with args.file.open("x", encoding="utf-8") as file:
            file.write(sample())
    except FileExistsError:
        return fail(f"{args.file} exists; give another name, or remove it")
    except OSError as problem:
        return fail(f"{args.file} cannot be written: {problem.strerror}")
    print(f"ldai: wrote {args.file}. Serve it: ldai dev --configs {args.file}")
    return 0


def sample() -> str:
    """Return the content of the sample file."""
    return resources.files("ldai_integrations.devserver").joinpath("sample.json").read_text(encoding="utf-8")
