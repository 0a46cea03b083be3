"""The tools of contributors and of CI agree with each other."""

from __future__ import annotations

import configparser
import re
import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def read(name: str) -> str:
    """Return the text of a file of the project."""
    return (ROOT / name).read_text(encoding="utf-8")


@pytest.mark.parametrize("tool", ["ruff", "codespell"])
def test_there_is_one_version_of_a_tool(tool: str) -> None:
    """pre-commit checks with the version that the lint environment checks with."""
    pinned = rf"{tool}==[\d.]+"
    assert re.findall(pinned, read(".pre-commit-config.yaml")) == re.findall(pinned, read("setup.cfg"))


def test_all_includes_every_extra_for_users() -> None:
    """``[all]`` installs what each extra for users installs."""
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    extras = {name: set(text.split("\n")) for name, text in config["options.extras_require"].items()}
    ours = {"all", "clients", "docs", "frameworks", "lint", "servers"}
    for_users = {name for name in extras if name not in ours and not name.endswith("tests")}

    assert {"agentcontrol", "flask", "judges", "starlette"} <= for_users
    assert [name for name in sorted(for_users) if not extras[name] <= extras["all"]] == []


def test_a_release_has_whole_addresses(tmp_path: Path) -> None:
    """Before a release, each link of README.md becomes an address that also works on PyPI."""
    for name in ("README.md", "setup.cfg"):
        (tmp_path / name).write_text(read(name), encoding="utf-8")
    script = runpy.run_path(str(ROOT / ".github" / "addresses.py"))
    script["write_addresses"](tmp_path, "https://example.org/owner/name", "v1")
    readme = (tmp_path / "README.md").read_text(encoding="utf-8")
    targets = re.findall(r"\]\((\S+?)\)|^\[[^\]]+\]: (\S+)$", readme, re.MULTILINE)
    config = configparser.ConfigParser(interpolation=None)
    config.read(tmp_path / "setup.cfg", encoding="utf-8")

    assert [target for pair in targets for target in pair if target and not target.startswith(("https://", "#"))] == []
    assert "https://example.org/owner/name/blob/v1/docs/flask.md" in readme
    assert "https://example.org/owner/name/raw/v1/docs/images/page.png" in readme
    assert "\ngit clone https://example.org/owner/name ldai-integrations && cd ldai-integrations\n" in readme
    assert "Source = https://example.org/owner/name\n" in config["metadata"]["project_urls"]


def test_a_release_without_an_address_fails(tmp_path: Path) -> None:
    """If README.md has no place for the command that clones the repository, no release is built."""
    text = read("README.md").replace("# a clone of this repository", "")
    (tmp_path / "README.md").write_text(text, encoding="utf-8")
    (tmp_path / "setup.cfg").write_text(read("setup.cfg"), encoding="utf-8")
    script = runpy.run_path(str(ROOT / ".github" / "addresses.py"))

    with pytest.raises(ValueError, match="a clone"):
        script["write_addresses"](tmp_path, "https://example.org/owner/name", "v1")


def test_every_long_suite_runs_in_ci() -> None:
    """The tests that a plain pytest leaves out are run by an environment of tox, and CI runs each of these.

    uWSGI has to be compiled, so that only the workflow of GitHub runs its tests.
    """
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
    elsewhere = [*tox["tox"]["env_list"].split(", "), "compiled"]
    run = {name for names in re.findall(r"-e ([\w,]+)\n", read(".ci/run")) for name in names.split(",")}
    assert [name for name in environments if name not in elsewhere and name not in run] == []
    assert "env: compiled" in read(".github/workflows/tests.yml")


@pytest.mark.parametrize("workflow", sorted(path.name for path in (ROOT / ".github/workflows").glob("*.yml")))
def test_actions_are_pinned(workflow: str) -> None:
    """Each action of a workflow is pinned to a commit, which nobody can replace, and its version is named."""
    used = re.findall(r"uses: (.+)", read(f".github/workflows/{workflow}"))

    assert used
    assert [action for action in used if not re.fullmatch(r"[\w/-]+@[0-9a-f]{40}  # v\d+\.\d+\.\d+", action)] == []
