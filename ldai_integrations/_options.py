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
# One status, or the first and the last one.
_STATUSES = re.compile("[0-9]{3}(-[0-9]{3})?")


@dataclass(frozen=True, slots=True)
class Kind:
    """The values that an option takes.

    Attributes:
        text: The values in words, after "use".
        parse: Reads one from the text of a variable, or raises ValueError.
        accepts: Returns whether a value is one of them. It is false for ``None``.
        problem: Used in place of ``accepts`` for secrets: returns why a value is wrong, without showing it.
        in_variable: The values in words where a variable gives them, if they are written in another way there.
    """

    text: str
    parse: Callable[[str], object]
    accepts: Callable[[Any], bool] = bool
    problem: Callable[[Any], str | None] | None = None
    in_variable: str = ""

    def check(self, name: str, value: object, text: str = "") -> None:
        """Refuse a value that is none of them.

        Args:
            name: The name of the setting or of the variable.
            value: The value.
            text: The text of the variable.

        Raises:
            ConfigurationError: It names the setting and the values that it takes.
        """
        if self.problem is not None:
            problem = self.problem(value)
        elif self.accepts(value):
            problem = None
        else:
            values = self.in_variable if text and self.in_variable else self.text
            problem = f"is {text or value!r}; use {values}"
        if problem is not None:
            raise ConfigurationError(f"{name} {problem}")


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
        self.kind.check(self.variable, value, text)
        return value


def option(default: T, kind: Kind, variable: str) -> T:
    """Return a field of a dataclass that has the value of a variable, or the default."""
    found = Option(variable, default, kind)
    return cast("T", field(default_factory=found.read, metadata={"option": found}, repr=kind.problem is None))


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
        if value is not found.default:
            found.kind.check(f"{type(settings).__name__}.{name}", value)


def choice(words: Iterable[str]) -> Kind:
    """Return the kind of an option that is one of some words."""
    known = tuple(words)
    return Kind(
        f"one of {', '.join(map(repr, known))}", str.lower, lambda value: isinstance(value, str) and value in known
    )


def switch() -> Kind:
    """Return the kind of an option that is on or off."""
    return Kind(
        "True or False",
        lambda text: _WORDS.get(text.lower()),
        lambda value: isinstance(value, bool),
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

    return Kind(text, float, accepts)


def whole(low: int, high: int | None, unit: str = "") -> Kind:
    """Return the kind of a whole number; ``high=None`` is any larger one."""
    values = f"{low:,} or more" if high is None else f"{low:,} to {high:,}"

    def accepts(value: object) -> bool:
        return (
            isinstance(value, int) and not isinstance(value, bool) and low <= value and (high is None or value <= high)
        )

    return Kind(f"a whole number{f' of {unit}' if unit else ''}, {values}", int, accepts)


def statuses(low: int, high: int) -> Kind:
    """Return the kind of a collection of HTTP statuses; in a variable, ``429,500-599``."""

    def parse(text: str) -> set[int]:
        found: set[int] = set()
        for part in split(text):
            first, last = part[:3], part[-3:]
            if not _STATUSES.fullmatch(part) or first > last:
                raise ValueError(part)
            found.update(range(int(first), int(last) + 1))
        return found

    def accepts(value: object) -> bool:
        return isinstance(value, Collection) and all(isinstance(item, int) and low <= item <= high for item in value)

    return Kind(
        f"a set, list or range of statuses, {low} to {high} (429,500-599 in the variable)",
        parse,
        accepts,
        in_variable=f"statuses such as 429,500-599, each from {low} to {high}",
    )


def names(known: Collection[str]) -> Kind:
    """Return the kind of a collection of known names; in a variable, separated by commas, or ``none``."""

    def accepts(value: object) -> bool:
        return isinstance(value, Collection) and not isinstance(value, str) and all(name in known for name in value)

    return Kind(
        f"a collection of {', '.join(known)}",
        lambda text: () if text.lower() == "none" else tuple(split(text)),
        accepts,
        in_variable=f"none, or names separated by commas: {', '.join(known)}",
    )


def pattern(form: str, text: str) -> Kind:
    """Return the kind of a text of some form."""
    return Kind(text, str, lambda value: isinstance(value, str) and re.fullmatch(form, value) is not None)


def split(text: str) -> list[str]:
    """Return the parts of a text that commas separate.

    Raises:
        ValueError: It has none.
    """
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not parts:
        raise ValueError(text)
    return parts
