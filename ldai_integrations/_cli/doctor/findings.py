"""The findings of the doctor."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from functools import partial
from typing import Literal

from ..._diagnostics import escape
from ..terminal import rich_console

_STYLES = {"ok": "green", "skipped": "dim", "warning": "yellow", "problem": "red"}

Level = Literal["ok", "skipped", "warning", "problem"]


@dataclass(frozen=True)
class Finding:
    """The result of one check.

    Attributes:
        level: ``ok``; ``skipped`` (not checked, with the reason); ``warning`` (often a mistake); ``problem`` (does not
            work).
        about: The subject of the check.
        text: The result; never contains a secret.
        remedy: What to do; empty if it is ok.
    """

    level: Level
    about: str
    text: str
    remedy: str = ""

    def __str__(self) -> str:
        line = f"{self.level:<8} {self.about}: {self.text}"
        return f"{line}\n{'':<8} → {self.remedy}" if self.remedy else line


ok = partial(Finding, "ok")
skipped = partial(Finding, "skipped")
warning = partial(Finding, "warning")
problem = partial(Finding, "problem")


def print_finding(finding: Finding) -> None:
    """Print a finding: in colour if there is a terminal, and as wide as that; otherwise as plain lines."""
    finding = Finding(finding.level, *map(escape, (finding.about, finding.text, finding.remedy)))
    console = rich_console(sys.stdout)
    if console is None:
        print(finding, flush=True)
        return
    from rich.table import Table
    from rich.text import Text

    line = Table.grid(padding=(0, 1))
    line.add_column(width=8)
    line.add_column(overflow="fold")
    text = Text.assemble((f"{finding.about}: ", "bold"), finding.text)
    line.add_row(Text(finding.level, style=_STYLES[finding.level]), text)
    if finding.remedy:
        line.add_row("", Text(f"→ {finding.remedy}", style=_STYLES[finding.level]))
    console.print(line, highlight=False)
