"""pyright accepts what users write, and knows every type in it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from importlib.metadata import distributions
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = {
    "ldai_integrations.frameworks.adk": "google.adk",
    "ldai_integrations.frameworks.pydantic_ai": "pydantic_ai",
    "ldai_integrations.frameworks.strands": "strands",
}
CHECKED = [str(ROOT / "tests" / "typing" / name) for name in ("calls.py", "decorated.py", "middleware.py")]
APPS = sorted((ROOT / "tests" / "typing" / "apps").glob("[a-z]*.py"))
# Django's types are in a package of their own.
if not any(found.name == "django-stubs" for found in distributions()):
    APPS = [path for path in APPS if path.name != "django_app.py"]

for _package in ("anthropic", "django", "fastapi", "flask", "openai", "starlette"):  # which the files import
    pytest.importorskip(_package)

pytestmark = pytest.mark.timeout(300)


def run_pyright(*arguments: str) -> dict[str, Any]:
    """Run pyright with this Python's packages, and return its report."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    command = shutil.which("pyright", path=path)
    if command is None:
        pytest.skip("pyright is not installed")
    environ = {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT)}
    # Its first start downloads the program from npm.
    if subprocess.run([command, "--version"], cwd=ROOT, env=environ, capture_output=True).returncode:
        pytest.skip("pyright does not start; its first start needs a network")
    done = subprocess.run([command, "--outputjson", *arguments], cwd=ROOT, env=environ, capture_output=True, text=True)
    report: dict[str, Any] = json.loads(done.stdout)
    return report


def test_pyright() -> None:
    """pyright accepts the files."""
    assert run_pyright(*CHECKED)["generalDiagnostics"] == []


def test_all_public_types_are_known() -> None:
    """Every public name has a complete type, so that an editor shows it."""
    report = run_pyright("--verifytypes", "ldai_integrations", "--ignoreexternal")["typeCompleteness"]

    unknown = [symbol["name"] for symbol in report["symbols"] if symbol["isExported"] and not symbol["isTypeKnown"]]
    # The bases of these classes are those of frameworks, which have an environment of their own.
    foreign = [name for name in unknown if not find_spec(PACKAGES.get(name.rpartition(".")[0], "pytest"))]
    assert report["packageRootDirectory"] == str(ROOT / "ldai_integrations")
    assert [name for name in unknown if name not in foreign] == []
    assert report["completenessScore"] == 1 or foreign


def test_applications() -> None:
    """pyright accepts the applications in its strict mode, which reports every unknown type."""
    report = run_pyright(*map(str, APPS))

    assert report["summary"]["filesAnalyzed"] == len(APPS)
    assert [(found["file"], found["message"]) for found in report["generalDiagnostics"]] == []
