"""The fields of objects that a provider's library returns, and the values in them.

SDK objects, dicts and mocks are read the same way. A field that is missing, has the wrong type or raises when it is
read is ``None``: a response must never break the request that it answers.
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
from typing import Any, TypeGuard

from .._diagnostics import raise_if_from_signal

# No model reads or writes so many tokens in a call: the largest context has 10 million. A larger number is a mistake,
# and would spoil every sum.
_LARGEST = 100_000_000
# No call costs more than this, in USD, for the same reason.
_MOST_MONEY = 1_000_000
# No response has so many parts. A sequence without an end must not block a request.
_MOST_ITEMS = 100_000
#: How many classes the caches of this package remember.
MOST_CLASSES = 4_096
_METHODS = (FunctionType, classmethod, staticmethod)
_NO_FIELDS: dict[str, Any] = {}


class _Attributes:
    """The fields of an object other than a plain dict; one that cannot be read is ``None``."""

    __slots__ = ("_fields", "_properties", "_source")

    def __init__(self, source: object, fields: dict[str, Any], properties: frozenset[str] | None) -> None:
        self._source = source
        self._fields = fields
        self._properties = properties

    def get(self, name: str) -> Any:
        """Return a field."""
        value = self._fields.get(name)
        if value is None and (self._properties is None or name in self._properties):
            source = self._source
            try:
                value = source.get(name) if isinstance(source, Mapping) else getattr(source, name, None)
            except Exception as exc:  # a property may raise anything
                raise_if_from_signal(exc)
        return value


def fields_of(source: Any) -> Any:
    """Return an object whose ``get`` returns a field of the source by its name, or ``None``.

    It is a dict for a dict, and for a pydantic model without properties. Nearly all classes of SDKs are such models.
    """
    kind = type(source)
    if kind is dict or kind is _Attributes:
        return source
    if source is None:
        return _NO_FIELDS
    properties = _properties_of(kind)  # type: ignore[arg-type]  # mypy: a class may be unhashable
    if properties is None:
        fields = _fields_of_message(source) if "DESCRIPTOR" in vars(kind) else None
        return _Attributes(source, _NO_FIELDS, None) if fields is None else fields
    try:
        # Asking a model for a missing field is about ten times slower than its dict.
        fields, more = source.__dict__, source.__pydantic_extra__
    except Exception:  # a model that was created without its constructor
        fields, more = _NO_FIELDS, None
    if more:
        fields = {**fields, **more}
    return _Attributes(source, fields, properties) if properties else fields


def _fields_of_message(source: Any) -> dict[str, Any] | None:
    """Return the fields of a protobuf message, without those that are not set; ``None`` for another object.

    An optional field that is not set reads as zero.
    """
    try:
        fields = source.DESCRIPTOR.fields_by_name.items()
        return {name: getattr(source, name) for name, one in fields if not one.has_presence or source.HasField(name)}
    except Exception as exc:  # another library's object
        raise_if_from_signal(exc)
        return None


@lru_cache(MOST_CLASSES)
def _properties_of(kind: type) -> frozenset[str] | None:
    """Return the names of a pydantic model's properties; ``None`` for another class."""
    if "__pydantic_extra__" not in dir(kind) or issubclass(kind, Mapping):
        return None
    names = (name for name in dir(kind) if not name.startswith(("_", "model_")))
    return frozenset(name for name in names if not isinstance(getattr_static(kind, name, None), _METHODS))


def get(source: object, *names: str) -> Any:
    """Return the first of the named fields that is not ``None``.

    Args:
        source: A mapping, or an object with attributes.
        names: Spellings of one field, the most frequent first.
    """
    if source is None:
        return None
    fields = source if type(source) is dict else fields_of(source)
    for name in names:
        value = fields.get(name)
        if value is not None:
            return value
    return None


def dig(source: object, *paths: str) -> Any:
    """Return the first field at one of the dotted paths that is not ``None``."""
    for path in paths:
        value = source
        for name in path.split("."):
            if value is None:
                break
            value = get(value, name)
        if value is not None:
            return value
    return None


