"""The layers of the package: who may import whom, and no module that imports itself through others."""

from __future__ import annotations

import ast
import shutil
import subprocess
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = "ldai_integrations"

PLANTED = {
    "upward": ("usage/_planted.py", "from .. import asgi as asgi"),
    "sideways": ("sinks/_planted.py", "from .. import delivery as delivery"),
    "integration to integration": ("asgi.py", "from . import wsgi as wsgi"),
    "for types only": (
        "sinks/_planted.py",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from .. import delivery as delivery",
    ),
    "out of the dev server": ("devserver/_planted.py", "from .. import usage as usage"),
}


def find_imports(root: Path) -> dict[str, set[str]]:
    """Return the modules of the package that each of its modules imports.

    Imports for type checking and imports within functions count.
    """
    paths = {}
    for path in (root / PACKAGE).rglob("*.py"):
        parts = path.relative_to(root).with_suffix("").parts
        paths[parts[:-1] if parts[-1] == "__init__" else parts] = path
    found: dict[str, set[str]] = {}
    for module, path in paths.items():
        package = module if path.name == "__init__.py" else module[:-1]
        imported = found[".".join(module)] = set()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                targets = [tuple(alias.name.split(".")) for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                start = package[: len(package) - node.level + 1] if node.level else ()
                source = (*start, *(node.module.split(".") if node.module else ()))
                submodules = [(*source, alias.name) for alias in node.names]
                targets = [submodule if submodule in paths else source for submodule in submodules]
            else:
                continue
            imported.update(".".join(target) for target in targets if target in paths and target != module)
    return found


def find_cycle(imports: dict[str, set[str]]) -> list[str]:
    """Return modules that import each other in a circle, the first one twice; an empty list if there are none."""
    try:
        TopologicalSorter(imports).prepare()
    except CycleError as error:
        cycle: list[str] = error.args[1]
        return cycle
    return []


def test_no_module_imports_itself_through_others() -> None:
    """There is no import cycle, in packages neither, nor through imports for type checking or within functions."""
    assert find_cycle(find_imports(ROOT)) == []


@pytest.mark.parametrize(
    "line",
    [
        "from .b import x",
        "from . import b",
        "import ldai_integrations.b",
        "if TYPE_CHECKING:\n    from .b import x",
        "def f():\n    from .b import x",
    ],
)
def test_a_planted_cycle_is_found(tmp_path: Path, line: str) -> None:
    """However a module imports another one that imports it, the two are named."""
    package = tmp_path / PACKAGE
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "a.py").write_text(line)
    (package / "b.py").write_text("from .a import y")
    (package / "c.py").write_text("from .a import y")

    assert set(find_cycle(find_imports(tmp_path))) == {f"{PACKAGE}.a", f"{PACKAGE}.b"}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Copy the package and its rules."""
    pytest.importorskip("importlinter", reason="import-linter comes with the extra [lint]")
    shutil.copytree(ROOT / PACKAGE, tmp_path / PACKAGE, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "setup.cfg", tmp_path)
    return tmp_path


def lint(tree: Path) -> subprocess.CompletedProcess[str]:
    """Check the rules on a tree."""
    program = "import sys; sys.path.insert(0, '.'); from importlinter.cli import lint_imports; sys.exit(lint_imports())"
    command = [sys.executable, "-c", program]
    return subprocess.run(command, cwd=tree, capture_output=True, text=True, timeout=60, check=False)


def test_the_package_keeps_the_rules(tree: Path) -> None:
    """No module imports one of a higher layer, or of another package in the same layer."""
    done = lint(tree)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("where", PLANTED)
def test_a_planted_import_is_found(tree: Path, where: str) -> None:
    """An import that breaks a rule fails the check, which names it."""
    name, line = PLANTED[where]
    path = tree / PACKAGE / name
    before = path.read_text() if path.exists() else ""
    path.write_text(f"{before}\n{line}\n")

    done = lint(tree)
    assert done.returncode != 0
    assert "BROKEN" in done.stdout
