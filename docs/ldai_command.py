"""The parser of the ``ldai`` command, for the reference."""

import argparse
from unittest.mock import patch

from ldai_integrations.cli import main


def parser() -> argparse.ArgumentParser:
    """Return the parser that the command makes, and would parse with."""
    made = []

    def keep(parser: argparse.ArgumentParser, _argv: list[str]) -> argparse.Namespace:
        made.append(parser)
        return argparse.Namespace(run=lambda _args: 0)

    with patch.object(argparse.ArgumentParser, "parse_args", keep):
        main([])
    return made[0]
