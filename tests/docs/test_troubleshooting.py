"""docs/troubleshooting.md lists every diagnostic and every log line, and no others."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import fields

import pytest

from ldai_integrations import Stats

from .conftest import DOCS, ROOT

PAGE = (DOCS / "troubleshooting.md").read_text(encoding="utf-8")
#: Functions that count a diagnostic, whose name is their first argument.
COUNTING = {"note", "guard", "failed", "NoScoreError"}
#: Modules whose log lines belong to a command, and not to a served application.
COMMANDS = {"devserver", "_cli", "cli.py", "_diagnostics.py"}
#: Diagnostics whose name is computed.
_ANY_SINK, _ANY_JUDGE = "_name_of(sink)", "exc.kind"


def calls() -> Iterator[tuple[str, ast.Call]]:
    """Yield the calls in the package that count or log something, with the name of the function."""
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
    """Return the value of a constant text; empty for anything else."""
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


def kinds() -> set[str]:
    """Return the names of all diagnostics."""
    return {text_of(node.args[0]) for name, node in calls() if name in COUNTING} - {""}


def heads() -> set[str]:
    """Return the beginnings of log lines, up to the first full stop, colon or semicolon.

    ``…`` stands for a value. Lines that are not written where they are logged, or begin with a value, are left out.
    """
    position = {"note": 2, "warning": 0}
    texts = [text_of(node.args[position[name]]) for name, node in calls() if name in position]
    return {re.split(r"[.:;](?= |$)", re.sub(r"%[rsdg]", "…", text))[0] for text in texts if text} - {"…"}


def rows() -> list[tuple[str, str]]:
    """Return the log lines and the diagnostics of each row."""
    tables = re.findall(r"^\| log line \| diagnostic \|.*\n\|[-|]+\n((?:\|.*\n)+)", PAGE, re.MULTILINE)
    cells = [row.removeprefix("| ").split(" | ") for table in tables for row in table.splitlines()]
    return [(lines, diagnostics) for lines, diagnostics, *_ in cells]


def diagnostics() -> set[str]:
    """Return the diagnostics that have a row on the page."""
    return {name for _, cell in rows() for name in re.findall(r"`([^`]+)`", cell)}


def test_every_diagnostic_has_a_row() -> None:
    """Each diagnostic that ``stats().diagnostics`` can count has a row."""
    assert len(kinds()) > 40
    assert sorted(kinds() - diagnostics()) == []


def test_every_row_is_a_diagnostic() -> None:
    """Each diagnostic on the page can be counted."""
    assert sorted(diagnostics() - {"sink NAME"} - kinds()) == []


def test_rows_of_a_diagnostic_are_together() -> None:
    """A reader who knows the name only, as from ``ldai doctor``, finds all of its rows in one place."""
    cells = [cell for _, cell in rows()]
    blocks = [cell for cell, before in zip(cells, ["", *cells], strict=False) if cell != before]

    assert len(cells) > 60
    assert sorted(blocks) == sorted(set(blocks))


def test_computed_names_are_known() -> None:
    """Only the diagnostics of sinks and judges have computed names. Each one of judges has a row."""
    made = {ast.unparse(node.args[0]) for name, node in calls() if name in COUNTING and not text_of(node.args[0])}
    made = {name for name in made if not re.fullmatch(r"exc|asyncio\.\w+\(\)|subject|kind", name)}

    assert made == {_ANY_SINK, _ANY_JUDGE}


def test_every_log_line_is_on_the_page() -> None:
    """A reader who searches the page for a log line finds it."""
    found = set(re.findall(r"(?<!`)`([^`\n]+)`(?!`)", PAGE))

    assert len(heads()) > 25
    assert sorted(heads() - found) == []


@pytest.mark.parametrize(
    "reason", ["spool_full", "inbox_full", "too_large", "malformed", "unserialisable", "closed", "fork"]
)
def test_every_reason_for_losing_an_event_is_on_the_page(reason: str) -> None:
    """Each reason in ``Stats.dropped`` has a row."""
    assert re.search(rf"^\| (`\w+`, )?`{reason}`", PAGE, re.MULTILINE)
    assert f'``"{reason}"``' in (Stats.__doc__ or "")


def test_the_fields_of_stats_are_on_the_page() -> None:
    """Each field of ``Stats`` is on the page."""
    assert [item.name for item in fields(Stats) if f"`{item.name}`" not in PAGE and item.name != "diagnostics"] == []
