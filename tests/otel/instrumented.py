"""The openai package with an instrumentation, for as long as a test wants it."""

from __future__ import annotations

import pkgutil
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from types import ModuleType
from typing import Any

import openai.resources


@contextmanager
def instrumentable_openai() -> Iterator[None]:
    """Undo at the end whatever is done to the classes of openai: not every instrumentation takes all of itself away.

    What the instrumentations' own code warns of, when they are imported, is not ours.
    """
    names = [name for _, name, _ in pkgutil.walk_packages(openai.resources.__path__, "openai.resources.")]
    before = {one: dict(vars(one)) for name in names for one in _classes(import_module(name))}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
    for one, attributes in before.items():
        for name, value in attributes.items():
            if vars(one).get(name) is not value:
                setattr(one, name, value)


def _classes(module: ModuleType) -> list[Any]:
    return [value for value in vars(module).values() if isinstance(value, type) and value.__module__ == module.__name__]
