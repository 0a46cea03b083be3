"""SECURITY.md names, for each threat, a test that exists."""

from __future__ import annotations

import re

import pytest

from .conftest import ROOT

ROWS = re.findall(
    r"^\| (?!threat|---)(.*?) \|.*\| (.*?) \|$", (ROOT / "SECURITY.md").read_text(encoding="utf-8"), re.MULTILINE
)


def test_there_are_threats() -> None:
    """The tables can be read."""
    assert len(ROWS) > 20


@pytest.mark.parametrize(("threat", "tests"), ROWS)
def test_each_threat_names_its_tests(threat: str, tests: str) -> None:
    """The last column has the names of tests, which the named files define."""
    names = re.findall(r"`(tests/[\w/]+\.py)::(test_\w+)`", tests)
    assert names, threat
    for path, name in names:
        assert f"def {name}(" in (ROOT / path).read_text(encoding="utf-8"), name
