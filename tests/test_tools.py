"""The tools of contributors and of CI agree with each other."""

from __future__ import annotations

import configparser
import re
from pathlib import Path

ROOT = Path(__file__).parents[1]


def read(name: str) -> str:
    """Return the text of a file of the project."""
    return (ROOT / name).read_text(encoding="utf-8")


def test_there_is_one_version_of_ruff() -> None:
    """pre-commit formats with the version that the lint environment checks with."""
    assert re.findall(r"ruff==[\d.]+", read(".pre-commit-config.yaml")) == re.findall(
        r"ruff==[\d.]+", read("setup.cfg")
    )


def test_every_long_suite_runs_in_ci() -> None:
    """The tests that a plain pytest leaves out are run by an environment of tox, and CI runs each of these."""
    config, tox = configparser.ConfigParser(), configparser.ConfigParser(interpolation=None)
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    tox.read(ROOT / "tox.ini", encoding="utf-8")
    left_out = set(re.findall(r"not (\w+)", config["tool:pytest"]["addopts"]))
    environments = {
        name.removeprefix("testenv:"): section["commands"]
        for name, section in tox.items()
        if "-m" in section.get("commands", "") and name != "testenv:coverage" and "pytest" in section["commands"]
    }

    assert {line.partition(":")[0] for line in config["tool:pytest"]["markers"].split("\n") if line} == left_out
    assert {marker for commands in environments.values() for marker in left_out if marker in commands} == left_out
    assert [name for name in environments if f"tox run -e {name}\n" not in read(".ci/run")] == []
