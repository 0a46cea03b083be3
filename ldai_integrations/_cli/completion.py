"""``ldai completion``: print the code with which a shell completes ``ldai``."""

from __future__ import annotations

import argparse
import os
from typing import Any

from .terminal import fail

_EPILOG = """\
bash:  echo 'eval "$(ldai completion bash)"' >> ~/.bashrc
zsh:   echo 'eval "$(ldai completion zsh)"' >> ~/.zshrc      (after compinit)
fish:  ldai completion fish > ~/.config/fish/completions/ldai.fish
"""


def add_to(commands: Any) -> None:
    """Add the command to ``ldai``."""
    parser = commands.add_parser(
        "completion",
        help="complete ldai in your shell",
        description="Print the code with which a shell completes the commands and options of ldai.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=run)
    parser.add_argument("shell", choices=["bash", "zsh", "fish"], help="your shell")


def run(args: argparse.Namespace) -> int:
    """Print the code."""
    try:
        from argcomplete.shell_integration import shellcode
    except ImportError:
        return fail("argcomplete is not installed: pip install 'ldai-integrations[cli]'")
    print(shellcode(["ldai"], shell=args.shell))
    return 0


def complete(parser: argparse.ArgumentParser) -> None:
    """Answer a shell that asks for completions, and end the process; otherwise do nothing."""
    if "_ARGCOMPLETE" in os.environ:
        import argcomplete

        argcomplete.autocomplete(parser)