def number(value: object) -> int | None:
    """Return a count of tokens, or ``None`` for anything that is not a whole number of zero or more.

    Booleans, NaN, fractions, negative numbers and mocks are not counts. ``12.0``, ``Decimal(12)``, numpy's integers
    and ``"12"`` are: HTTP headers and protobuf's JSON write numbers as text.
    """
    try:
        if type(value) is int:
            return value if 0 <= value <= _LARGEST else None
        if type(value) is str:
            return number(int(value)) if len(value) < 10 and value.isascii() and value.isdigit() else None
        if isinstance(value, bool) or not isinstance(value, (Real, Decimal)):
            return None
        whole: Any = value  # neither ABC declares what every number in Python has
        if not math.isfinite(whole) or not 0 <= whole <= _LARGEST or whole != int(whole):
            return None
        return int(whole)
    except Exception as exc:  # an unknown type of number
        raise_if_from_signal(exc)
        return None


def is_number(value: object) -> bool:
    """Return whether a value is a number or a truth value, whether or not it can be a count."""
    return is_a(value, Real, Decimal)


def is_a(value: object, *kinds: type) -> bool:
    """Return whether a value has one of the types; False for an object whose ``__class__`` raises."""
    try:
        return isinstance(value, kinds)
    except Exception as exc:
        raise_if_from_signal(exc)
        return False


def is_list(value: object) -> bool:
    """Return whether a value is a sequence other than text or bytes."""
    if value is None or type(value) is str:  # frequent, and slow to check with an ABC
        return False
    return type(value) is list or (is_a(value, Sequence) and not is_a(value, str, bytes, bytearray))


def parse_amount(value: object, *, parts: int = 1) -> Decimal | None:
    """Return an amount of money in USD, zero or more, which may be written as text; ``None`` for anything else.

    Args:
        value: The amount, in USD or in small parts of it.
        parts: How many parts make a dollar.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float, str, Decimal)):
        return None
    try:
        found = Decimal(str(value))
    except ArithmeticError:
        return None
    return found / parts if found.is_finite() and 0 <= found <= _MOST_MONEY * parts else None


def is_record(value: object) -> TypeGuard[Mapping[str, Any]]:
    """Return whether a value is a dict or another mapping."""
    return value is not None and is_a(value, dict, Mapping)


def text(value: object) -> str:
    """Return a plain string, or the empty string for anything else."""
    if type(value) is str:
        return value
    if value is None:
        return ""
    try:
        return str.__str__(value) if isinstance(value, str) else ""
    except Exception as exc:  # ``__class__`` may raise, or return a wrong type
        raise_if_from_signal(exc)
        return ""


def items(value: object) -> Iterator[Any]:
    """Iterate over a sequence; iterate over nothing if the value is not one."""
    if value is None or type(value) is str:
        return iter(())
    return iter(value) if type(value) is list else _items_of_foreign(value)


def _items_of_foreign(value: Any) -> Iterator[object]:
    if not is_list(value):
        return
    try:
        yield from islice(value, _MOST_ITEMS)
    except Exception as exc:  # a lazy sequence may fail
        raise_if_from_signal(exc)


def to_json(value: object) -> str:
    """Return a value as compact JSON; return a string unchanged, and the empty string if nothing can be written."""
    if value is None:
        return ""
    try:
        if is_a(value, str):
            return text(value)
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=str)
    except Exception as exc:  # cyclic, nested too deeply, or a ``__str__`` that raises
        raise_if_from_signal(exc)
        return ""


def from_json(written: str) -> Any:
    """Return the value that a JSON text stands for; ``None`` if it is not JSON, or nested too deeply."""
    try:
        return json.loads(written)
    except (ValueError, RecursionError):
        return None


def plain_json(value: object) -> object:
    """Return a copy made of plain dicts and lists, as a provider would receive it; ``None`` if there is none."""
    return from_json(to_json(value))


def fields_stored_in(value: object) -> dict[str, object]:
    """Return the dict itself, or an object's own ``__dict__``, without running any code of the object."""
    if type(value) is dict:
        return value
    try:
        stored = object.__getattribute__(value, "__dict__")
    except AttributeError:
        return {}
    return stored if type(stored) is dict else {}
