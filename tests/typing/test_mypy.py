"""mypy accepts what users write, and the library itself.

These tests are a file of their own, which one process runs: the second finds what the first has put into mypy's cache.
"""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

for _package in ("anthropic", "django", "flask", "openai", "starlette"):  # which the files import
    pytest.importorskip(_package)

# Without a cache, the libraries that the files import are checked as well.
pytestmark = pytest.mark.timeout(300)


def test_mypy(monkeypatch: pytest.MonkeyPatch) -> None:
    """mypy accepts the library, its tests, and the applications in its strict mode."""
    api = pytest.importorskip("mypy.api")
    monkeypatch.chdir(ROOT)

    output, errors, status = api.run([])

    assert (status, errors) == (0, ""), output


def test_the_judge_of_the_page(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """mypy accepts the function for a judge in docs/judges.md in its strict mode."""
    api = pytest.importorskip("mypy.api")
    page = (ROOT / "docs" / "judges.md").read_text(encoding="utf-8")
    path = tmp_path / "page.py"
    path.write_text(page.split("```python\n")[1].split("```")[0], encoding="utf-8")
    monkeypatch.chdir(ROOT)

    output, errors, status = api.run([str(path)])

    assert (status, errors) == (0, ""), output
