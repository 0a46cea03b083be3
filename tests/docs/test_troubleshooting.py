"""docs/troubleshooting.md knows every trouble that is counted and every line that is logged, and no other."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import fields

import pytest

from ldai_integrations import Stats

from .conftest import DOCS, ROOT

PAGE = (DOCS / "troubleshooting.md").read_text(encoding="utf-8")
#: Functions that count a trouble, whose name is their first argument.
COUNTING = {"note", "guard", "failed", "NoScoreError"}
#: Rooms whose words are those of a command, and not of a served application's log.
COMMANDS = {"devserver", "_cli", "cli.py", "_diagnostics.py"}
#: The name is a variable there; the page has the words of those who call it.
_ANY_SINK, _ANY_JUDGE = "_name(sink)", "exc.kind"


def calls() -> Iterator[tuple[str, ast.Call]]:
    """Give the calls in the package that count or log something, with the name of what is called."""
    package = ROOT / "ldai_integrations"
    for path in sorted(package.rglob("*.py")):
        if path.relative_to(package).parts[0] in COMMANDS:
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and node.args:
                name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
                if name in COUNTING | {"warning"}:
                    yield name, node


def text_of(node: ast.AST) -> str:
    """Return a constant text; empty for anything else."""
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


def kinds() -> set[str]:
    """Return the names under which diagnostics are counted."""
    return {text_of(node.args[0]) for name, node in calls() if name in COUNTING} - {""}


def heads() -> set[str]:
    """Return how log lines begin, with ``…`` for what is filled in, up to the first full stop, colon or semicolon.

    A line that is not written out where it is logged is left out.
    """
    position = {"note": 2, "warning": 0}
    texts = [text_of(node.args[position[name]]) for name, node in calls() if name in position]
    return {re.split(r"[.:;](?= |$)", re.sub(r"%[rsdg]", "…", text))[0] for text in texts if text}


def first_column() -> set[str]:
    """Return the diagnostics that have a row on the page."""
    tables = re.findall(r"^\| trouble \|.*\n\|[-|]+\n((?:\|.*\n)+)", PAGE, re.MULTILINE)
    cells = [row.split(" | ")[0] for table in tables for row in table.splitlines()]
    return {name for cell in cells for name in re.findall(r"`([^`]+)`", cell)}


def test_every_trouble_has_its_row() -> None:
    """What ``stats().diagnostics`` may count is in the first column, and what is there may be counted."""
    assert len(kinds()) > 40
    assert first_column() - {"sink NAME"} == kinds()


def test_names_that_are_made_up_at_run_time_are_known() -> None:
    """Only sinks and judges count under a name that is no constant; of judges each has a row of its own."""
    made = {ast.unparse(node.args[0]) for name, node in calls() if name in COUNTING and not text_of(node.args[0])}
    made = {name for name in made if not re.fullmatch(r"exc|asyncio\.\w+\(\)|subject|kind", name)}

    assert made == {_ANY_SINK, _ANY_JUDGE}


def test_every_log_line_is_on_the_page() -> None:
    """Whoever searches the page for what the log says finds it."""
    found = set(re.findall(r"(?<!`)`([^`\n]+)`(?!`)", PAGE))

    assert len(heads()) > 25
    assert sorted(heads() - found) == []


@pytest.mark.parametrize(
    "reason", ["spool_full", "inbox_full", "too_large", "malformed", "unserialisable", "closed", "fork"]
)
def test_every_reason_for_losing_an_event_is_on_the_page(reason: str) -> None:
    """The reasons are those of ``Stats.dropped``, and have a row each."""
    assert re.search(rf"^\| (`\w+`, )?`{reason}`", PAGE, re.MULTILINE)
    assert f'``"{reason}"``' in (Stats.__doc__ or "")


def test_the_fields_of_stats_are_on_the_page() -> None:
    """Each thing that ``stats()`` tells is named."""
    assert [item.name for item in fields(Stats) if f"`{item.name}`" not in PAGE and item.name != "diagnostics"] == []
