"""Classes of values, such as the usage and the record of a run."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any, TypeVar

from typing_extensions import dataclass_transform

T = TypeVar("T")


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def value_class(cls: type[T]) -> type[T]:
    """Make a class a dataclass of values: type checkers refuse to assign to a field.

    Its ``repr`` leaves out the fields that have their default, which are most of them.

    Each run makes several of them. To make a dataclass that is frozen at run time as well takes four times as long.
    """
    cls.__repr__ = _short_repr  # type: ignore[method-assign]
    return dataclass(slots=True, unsafe_hash=True, repr=False)(cls)


def _short_repr(value: Any) -> str:
    shown = (one for one in fields(value) if one.repr and getattr(value, one.name) != one.default)
    return f"{type(value).__name__}({', '.join(f'{one.name}={getattr(value, one.name)!r}' for one in shown)})"
