"""The reference in docs/reference forgets no public name, and describes each once."""

from __future__ import annotations

import configparser
import pkgutil
import re
from importlib import import_module
from typing import Any

import pytest

import ldai_integrations

from .conftest import DOCS, ROOT

# Rooms that the library uses itself; the one name of each that users need has an entry.
_OUR_OWN = {"decorator": ["track_ai"], "delivery": ["SpoolingEventProcessor"]}
# Rooms without an ``__all__`` of their own: what they define is what they offer.
_ROOMS = sorted(room.name for room in pkgutil.iter_modules(ldai_integrations.__path__) if room.name[0] != "_")


def entries() -> list[str]:
    """Return the full names that have an entry of their own in the reference."""
    pages = "".join(path.read_text(encoding="utf-8") for path in sorted((DOCS / "reference").glob("*.md")))
    directive = r"^\.\. (?:auto(?:class|data|exception|function)|py:data):: ([\w.]+)"
    return re.findall(directive, pages, re.MULTILINE)


def offered_by(module: Any) -> list[str]:
    """Return the public names of a module."""
    if hasattr(module, "__all__"):
        return list(module.__all__)
    own = module.__name__
    return [name for name, value in vars(module).items() if name[0] != "_" and getattr(value, "__module__", "") == own]


def found(name: str) -> Any:
    """Import what a full name stands for."""
    module, _, attribute = name.rpartition(".")
    return getattr(import_module(module), attribute)


@pytest.mark.parametrize("room", ["", *_ROOMS])
def test_every_public_name_is_in_the_reference(room: str) -> None:
    """Each name in ``__all__`` has an entry, under the room's name or the package's, that is the very same object."""
    module = import_module(f"ldai_integrations.{room}".rstrip("."))
    there = {(name.rpartition(".")[2], id(found(name))) for name in entries()}
    public = _OUR_OWN.get(room) or offered_by(module)

    assert public
    assert [name for name in public if (name, id(getattr(module, name))) not in there] == []


def test_no_name_has_two_entries() -> None:
    """What can be imported from two places is described in one."""
    names = entries()

    assert sorted(set(names)) == sorted(names)
    described = [(name.rpartition(".")[2], id(found(name))) for name in names]
    assert len(set(described)) == len(described)


def test_every_extra_that_is_named_can_be_installed() -> None:
    """What the pages and the README tell people to install, `ldai-integrations[…]`, is among the extras."""
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
