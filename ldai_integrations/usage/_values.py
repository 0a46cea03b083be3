"""Read fields off whatever a provider's library hands out, without trusting any of it.

SDK objects, dicts and mocks are read alike. A field that is missing, of the wrong type or that raises when touched is
``None``: a response must never be able to break the request it answers.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from functools import lru_cache
from inspect import getattr_static
from itertools import islice
from numbers import Real
from types import FunctionType
from typing import Any

# The largest integer that JSON readers agree on (RFC 8259, section 6); no provider counts that far.
_LARGEST = 2**53 - 1
_LONGEST_COUNT = 16
# A sequence that never ends must not hold a request; no response has this many parts.
_MOST_ITEMS = 100_000
#: Classes whose make is remembered.
MOST_KINDS = 4_096
_METHODS = (FunctionType, classmethod, staticmethod)
# Not json.dumps, whose calls the host's tests may count.
_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), default=str).encode


def get(source: Any, *names: str) -> Any:
    """Return the first of the named fields that is there and not ``None``.

    Args:
        source: A mapping, or an object with attributes.
        names: Spellings of one field, the likeliest first.
    """
    if type(source) is dict:  # what JSON gives; by far the most frequent
        for name in names:
            value = source.get(name)
            if value is not None:
                return value
        return None
    kind = type(source)
    if _is_model(kind):  # type: ignore[arg-type]  # mypy: a class may be unhashable
        return _model_field(source, kind, names)
    for name in names:
        try:
            value = source.get(name) if isinstance(source, Mapping) else getattr(source, name, None)
        except Exception:  # a property of a foreign object may raise anything
            continue
        if value is not None:
            return value
    return None


@lru_cache(MOST_KINDS)
def _is_model(kind: type) -> bool:
    """Tell pydantic's models, of which nearly all SDK objects are made."""
    return "__pydantic_fields__" in dir(kind) and not issubclass(kind, Mapping)


def fields_of(source: Any) -> Any:
    """Return the dict in which a model keeps all that it has, to be read many times; anything else as it is."""
    kind = type(source)
    if kind is dict or not _is_all_fields(kind):  # type: ignore[arg-type]  # mypy: a class may be unhashable
        return source
    try:
        return source if source.__pydantic_extra__ else source.__dict__
    except Exception:  # one that was made past its constructor
        return source


@lru_cache(MOST_KINDS)
def _is_all_fields(kind: type) -> bool:
    """Tell models with nothing but fields and methods: a property, or what a class has for all, is in no dict."""
    names = (name for name in dir(kind) if not name.startswith(("_", "model_")))
    return _is_model(kind) and all(isinstance(getattr_static(kind, name, None), _METHODS) for name in names)


@lru_cache(MOST_KINDS)
def _has(kind: type, name: str) -> bool:
    return hasattr(kind, name)


def _model_field(source: Any, kind: type, names: tuple[str, ...]) -> Any:
    """Read a model where it keeps its fields: asking it for one that it has not costs as much as ten that it has."""
    try:
        fields, more = source.__dict__, source.__pydantic_extra__
    except Exception:  # one that was made past its constructor
        fields, more = {}, None
    for name in names:
        value = fields.get(name)
        if value is None and more:
            value = more.get(name)
        if value is None and _has(kind, name):
            try:
                value = getattr(source, name, None)
            except Exception:  # a property may raise anything
                continue
        if value is not None:
            return value
    return None


def dig(source: Any, *paths: str) -> Any:
    """Return the first field at one of the dotted paths that is there and not ``None``."""
    for path in paths:
        value = source
        for name in path.split("."):
            if value is None:
                break
            value = get(value, name)
        if value is not None:
            return value
    return None


def number(value: Any) -> int | None:
    """Return a count of tokens, or ``None`` for anything that is not a whole number of zero or more.

    Booleans, NaN, fractions, negative numbers and mocks are refused; ``12.0``, ``Decimal(12)`` and numpy's integers
    are counts, and so is ``"12"``, as HTTP headers and protobuf's JSON write numbers.
    """
    try:
        if type(value) is int:
            return value if 0 <= value <= _LARGEST else None
        if type(value) is str:
            return int(value) if len(value) < _LONGEST_COUNT and value.isascii() and value.isdigit() else None
        if isinstance(value, bool) or not isinstance(value, (Real, Decimal)):
            return None
        whole: Any = value  # neither ABC promises what every number in Python has
        if not math.isfinite(whole) or not 0 <= whole <= _LARGEST or whole != int(whole):
            return None
        return int(whole)
    except Exception:  # a number type of somebody's own
        return None


def is_a(value: Any, *kinds: type) -> bool:
    """Tell whether a value is of one of the types; an object whose ``__class__`` raises is of none."""
    try:
        return isinstance(value, kinds)
    except Exception:
        return False


def is_list(value: Any) -> bool:
    """Tell whether a value is a list or list-like, strings excepted."""
    if value is None or type(value) is str:  # the most frequent, and the slowest to ask an ABC for
        return False
    return type(value) is list or (is_a(value, Sequence) and not is_a(value, str, bytes, bytearray))


def is_record(value: Any) -> bool:
    """Tell whether a value is a dict or another mapping."""
    return value is not None and is_a(value, dict, Mapping)


def text(value: Any) -> str:
    """Return a plain string, or the empty string for anything else."""
    if type(value) is str:
        return value
    try:
        return str.__str__(value) if isinstance(value, str) else ""
    except Exception:  # ``__class__`` may raise, or lie
        return ""


def items(value: Any) -> Iterator[Any]:
    """Iterate over a list-like value; over nothing if it is not one."""
    if value is None:
        return iter(())
    return iter(value) if type(value) is list else _foreign_items(value)


def _foreign_items(value: Any) -> Iterator[Any]:
    if not is_list(value):
        return
    try:
        yield from islice(value, _MOST_ITEMS)
    except Exception:  # a lazy sequence may fail half way
        return


def to_json(value: Any) -> str:
    """Return a value as compact JSON text; a string as it is; the empty string where there is nothing to write."""
    if value is None:
        return ""
    try:
        return text(value) if is_a(value, str) else _encode(value)
    except Exception:  # cyclic, too deep, or a ``__str__`` that raises
        return ""


def plain_json(value: Any) -> Any:
    """Return a copy in plain dicts and lists, as a provider would get it; ``None`` where it cannot be written."""
    try:
        return json.loads(to_json(value))
    except (ValueError, RecursionError):
        return None
