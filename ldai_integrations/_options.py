"""The options of settings: the values that each one takes, and the environment variable that sets it."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field, fields
from typing import Any, TypeVar, cast

from .exceptions import ConfigurationError

T = TypeVar("T")

_WORDS = {"true": True, "1": True, "yes": True, "on": True, "false": False, "0": False, "no": False, "off": False}


@dataclass(frozen=True, slots=True)
class Kind:
    """The values that an option takes.

    Attributes:
        text: The values in words, after "use".
        accepts: Returns whether a value is one of them.
        parse: Reads one from the text of a variable, or raises ValueError.
        is_secret: Whether a value must not be shown.
        in_variable: The values in words where a variable gives them, if they are written in another way there.
    """

    text: str
    accepts: Callable[[Any], bool]
    parse: Callable[[str], object]
    is_secret: bool = False
    in_variable: str = ""


@dataclass(frozen=True, slots=True)
class Option:
    """A field of settings that an environment variable sets if the code does not.

    Attributes:
        variable: The name of the variable.
        default: The value if neither sets it.
        kind: The values that it takes.
    """

    variable: str
    default: object
    kind: Kind

    def read(self) -> object:
        """Return the value of the variable, or the default.

        Raises:
            ConfigurationError: If the variable has a value that the option does not take.
        """
        text = os.environ.get(self.variable, "").strip()
        if not text:
            return self.default
        try:
            value = self.kind.parse(text)
        except ValueError:
            value = None
        if value is None or not self.kind.accepts(value):
            shown = "not usable" if self.kind.is_secret else repr(text)
            raise ConfigurationError(f"{self.variable} is {shown}; use {self.kind.in_variable or self.kind.text}")
        return value


def option(default: T, kind: Kind, variable: str) -> T:
    """Return a field of a dataclass that has the value of a variable, or the default."""
    found = Option(variable, default, kind)
    return cast("T", field(default_factory=found.read, metadata={"option": found}, repr=not kind.is_secret))


def options_of(settings: Any) -> dict[str, Option]:
    """Return the options of a settings class or object by the names of their fields."""
    return {item.name: item.metadata["option"] for item in fields(settings) if "option" in item.metadata}


def check_options(settings: Any) -> None:
    """Refuse a value that an option does not take.

    Raises:
        ConfigurationError: It names the option and the values that it takes.
    """
    for name, found in options_of(settings).items():
        value = getattr(settings, name)
        if value is not found.default and not found.kind.accepts(value):
            shown = "not usable" if found.kind.is_secret else repr(value)
            raise ConfigurationError(f"{type(settings).__name__}.{name} is {shown}; use {found.kind.text}")


def choice(words: Iterable[str]) -> Kind:
    """Return the kind of an option that is one of some words."""
    known = tuple(words)
    return Kind(
        f"one of {', '.join(map(repr, known))}", lambda value: isinstance(value, str) and value in known, str.lower
    )


def switch() -> Kind:
    """Return the kind of an option that is on or off."""
    return Kind(
        "True or False",
        lambda value: isinstance(value, bool),
        lambda text: _WORDS.get(text.lower()),
        in_variable="on or off",
    )


def seconds(low: float, high: float, *, above: bool = False) -> Kind:
    """Return the kind of a duration.

    Args:
        low: The shortest one.
        high: The longest one.
        above: Whether ``low`` itself is too short.
    """
    text = f"seconds, more than {low:g} and at most {high:g}" if above else f"seconds, {low:g} to {high:g}"

    def accepts(value: object) -> bool:
        if not isinstance(value, (int, float)) or isinstance(value, bool):
            return False
        return low <= value <= high and not (above and value == low)

    return Kind(text, accepts, float)


def whole(low: int, high: int | None, unit: str = "") -> Kind:
    """Return the kind of a whole number; ``high=None`` is any larger one."""
    values = f"{low:,} or more" if high is None else f"{low:,} to {high:,}"

    def accepts(value: object) -> bool:
        return (
            isinstance(value, int) and not isinstance(value, bool) and low <= value and (high is None or value <= high)
        )

    return Kind(f"a whole number{f' of {unit}' if unit else ''}, {values}", accepts, int)


def statuses(low: int, high: int) -> Kind:
    """Return the kind of a collection of HTTP statuses; in a variable, ``429,500-599``."""

    def parse(text: str) -> set[int]:
        found: set[int] = set()
        for part in split(text):
            first, _, last = part.partition("-")
            found.update(range(int(first), int(last or first) + 1))
        return found

    def accepts(value: object) -> bool:
        return isinstance(value, Collection) and all(isinstance(item, int) and low <= item <= high for item in value)

    return Kind(
        f"a set, list or range of statuses, {low} to {high} (429,500-599 in the variable)",
        accepts,
        parse,
        in_variable=f"statuses such as 429,500-599, each from {low} to {high}",
    )


def names(known: Collection[str]) -> Kind:
    """Return the kind of a collection of known names; in a variable, separated by commas, or ``none``."""

    def accepts(value: object) -> bool:
        return isinstance(value, Collection) and not isinstance(value, str) and all(name in known for name in value)

    return Kind(
        f"a collection of {', '.join(known)}",
        accepts,
        lambda text: () if text.lower() == "none" else tuple(split(text)),
    )


def pattern(form: str, text: str) -> Kind:
    """Return the kind of a text of some form."""
    return Kind(text, lambda value: isinstance(value, str) and re.fullmatch(form, value) is not None, str)


def split(text: str) -> list[str]:
    """Return the parts of a text that commas separate."""
    return [part.strip() for part in text.split(",") if part.strip()]
