"""The code on the pages can be copied: it has every name that it uses, and a type checker knows its types."""

from __future__ import annotations

import ast
import builtins
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from .conftest import DOCS, ROOT

PAGES = [ROOT / "README.md", *sorted(DOCS.glob("*.md"))]
#: The first line of the only excerpt. The quickstart has the whole application.
EXCERPT = '@app.post("/chat")'


def blocks(page: Path) -> Iterator[ast.Module]:
    """Yield the blocks of Python code on a page, without the excerpt."""
    for code in re.findall(r"^```python\n(.*?)^```$", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL):
        if not code.startswith(EXCERPT):
            yield ast.parse(code)


def undefined(tree: ast.Module) -> set[str]:
    """Return the names that a module uses, and neither defines nor imports anywhere."""
    used: set[str] = set()
    known = set(dir(builtins)) | {"__name__"}
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            (used if isinstance(node.ctx, ast.Load) else known).add(node.id)
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            known.add(node.name)
        elif isinstance(node, ast.arg):
            known.add(node.arg)
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            known |= {(name.asname or name.name).partition(".")[0] for name in node.names}
    return used - known


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_name_is_defined(page: Path) -> None:
    """A block imports and defines what it uses, so that it works when it is copied."""
    assert [found for found in map(undefined, blocks(page)) if found] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_functions_with_parameters_have_a_name(page: Path) -> None:
    """``on_disabled`` and tools are functions, because a type checker cannot know the parameters of such a lambda."""
    for tree in blocks(page):
        values = [node.value for node in ast.walk(tree) if isinstance(node, ast.keyword) and node.arg == "on_disabled"]
        values += [value for node in ast.walk(tree) if isinstance(node, ast.Dict) for value in node.values]
        assert not any(isinstance(value, ast.Lambda) and value.args.args for value in values)
