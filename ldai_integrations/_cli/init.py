"""``ldai init``: write a file with AI Configs to start from."""

from __future__ import annotations

import argparse
import os
import shlex
from importlib import resources
from pathlib import Path
from typing import Any

from .._diagnostics import escape
from .._files import write_whole_file
from .terminal import fail, file_argument

#: The file that ``ldai dev`` serves if it is given none.
DEFAULT_FILE = Path("configs.json")
#: The JSON Schema to which the file refers, in the same folder.
SCHEMA = "configs.schema.json"


def add_to(commands: Any) -> None:
    """Add the command to ``ldai``."""
    parser = commands.add_parser(
        "init",
        help="write a file with AI Configs to start from",
        description="Write a commented file with sample AI Configs, which `ldai dev` serves, and its JSON Schema,"
        " with which editors complete and check it.",
    )
    parser.set_defaults(run=run)
    parser.add_argument(
        "file", type=file_argument, nargs="?", default=DEFAULT_FILE, metavar="FILE", help=f"default: {DEFAULT_FILE}"
    )
    parser.add_argument(
        "--schema", action="store_true", help=f"write {SCHEMA} only, next to FILE, for example after an update"
    )


def run(args: argparse.Namespace) -> int:
    """Write the files. One with AI Configs that exists is kept."""
    try:
        if not args.schema:
            if os.path.lexists(args.file):
                return fail(f"{args.file} exists; give another name, or remove it")
            write_whole_file(args.file, read_sample().encode())
        write_schema(args.file)
    except OSError as problem:
        return fail(f"{problem.filename} cannot be written: {problem.strerror}")
    schema = args.file.with_name(SCHEMA)
    if args.schema:
        print(escape(f"ldai: wrote {schema}"))
    else:
        print(escape(f"ldai: wrote {args.file} and {schema}. Serve it: {dev_command(args.file)}"))
    return 0


def dev_command(configs: Path) -> str:
    """Return the command for the shell that serves a file with AI Configs."""
    return f"ldai dev --configs {shlex.quote(str(configs))}"


def write_schema(configs: Path) -> None:
    """Write the JSON Schema next to a file with AI Configs."""
    write_whole_file(configs.with_name(SCHEMA), _read(SCHEMA).encode())


def read_sample() -> str:
    """Return the content of the sample file."""
    return _read("sample.json")


def _read(name: str) -> str:
    """Return a file of the dev server, whose dependencies may be missing."""
    return resources.files("ldai_integrations").joinpath("devserver", name).read_text(encoding="utf-8")
