"""The reference in docs/reference describes every public name once."""

from __future__ import annotations

import configparser
import inspect
import pkgutil
import re
from importlib import import_module
from typing import Any

import pytest

import ldai_integrations
from ldai_integrations import track_ai
from ldai_integrations.testing import OfflineLaunchDarkly, ai_config

from .conftest import DOCS, ROOT

# Mostly internal modules, with the names that users need.
_MOSTLY_INTERNAL = {"decorator": ["track_ai"], "delivery": ["SpoolingEventProcessor"]}
# Users need no name of the first, and import the name of the second from the package.
_INTERNAL = {"frameworks", "graph"}
_NAMES = {found.name for found in pkgutil.iter_modules(ldai_integrations.__path__) if found.name[0] != "_"}
_MODULES = sorted(_NAMES - _INTERNAL)


def entries() -> list[str]:
    """Return the full names that have an entry in the reference."""
    pages = "".join(path.read_text(encoding="utf-8") for path in sorted((DOCS / "reference").glob("*.md")))
    directive = r"^\.\. (?:auto(?:class|data|exception|function)|py:data):: ([\w.]+)"
    return re.findall(directive, pages, re.MULTILINE)


def public_names(module: Any) -> list[str]:
    """Return the public names of a module; without an ``__all__``, those that it defines."""
    if hasattr(module, "__all__"):
        return list(module.__all__)
    own = module.__name__
    return [name for name, value in vars(module).items() if name[0] != "_" and getattr(value, "__module__", "") == own]


def load(name: str) -> Any:
    """Return the object with a full name."""
    module, _, attribute = name.rpartition(".")
    return getattr(import_module(module), attribute)


@pytest.mark.parametrize("name", ["", *_MODULES])
def test_every_public_name_is_in_the_reference(name: str) -> None:
    """Each public name of a module has an entry, under the module's name or the package's."""
    module = import_module(f"ldai_integrations.{name}".rstrip("."))
    described = {(entry.rpartition(".")[2], id(load(entry))) for entry in entries()}
    public = _MOSTLY_INTERNAL.get(name) or public_names(module)

    assert public
    assert [item for item in public if (item, id(getattr(module, item))) not in described] == []


def test_no_name_has_two_entries() -> None:
    """A name that can be imported from two places has one entry."""
    names = entries()

    assert sorted(set(names)) == sorted(names)
    described = [(name.rpartition(".")[2], id(load(name))) for name in names]
    assert len(set(described)) == len(described)


def described_members(name: str) -> set[str]:
    """Return the members of a class that the reference describes: those that its entry lists, and its attributes."""
    pages = "".join(path.read_text(encoding="utf-8") for path in sorted((DOCS / "reference").glob("*.md")))
    directive = rf"^\.\. autoclass:: {re.escape(name)}(?:\(\))?\n   :members: ((?:.+\n)+)"
    entry = re.search(directive, pages, re.MULTILINE)
    assert entry is not None, name
    attributes = (inspect.getdoc(load(name)) or "").partition("Attributes:\n")[2].partition("\n\n")[0]
    return {*re.findall(r"\w+", entry[1]), *re.findall(r"^ {4}(\w+):", attributes, re.MULTILINE)}


def test_an_editor_offers_only_described_names() -> None:
    """Every name that completion offers on a run and on a Tracking is in the reference, and the other way round."""
    with OfflineLaunchDarkly({"support-bot": ai_config()}) as launchdarkly, track_ai("support-bot") as run:
        for thing in (run, launchdarkly.tracking):
            offered = {member for member in dir(thing) if not member.startswith("_")}
            assert offered == described_members(f"ldai_integrations.{type(thing).__name__}")


def test_every_extra_on_the_pages_exists() -> None:
    """Each extra that the pages and the README name, as in `ldai-integrations[…]`, is defined in setup.cfg."""
    extras = configparser.ConfigParser(interpolation=None)
    extras.read(ROOT / "setup.cfg", encoding="utf-8")
    pages = [path.read_text(encoding="utf-8") for path in (ROOT / "README.md", *DOCS.glob("*.md"))]
    named = {
        name
        for page in pages
        for group in re.findall(r"ldai-integrations\[([\w,-]+)\]", page)
        for name in group.split(",")
    }

    assert {"flask", "cli", "plot", "otel"} <= named
    assert sorted(named - set(extras["options.extras_require"])) == []


def test_every_extra_for_users_is_in_the_table() -> None:
    """The page about versions lists `[all]` and each extra that it includes."""
    extras = configparser.ConfigParser(interpolation=None)
    extras.read(ROOT / "setup.cfg", encoding="utf-8")
    rows = re.findall(r"^\| (`\[[^|]*) \|", (DOCS / "versions.md").read_text(encoding="utf-8"), re.MULTILINE)

    included = re.findall(r"%\(([\w-]+)\)s", extras["options.extras_require"]["all"])
    assert sorted(re.findall(r"\[([\w-]+)\]", " ".join(rows))) == sorted({*included, "all"})
