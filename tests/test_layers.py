"""The rules about who may import whom are in force."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("importlinter", reason="import-linter comes with the extra [lint]")

ROOT = Path(__file__).parents[1]

PLANTED = {
    "upward": ("usage/_planted.py", "from .._core import run as run"),
    "sideways": ("sinks/_planted.py", "from .. import delivery as delivery"),
    "door to door": ("asgi.py", "from . import wsgi as wsgi"),
    "out of the dev server": ("devserver/_planted.py", "from .. import usage as usage"),
}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Copy the package and its rules."""
    shutil.copytree(ROOT / "ldai_integrations", tmp_path / "ldai_integrations")
    shutil.copy(ROOT / "setup.cfg", tmp_path)
    return tmp_path


def lint(tree: Path) -> subprocess.CompletedProcess[str]:
    """Check the rules on a tree."""
    program = "import sys; sys.path.insert(0, '.'); from importlinter.cli import lint_imports; sys.exit(lint_imports())"
    command = [sys.executable, "-c", program]
    return subprocess.run(command, cwd=tree, capture_output=True, text=True, timeout=60, check=False)


def test_the_tree_keeps_the_rules(tree: Path) -> None:
    """As it stands, no room imports upwards or sideways."""
    assert lint(tree).returncode == 0


@pytest.mark.parametrize("where", PLANTED)
def test_a_planted_import_is_found(tree: Path, where: str) -> None:
    """An import that breaks a rule fails the check, which names it."""
    name, line = PLANTED[where]
    path = tree / "ldai_integrations" / name
    before = path.read_text() if path.exists() else ""
    path.write_text(f"{before}\n{line}\n")

    done = lint(tree)
    assert done.returncode != 0
    assert "BROKEN" in done.stdout
