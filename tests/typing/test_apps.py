"""Type checkers know every type in the applications of users."""

from __future__ import annotations

from importlib.metadata import distributions

import pytest

from .test_typing import ROOT, run_pyright

APPS = sorted((ROOT / "tests" / "typing" / "apps").glob("[a-z]*.py"))
# Django's types are in a package of their own.
if not any(found.name == "django-stubs" for found in distributions()):
    APPS = [path for path in APPS if path.name != "django_app.py"]

for _package in ("django", "fastapi", "flask", "openai"):  # which the applications import
    pytest.importorskip(_package)

pytestmark = pytest.mark.timeout(300)


def test_pyright() -> None:
    """pyright accepts the applications in its strict mode, which reports every unknown type."""
    report = run_pyright(*map(str, APPS))

    assert report["summary"]["filesAnalyzed"] == len(APPS)
    assert [(found["file"], found["message"]) for found in report["generalDiagnostics"]] == []
