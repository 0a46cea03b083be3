"""The nearest value that JSON can hold, of any."""

from __future__ import annotations

import datetime
import math
from collections.abc import Mapping, Set
from enum import Enum
from numbers import Number
from typing import Any

_MAX_DEPTH = 20
# Bounds of what is made of a value that JSON cannot hold, so that a mended event stays small enough to be taken.
_MAX_ITEMS, _MAX_TEXT = 1_000, 1_000
# Beyond 64 bits receivers disagree on what a number is, and beyond 4,300 digits Python refuses to write one.
_MAX_INT = 2**63


def is_plain(value: Any, depth: int = 0) -> bool:
    """Tell whether ``json.dumps`` makes JSON of a value that every receiver can read, each number finite."""
    kind = type(value)
    if kind is str:
        return _has_utf8(value)
    if kind is bool or value is None:
        return True
    if kind is int:
        return bool(-_MAX_INT <= value < _MAX_INT)
    if kind is float:
        return math.isfinite(value)
    if depth > _MAX_DEPTH:
        return False
    if kind is dict:
        for key, item in value.items():
            if type(key) is not str or not _has_utf8(key):
                return False
            if not (type(item) is str and item.isascii()) and not is_plain(item, depth + 1):
                return False
        return True
    return kind in (list, tuple) and all(is_plain(item, depth + 1) for item in value)


def to_plain(value: Any) -> Any:
    """Return the nearest value that JSON can hold.

    Containers stay containers (of at most 1,000 items in all), numbers and times stay what they are, bytes become
    text, anything else its text, and what is not a number ``None``. Never raises.
    """
    return _Mending().plain(value, 0)


class _Mending:
    """Make one value plain, within a bound on the items that come out."""

    def __init__(self) -> None:
        self._left = _MAX_ITEMS

    def plain(self, value: Any, depth: int) -> Any:
        if isinstance(value, str):
            return value if is_plain(value) and type(value) is str else _clean(str.__str__(value))
        if value is None or type(value) is bool:
            return value
        if isinstance(value, Enum):
            return self.plain(value.value, depth) if depth < _MAX_DEPTH else _text(value)
        for as_plain in (_listed, _timed, _decoded):
            found = as_plain(value)
            if found is not value:
                return self.plain(found, depth + 1) if depth < _MAX_DEPTH else _text(value)
        if isinstance(value, Number):
            return finite_number(value)
        if isinstance(value, (Mapping, list, tuple, Set)):
            return self._container(value, depth) if depth < _MAX_DEPTH else f"<{type(value).__name__}>"
        return _text(value)

    def _container(self, value: Any, depth: int) -> Any:
        try:
            if isinstance(value, Mapping):
                return {_text(key): self.plain(item, depth + 1) for key, item in value.items() if self._has_room()}
            return [self.plain(item, depth + 1) for item in value if self._has_room()]
        except Exception:
            return f"<{type(value).__name__}>"

    def _has_room(self) -> bool:
        self._left -= 1
        return self._left >= 0


def _listed(value: Any) -> Any:
    """Turn arrays and scalars of numpy and its like into Python's own."""
    try:
        return value.tolist() if callable(getattr(value, "tolist", None)) else value
    except Exception:
        return value


def _timed(value: Any) -> Any:
    return value.isoformat() if isinstance(value, (datetime.date, datetime.time)) else value


def _decoded(value: Any) -> Any:
    return bytes(value[:_MAX_TEXT]).decode(errors="replace") if isinstance(value, (bytes, bytearray)) else value


def finite_number(value: Any) -> float | None:
    """Return the finite number nearest to a value, an int where it is one; ``None`` if there is none."""
    try:
        if isinstance(value, int) and -_MAX_INT <= value < _MAX_INT:
            return int(value)
        number = float(value)
    except Exception:
        return None
    return number if math.isfinite(number) else None


def _text(value: Any) -> str:
    kind: Any = type(value)
    if kind.__str__ is object.__str__ and kind.__repr__ is object.__repr__:
        return f"<{kind.__name__}>"
    try:
        return _clean(str(value))[:_MAX_TEXT]
    except Exception:
        return f"<{type(value).__name__}>"


def _clean(text: str) -> str:
    return text if _has_utf8(text) else text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _has_utf8(text: str) -> bool:
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
